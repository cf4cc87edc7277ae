//! The memory service: `solo_service` does everything that is not memory.

use std::process::ExitCode;

fn main() -> ExitCode {
    solo_service::main(memory_svc::DEFINITION, memory_svc::build)
}
