//! The binary: everything is in the library.

fn main() -> std::process::ExitCode {
    solo_service::main_with(llm_svc::DEFINITION, vec![llm_svc::quantize::command()], llm_svc::build)
}
