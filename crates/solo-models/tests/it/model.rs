//! With the real weights: they must be there and right.

use solo_models::{Manifest, check, default_dir, is_installed};

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_the_default_set_is_installed_and_intact() {
    let dir = std::env::var_os("SOLO_MODELS_DIR")
        .map(Into::into)
        .or_else(default_dir)
        .expect("a models folder");
    let manifest = Manifest::embedded();
    for model in manifest.with_requirements(&manifest.default).unwrap() {
        assert!(
            is_installed(&dir, model),
            "{} is not installed in {}",
            model.id,
            dir.display()
        );
        let faults: Vec<String> = check(&dir, model, |_| {}).iter().map(ToString::to_string).collect();
        assert!(faults.is_empty(), "{faults:?}");
    }
}
