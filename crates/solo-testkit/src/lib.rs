//! What Solo's tests stand on: fakes of the generated server traits, a server to put them on, and fixtures.
//!
//! A development dependency only; it knows the contracts and no service crate, so that any of them may use it.
//! [`server::serve`] puts a fake on a free loopback port with the health service that Solo's clients wait for, and
//! [`server::FakeServer::stop`] ends it as `kill -9` would: connections break, streams in flight fail.
//! A fake is scripted before it is called, holds at a [`gate::Gate`] where a test wants to look, and records what it was
//! asked; nothing in it sleeps, so a test never depends on how fast the machine is.
//!
//! | Fake | Stands for | Script |
//! |---|---|---|
//! | [`FakeLlm`] | llm-svc | steps per request: text, gate, failure, finish |
//! | [`FakeMemory`] | memory-svc | hits per query; keeps documents |
//! | [`FakeStt`] | stt-svc | cues: after so many samples, on finalize, say this |
//! | [`FakeTts`] | tts-svc | none: a tone for each sentence, with marks |
//! | [`FakeWake`] | wake-svc | detections at sample positions |
//! | [`FakeAgent`] | agent-svc | steps per turn: text, status, citation, gate, failure |
//!
//! [`noise`] is sound in which nobody speaks, for what must stay silent.

pub mod agent;
mod edits;
pub mod fixtures;
pub mod gate;
pub mod llm;
pub mod memory;
pub mod noise;
pub mod record;
pub mod server;
pub mod stt;
pub mod tts;
pub mod wait;
pub mod wake;

pub use agent::{AgentScript, AgentStep, FakeAgent};
pub use edits::edits;
pub use fixtures::{fixture, models_dir, require_model};
pub use gate::Gate;
pub use llm::{FakeLlm, LlmScript, LlmStep};
pub use memory::{FakeMemory, hit};
pub use noise::Noise;
pub use record::{Journal, Recorded};
pub use server::{FakeServer, serve, serve_at};
pub use stt::{Cue, FakeStt, ListenCue, Then};
pub use tts::FakeTts;
pub use wait::{wait_for, wait_for_value};
pub use wake::FakeWake;
