//! The agent-svc binary: holds dialogues and writes replies.

use std::process::ExitCode;

fn main() -> ExitCode {
    solo_service::main(agent_svc::DEFINITION, agent_svc::build)
}
