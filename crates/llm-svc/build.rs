//! Where llama.cpp is made of libraries (feature "dynamic-backends"), they lie in `lib/solo` beside the program's folder. `SOLO_SMALL=1` makes
//! what is left smaller, as with memory-svc (its build.rs): ggml, which tells things apart by the addresses of functions, is not in it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOLO_SMALL");
    if std::env::var_os("CARGO_FEATURE_DYNAMIC_BACKENDS").is_some() {
        // The old kind of path counts for libraries that libraries want, too.
        println!("cargo::rustc-link-arg-bins=-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib/solo");
        if std::env::var_os("SOLO_SMALL").is_some_and(|wanted| wanted == "1") {
            println!("cargo::rustc-link-arg-bins=-Wl,-O2,--icf=all,-z,pack-relative-relocs");
        }
    }
}
