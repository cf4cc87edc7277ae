//! `SOLO_SMALL=1`: a smaller binary, for images (docker/binaries.sh). Of functions that are alike to the last byte, of which generic code
//! makes thousands, the linker keeps one, and it writes relocations down packed. It has to be lld, Rust's own on x86-64 Linux; the C
//! library glibc 2.36 or newer. Only here: ggml, in other services, tells things apart by the addresses of functions.

fn main() {
    println!("cargo::rerun-if-env-changed=SOLO_SMALL");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("SOLO_SMALL").is_some_and(|wanted| wanted == "1") {
        println!("cargo::rustc-link-arg-bins=-Wl,-O2,--icf=all,-z,pack-relative-relocs");
    }
}
