//! The gateway's process.

fn main() -> std::process::ExitCode {
    solo_service::main(gateway::DEFINITION, gateway::build)
}
