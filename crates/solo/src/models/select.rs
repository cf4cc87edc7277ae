//! `solo models use`: makes an installed model the one its service loads, by editing the configuration file.
//!
//! Only that one value changes; comments, order and spacing stay as the person wrote them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;
use solo_models::{Manifest, Model, ModelKind, is_installed};
use toml_edit::{DocumentMut, Item, Table, Value};

use super::Settings;
use crate::failure::{Exit, Failure};
use crate::terminal;

/// Where a model is configured: the path of the key, its value, and the service that reads it.
struct Setting {
    path: &'static [&'static str],
    value: Value,
    service: &'static str,
}

/// None: there is nothing to choose.
fn setting(model: &Model) -> Option<Setting> {
    let id = model.id.as_str();
    let (path, value, service): (&[&str], Value, _) = match model.kind {
        ModelKind::Llm => (&["llm", "model"], id.into(), "llm-svc"),
        ModelKind::Stt => (&["stt", "model"], id.into(), "stt-svc"),
        ModelKind::Tts => (&["tts", "voice"], id.into(), "tts-svc"),
        // Weights alone are a second form of a model that has the tokenizer.
        ModelKind::Embedding if model.file("tokenizer").is_none() => {
            (&["memory", "embedding", "weights"], id.into(), "memory-svc")
        }
        ModelKind::Embedding => (&["memory", "embedding", "model"], id.into(), "memory-svc"),
        ModelKind::Wake => {
            // wake-svc is told keywords, not models: "hey_jarvis" for micro-hey-jarvis. Its engine knows no others.
            let keyword = id.strip_prefix("micro-")?.replace('-', "_");
            (
                &["wake", "keywords"],
                Value::Array([keyword].into_iter().collect()),
                "wake-svc",
            )
        }
        ModelKind::Vad | ModelKind::TurnEnd | ModelKind::Runtime => return None,
    };
    Some(Setting { path, value, service })
}

pub(super) fn select(id: &str, settings: &Settings) -> anyhow::Result<ExitCode> {
    let model = Manifest::embedded().require(id)?;
    let Some(Setting { path, value, service }) = setting(model) else {
        bail!(
            "there is nothing to choose: no setting names {id} ({}), it is used where it is needed",
            model.kind.as_str()
        );
    };
    if !is_installed(&settings.models_dir, model) {
        let message = format!("model \"{id}\" is not installed in {}", settings.models_dir.display());
        return Err(Failure::new(Exit::MissingModel, message)
            .help(format!("run `solo models pull {id}` first"))
            .into());
    }
    let file = &settings.config_file;
    let before = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", file.display())),
    };
    let after = set(&before, path, value.clone()).with_context(|| format!("{} cannot be changed", file.display()))?;
    if after != before {
        write(file, &after).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let key = path.join(".");
    if settings.json {
        terminal::json(&json!({ "model": id, "key": key, "config_file": file, "service": service }))?;
    } else {
        terminal::line(format!("{key} = {value} in {}", file.display()))?;
        terminal::remark(format!("{service} loads it when it starts: `solo restart {service}`"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The text with the value at `path` replaced or added.
fn set(text: &str, path: &[&str], mut value: Value) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse().context("it is no valid TOML")?;
    let (key, sections) = path.split_last().context("no key")?;
    let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
    for (i, section) in sections.iter().enumerate() {
        let new = || {
            let mut table = Table::new();
            // Its header is written only if it holds the key itself.
            table.set_implicit(i + 1 < sections.len());
            Item::Table(table)
        };
        let item = table.entry(section).or_insert_with(new);
        table = item
            .as_table_like_mut()
            .with_context(|| format!("{section} is no section"))?;
    }
    match table.get_mut(key) {
        Some(item) => {
            if let Some(old) = item.as_value() {
                // The comment behind the value belongs to the person.
                *value.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(value);
        }
        None => {
            table.insert(key, Item::Value(value));
        }
    }
    Ok(document.to_string())
}

/// Replaces a file so that a crash leaves the old text or the new one. A link to the file stays a link.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().context("it lies in no folder")?;
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("toml.new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    if let Ok(meta) = fs::metadata(&path) {
        file.set_permissions(meta.permissions())?;
    }
    file.sync_all()?;
    Ok(fs::rename(&beside, &path)?)
}

#[cfg(test)]
mod tests {
    use solo_service::config::Inputs;

    use super::*;

    #[test]
    fn comments_and_order_stay() {
        let text = "# mine\n[global]\nthreads = 2 # two\n\n[llm]\n# which one\nmodel = \"a\"  # small\nx = 1\n";
        assert_eq!(
            set(text, &["llm", "model"], "b".into()).unwrap(),
            "# mine\n[global]\nthreads = 2 # two\n\n[llm]\n# which one\nmodel = \"b\"  # small\nx = 1\n"
        );
    }

    #[test]
    fn sections_are_made() {
        assert_eq!(
            set("", &["tts", "voice"], "v".into()).unwrap(),
            "[tts]\nvoice = \"v\"\n"
        );
        let nested = set("[memory]\nqueue = 1\n", &["memory", "embedding", "model"], "m".into()).unwrap();
        assert_eq!(nested, "[memory]\nqueue = 1\n\n[memory.embedding]\nmodel = \"m\"\n");
        assert_eq!(
            set("", &["memory", "embedding", "model"], "m".into()).unwrap(),
            "[memory.embedding]\nmodel = \"m\"\n"
        );
        assert_eq!(
            set("llm = { x = 1 }\n", &["llm", "model"], "b".into()).unwrap(),
            "llm = { x = 1 , model = \"b\" }\n"
        );
    }

    #[test]
    fn a_broken_file_is_not_touched() {
        assert!(set("[llm\n", &["llm", "model"], "b".into()).is_err());
        assert_eq!(
            set("llm = 3\n", &["llm", "model"], "b".into()).unwrap_err().to_string(),
            "llm is no section"
        );
    }

    #[test]
    fn a_model_must_be_installed_to_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            models_dir: dir.path().join("models"),
            inputs: Inputs::default(),
            config_file: dir.path().join("conf/solo.toml"),
            json: true,
            offline: false,
        };
        let error = select("smollm2-135m", &settings).unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(
            failure.help.as_deref(),
            Some("run `solo models pull smollm2-135m` first")
        );
        assert!(
            select("silero-vad", &settings)
                .unwrap_err()
                .to_string()
                .starts_with("there is nothing to choose")
        );

        let folder = settings.models_dir.join("smollm2-135m");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("model.gguf"), "x").unwrap();
        select("smollm2-135m", &settings).unwrap();
        assert_eq!(
            fs::read_to_string(&settings.config_file).unwrap(),
            "[llm]\nmodel = \"smollm2-135m\"\n"
        );
    }

    #[test]
    fn a_wake_word_is_named_by_its_keyword() {
        let manifest = Manifest::embedded();
        let Setting { path, value, .. } = setting(manifest.get("micro-okay-nabu").unwrap()).unwrap();
        let text = set("[wake]\nkeywords = [\"hey_jarvis\"] # mine\n", path, value).unwrap();
        assert_eq!(text, "[wake]\nkeywords = [\"okay_nabu\"] # mine\n");
        assert!(setting(manifest.get("oww-hey-jarvis").unwrap()).is_none());
    }

    /// The keys written here are the ones that the services read, and the defaults are the models that are pulled.
    #[test]
    fn every_key_is_one_of_its_service() {
        let manifest = Manifest::embedded();
        let mut keys = 0;
        for model in manifest.default.iter().filter_map(|id| manifest.get(id)) {
            let Some(Setting { path, value, service }) = setting(model) else {
                continue;
            };
            let file = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("..")
                .join(service)
                .join("config.toml");
            let document: DocumentMut = fs::read_to_string(&file).unwrap().parse().unwrap();
            let default = path.iter().fold(document.as_item(), |item, key| &item[key]);
            assert_eq!(default.to_string().trim(), value.to_string(), "{path:?} of {service}");
            keys += 1;
        }
        assert_eq!(keys, 6);
    }
}
