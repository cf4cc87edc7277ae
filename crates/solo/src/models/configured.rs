//! The models that a configuration has services load: what `solo models pull` fetches when it is not told what, and what
//! `solo doctor` looks for.

use std::path::Path;

use solo_models::Manifest;
use solo_service::config::{Faults, Inputs};
use toml::Value;

use crate::sections;

/// What a configuration says about models.
#[derive(Debug, Default)]
pub struct Configured {
    /// Identifiers of the models that are wanted, without what those require.
    pub ids: Vec<String>,
    /// Keys with names that the manifest does not know, and that are no paths of files.
    pub unknown: Vec<(&'static str, String)>,
    /// Sections that cannot be read; their models are not among the others.
    pub faults: Vec<Faults>,
}

impl Configured {
    /// What the services will load as they are configured.
    pub fn read(manifest: &Manifest, inputs: &Inputs) -> Self {
        let mut configured = Self::default();
        let mut note = |key, name: &str| {
            if manifest.get(name).is_some() {
                configured.ids.push(name.to_owned());
            } else if !name.is_empty() && !is_path(name) {
                configured.unknown.push((key, name.to_owned()));
            }
        };
        let mut faults = Vec::new();
        for (section, models) in SECTIONS {
            match sections::effective(section, inputs) {
                Ok(table) => models(&Value::Table(table), &mut note),
                Err(found) => faults.push(found),
            }
        }
        configured.faults = faults;
        configured
    }
}

/// Tells the names that a section's keys have for models.
type Models = fn(&Value, &mut dyn FnMut(&'static str, &str));

const SECTIONS: [(&str, Models); 5] = [
    ("llm", |llm, note| {
        // Another server's models are that server's business.
        if !matches!(text(llm, "engine"), "openai" | "ollama") {
            note("llm.model", text(llm, "model"));
        }
    }),
    ("stt", |stt, note| {
        note("stt.model", text(stt, "model"));
        if text(stt, "vad.engine") == "silero" {
            note("stt.vad.engine", "silero-vad");
        }
        note("stt.turn_end.model", text(stt, "turn_end.model"));
    }),
    ("tts", |tts, note| note("tts.voice", text(tts, "voice"))),
    ("wake", |wake, note| {
        // Porcupine's are the person's own.
        let prefix = match text(wake, "engine") {
            "micro-wake-word" => "micro-",
            "open-wake-word" => "oww-",
            _ => return,
        };
        let keywords = sections::at(wake, "keywords").and_then(Value::as_array);
        for keyword in keywords.into_iter().flatten().filter_map(Value::as_str) {
            // "hey_jarvis" or, with a threshold, "hey_jarvis=0.95x3".
            let keyword = keyword.split('=').next().unwrap_or_default().trim();
            note("wake.keywords", &format!("{prefix}{}", keyword.replace('_', "-")));
        }
    }),
    ("memory", |memory, note| {
        note("memory.embedding.model", text(memory, "embedding.model"));
        if text(memory, "embedding.engine") == "onnx" {
            note("memory.embedding.weights", text(memory, "embedding.weights"));
        }
    }),
];

/// Text at a key of a section; empty where there is none.
fn text<'a>(section: &'a Value, key: &str) -> &'a str {
    sections::at(section, key).and_then(Value::as_str).unwrap_or_default()
}

fn is_path(name: &str) -> bool {
    let path = Path::new(name);
    path.components().count() > 1 || path.is_absolute() || path.extension().is_some_and(|end| end == "gguf")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn with(flags: &[(&str, &str)]) -> Configured {
        let inputs = Inputs {
            // Not that of whoever runs the test.
            inline: Some(String::new()),
            flags: flags
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            ..Inputs::default()
        };
        Configured::read(Manifest::embedded(), &inputs)
    }

    #[test]
    fn the_default_configuration_names_the_default_set() {
        let (manifest, configured) = (Manifest::embedded(), with(&[]));
        let wanted = manifest.with_requirements(&configured.ids).unwrap();
        let wanted: BTreeSet<&str> = wanted.iter().map(|model| model.id.as_str()).collect();
        let default: BTreeSet<&str> = manifest.default.iter().map(String::as_str).collect();
        assert_eq!(wanted, default);
        assert!(
            configured.unknown.is_empty() && configured.faults.is_empty(),
            "{configured:?}"
        );
    }

    #[test]
    fn what_is_chosen_takes_the_place_of_the_default() {
        let ids = with(&[("llm.model", "smollm2-135m"), ("tts.voice", "kokoro-en-us-heart")]).ids;
        assert!(ids.contains(&"smollm2-135m".to_owned()), "{ids:?}");
        assert!(ids.contains(&"kokoro-en-us-heart".to_owned()), "{ids:?}");
        assert!(!ids.contains(&"qwen2.5-coder-0.5b".to_owned()), "{ids:?}");
        assert!(!ids.contains(&"piper-en-us-joe".to_owned()), "{ids:?}");
    }

    #[test]
    fn wake_words_are_their_engines_models() {
        let wake = |flags: &[(&str, &str)]| {
            let ids = with(flags).ids.into_iter();
            ids.filter(|id| id.starts_with("micro-") || id.starts_with("oww-"))
                .collect::<Vec<_>>()
        };
        let keywords = ("wake.keywords", "[\"okay_nabu=0.9x3\", \"alexa\"]");
        assert_eq!(wake(&[keywords]), ["micro-okay-nabu", "micro-alexa"]);
        assert_eq!(wake(&[("wake.engine", "open-wake-word")]), ["oww-hey-jarvis"]);
        assert!(wake(&[("wake.engine", "porcupine"), keywords]).is_empty());
    }

    #[test]
    fn files_and_models_of_other_servers_are_not_fetched() {
        for change in [
            ("llm.model", "/data/mine.gguf"),
            ("llm.model", "mine.gguf"),
            ("llm.engine", "openai"),
        ] {
            let Configured { ids, unknown, .. } = with(&[change]);
            assert!(!ids.iter().any(|id| id.starts_with("qwen")), "{ids:?}");
            assert!(unknown.is_empty(), "{unknown:?}");
        }
        assert!(
            !with(&[("stt.vad.engine", "level")])
                .ids
                .contains(&"silero-vad".to_owned())
        );
        assert!(
            !with(&[("memory.embedding.engine", "candle")])
                .ids
                .contains(&"minilm-l6-v2-int8".to_owned())
        );
    }

    #[test]
    fn what_is_not_known_is_told_with_its_key() {
        let unknown = with(&[("llm.model", "qwen2.5-coder-15b"), ("wake.keywords", "[\"computer\"]")]).unknown;
        let wanted = [("llm.model", "qwen2.5-coder-15b"), ("wake.keywords", "micro-computer")];
        assert_eq!(unknown, wanted.map(|(key, name)| (key, name.to_owned())));
    }

    #[test]
    fn a_section_that_cannot_be_read_does_not_take_the_others_along() {
        let configured = with(&[("tts.voize", "x")]);
        assert_eq!(configured.faults.len(), 1);
        assert!(configured.ids.contains(&"whisper-base".to_owned()));
    }
}
