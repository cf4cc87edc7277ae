//! The process of wake-svc.

use std::process::ExitCode;

fn main() -> ExitCode {
    solo_service::main(wake_svc::DEFINITION, wake_svc::build)
}
