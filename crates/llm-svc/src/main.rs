//! The binary: everything is in the library.

fn main() -> std::process::ExitCode {
    solo_service::main(llm_svc::DEFINITION, llm_svc::build)
}
