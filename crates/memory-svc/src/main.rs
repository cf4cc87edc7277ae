//! The memory service: `solo_service` does everything that is not memory.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Documents are read in processes of their own, which are this program again.
    let reading = memory_svc::extract::child::command();
    solo_service::main_with(memory_svc::DEFINITION, vec![reading], memory_svc::build)
}
