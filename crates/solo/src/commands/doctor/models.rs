//! The models that the configuration names, and the data that speech needs beside them.

use std::path::{Path, PathBuf};

use solo_models::{Manifest, Model};
use toml::Value;

use super::{Finding, faulty};
use crate::models::Configured;
use crate::sections;
use crate::settings::Settings;
use crate::terminal::human_bytes;

/// Whether every model that the configuration names is there, with the right size. (`solo models verify` reads every
/// byte; that takes a while.)
pub(super) fn installed(settings: &Settings) -> Vec<Finding> {
    let (manifest, models_dir) = (Manifest::embedded(), &settings.global.models_dir);
    let configured = Configured::read(manifest, &settings.inputs);
    let wanted = match manifest.with_requirements(&configured.ids) {
        Ok(wanted) => wanted,
        Err(missing) => {
            let help = "`solo models list` shows those that there are";
            return vec![Finding::bad("models", missing.to_string(), help)];
        }
    };
    let faults: Vec<Finding> = wanted
        .iter()
        .filter_map(|model| fault(models_dir, model))
        .chain(configured.faults.iter().map(|faults| faulty("models", faults)))
        .chain(
            configured
                .unknown
                .iter()
                .filter_map(|(key, name)| unknown(models_dir, key, name)),
        )
        .collect();
    if faults.is_empty() {
        let bytes = wanted.iter().map(|model| model.bytes).sum();
        let names: Vec<&str> = wanted.iter().map(|model| model.id.as_str()).collect();
        return vec![Finding::good(
            "models",
            format!("{} installed, {}", names.join(", "), human_bytes(bytes)),
        )];
    }
    faults
}

/// A name that nobody can fetch; what lies in the models folder under it may be the person's own.
fn unknown(models_dir: &Path, key: &str, name: &str) -> Option<Finding> {
    let own = models_dir.join(name).exists();
    let found = format!("{key} names {name}, and there is no such model");
    (!own).then(|| Finding::bad("models", found, "`solo models list` shows those that are"))
}

fn fault(models_dir: &Path, model: &Model) -> Option<Finding> {
    let id = &model.id;
    let pull = format!("`solo models pull {id}`");
    if model.files.is_empty() {
        let target = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let help = "choose another with `solo models use ID`";
        return Some(Finding::bad(
            "models",
            format!("{id} does not exist for {target}"),
            help,
        ));
    }
    for file in &model.files {
        let path = models_dir.join(id).join(&file.name);
        match std::fs::metadata(&path) {
            Err(_) => {
                return Some(Finding::bad(
                    "models",
                    format!("{id} is not installed ({} is not there)", path.display()),
                    pull,
                ));
            }
            // Where several digests are accepted, sizes may differ: `solo models verify` decides.
            Ok(there) if file.sha256.len() == 1 && there.len() != file.bytes => {
                let found = format!(
                    "{id} is damaged: {} has {} bytes, not {}",
                    path.display(),
                    there.len(),
                    file.bytes
                );
                return Some(Finding::bad(
                    "models",
                    found,
                    format!("`solo models rm {id}`, then {pull}"),
                ));
            }
            Ok(_) => {}
        }
    }
    None
}

/// Whether espeak-ng's data is there, from which the voices take their phonemes.
pub(super) fn espeak_data(settings: &Settings) -> Finding {
    let table = match sections::effective("tts", &settings.inputs) {
        Ok(table) => table,
        Err(faults) => return faulty("espeak-ng", &faults),
    };
    let configured = table.get("espeak_data").and_then(Value::as_str).unwrap_or_default();
    let places = espeak_places(configured);
    match places.iter().find(|folder| folder.join("phontab").is_file()) {
        Some(folder) => Finding::good("espeak-ng", folder.display().to_string()),
        None => {
            let looked: Vec<String> = places.iter().map(|folder| folder.display().to_string()).collect();
            Finding::bad(
                "espeak-ng",
                format!("its data is not there (looked for {})", looked.join(", ")),
                "`apt-get install espeak-ng-data`, or `solo config set tts.espeak_data FOLDER`",
            )
        }
    }
}

/// Where tts-svc looks.
fn espeak_places(configured: &str) -> Vec<PathBuf> {
    if !configured.is_empty() {
        return vec![configured.into(), Path::new(configured).join("espeak-ng-data")];
    }
    let beside = crate::services::binaries().ok();
    let beside = beside
        .iter()
        .flat_map(|folder| [folder.join("espeak-ng-data"), folder.join("../share/espeak-ng-data")]);
    let architecture = format!("/usr/lib/{}-linux-gnu/espeak-ng-data", std::env::consts::ARCH);
    let system = [
        architecture.as_str(),
        "/usr/lib/espeak-ng-data",
        "/usr/lib64/espeak-ng-data",
        "/usr/share/espeak-ng-data",
        "/usr/local/share/espeak-ng-data",
        "/opt/homebrew/share/espeak-ng-data",
    ];
    beside.chain(system.map(PathBuf::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_short_file_names_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let model = Manifest::embedded().get("silero-vad").unwrap();
        let missing = fault(folder.path(), model).unwrap();
        assert!(
            missing.found.starts_with("silero-vad is not installed"),
            "{}",
            missing.found
        );
        assert_eq!(missing.help.as_deref(), Some("`solo models pull silero-vad`"));
        std::fs::create_dir(folder.path().join("silero-vad")).unwrap();
        for file in &model.files {
            std::fs::write(folder.path().join("silero-vad").join(&file.name), b"short").unwrap();
        }
        assert!(fault(folder.path(), model).unwrap().found.contains("is damaged"));
    }
}
