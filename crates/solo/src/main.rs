//! `solo`: the command line and the process runner. All of it is in the library, so that tests can reach it.

fn main() -> std::process::ExitCode {
    solo::main()
}
