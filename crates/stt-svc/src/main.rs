//! The binary: everything is in the library.

fn main() -> std::process::ExitCode {
    solo_service::main(stt_svc::DEFINITION, stt_svc::build)
}
