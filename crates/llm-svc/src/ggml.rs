//! ggml's code for this processor, which llama.cpp computes with. It is compiled in, or, with the feature "dynamic-backends", it is
//! the best of several libraries.

/// Loads it, once for the process; to be called before anything else of llama.cpp's.
///
/// # Errors
/// None of the libraries suits this processor, or there are none.
#[cfg(feature = "dynamic-backends")]
pub(crate) fn load() -> Result<(), String> {
    use std::sync::OnceLock;

    use llama_cpp_2::list_llama_ggml_backend_devices;
    use llama_cpp_2::llama_backend::load_backends_from_path;

    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    let load = || {
        let own = std::env::current_exe().map_err(|error| format!("this program's folder is not known: {error}"))?;
        // Where the linker looks for the others, too (build.rs).
        let folder = own.with_file_name("../lib/solo");
        load_backends_from_path(&folder);
        if list_llama_ggml_backend_devices().is_empty() {
            return Err(format!(
                "no library in {} suits this processor: install them beside the program, or set llm.engine to \"candle\"",
                folder.display()
            ));
        }
        Ok(())
    };
    LOADED.get_or_init(load).clone()
}

/// It is compiled in.
#[cfg(not(feature = "dynamic-backends"))]
#[allow(
    clippy::unnecessary_wraps,
    reason = "it has none of the errors that the other one has"
)]
pub(crate) fn load() -> Result<(), String> {
    Ok(())
}
