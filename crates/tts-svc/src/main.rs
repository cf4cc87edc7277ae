//! The process of tts-svc.

use std::process::ExitCode;

fn main() -> ExitCode {
    solo_service::main(tts_svc::DEFINITION, tts_svc::build)
}
