//! Links the sonic library into the binary: espeak-ng calls it, and its build script names it only to its own tests.
//! Statically, so that the binary runs on machines without libsonic.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-link-arg=-l:libsonic.a");
    }
}
