//! agent-svc through its own wire, with fakes in place of llm-svc and memory-svc.

mod conversation;
mod dialogues;
mod drafts;
mod facts;
mod faults;
mod heard;
mod prompts;
mod support;
