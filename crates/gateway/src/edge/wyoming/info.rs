//! What a port says of itself: who answers there, and with which models, voices and keywords.
//!
//! The services say what is installed and in use; who made a model is in the manifest. A port lists what can really be asked
//! of it: for speech to text that is the model in use alone, because stt-svc refuses to be asked for another.

use std::sync::LazyLock;

use serde_json::{Value, json};
use solo_models::{Manifest, Model, ModelKind, Source};
use solo_proto::stt::v1::SpeechModel;
use solo_proto::tts::v1::Voice;
use solo_proto::wake::v1::Keyword;

use super::Port;
use super::framing::Event;
use crate::Gateway;
use crate::error::Error;

/// What programs are called on every port.
const PROGRAM: &str = "solo";
const HOME: &str = "https://github.com/solo-assistant/solo";

/// What the multilingual Whisper models were trained on, as ISO 639 codes: stt-svc says "all" with an empty list, and
/// Home Assistant offers a model only for languages that it finds in the list.
const WHISPER_LANGUAGES: &str = "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no \
    th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af \
    oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su";

/// The keywords that there are so far are spoken in English; the contract does not say.
const KEYWORD_LANGUAGE: &str = "en";

/// The answer to `describe`.
///
/// # Errors
/// When the service behind the port cannot be asked.
pub(super) async fn of(gateway: &Gateway, port: Port) -> Result<Event, Error> {
    let caller = gateway.caller();
    let mut info = json!({
        "asr": [], "tts": [], "wake": [], "handle": [], "intent": [], "mic": [], "snd": []
    });
    let (section, program) = match port {
        Port::Stt => {
            let answer = gateway.upstreams.speech_models(&caller).await?;
            let models: Vec<Value> = answer.models.iter().filter(|model| model.active).map(asr).collect();
            let mut program = program("Speech to text on this machine", "models", models);
            program["supports_transcript_streaming"] = (gateway.config.wyoming.partial_interval_ms > 0).into();
            // The words are said when the client says that it was all.
            program["requires_external_vad"] = true.into();
            program["prefers_auto_gain_enabled"] = true.into();
            // Whisper understands noisy speech better than cleaned speech.
            program["prefers_noise_reduction_enabled"] = false.into();
            ("asr", program)
        }
        Port::Tts => {
            let answer = gateway.upstreams.voices(&caller, "").await?;
            let voices = answer.voices.iter().map(voice).collect();
            let mut program = program("Text to speech on this machine", "voices", voices);
            program["supports_synthesize_streaming"] = true.into();
            ("tts", program)
        }
        Port::Wake => {
            let answer = gateway.upstreams.keywords(&caller).await?;
            let models = answer.keywords.iter().map(keyword).collect();
            ("wake", program("Wake words on this machine", "models", models))
        }
    };
    info[section] = json!([program]);
    Ok(Event::new("info", info))
}

fn program(description: &str, list: &str, entries: Vec<Value>) -> Value {
    let mut program = json!({
        "name": PROGRAM,
        "attribution": { "name": "Solo", "url": HOME },
        "installed": true,
        "description": description,
        "version": env!("CARGO_PKG_VERSION"),
    });
    program[list] = entries.into();
    program
}

fn asr(model: &SpeechModel) -> Value {
    static ALL: LazyLock<Vec<String>> =
        LazyLock::new(|| WHISPER_LANGUAGES.split_whitespace().map(str::to_owned).collect());
    let known = Manifest::embedded().models.iter().find(|known| known.id == model.id);
    let languages = if model.languages.is_empty() {
        &*ALL
    } else {
        &model.languages
    };
    artifact(&model.id, None, model.installed, languages, known)
}

fn voice(voice: &Voice) -> Value {
    let known = Manifest::embedded().models.iter().find(|known| known.id == voice.id);
    let languages = std::slice::from_ref(&voice.language);
    artifact(&voice.id, None, voice.installed, languages, known)
}

fn keyword(keyword: &Keyword) -> Value {
    // A keyword's model is named by its engine and the keyword: "micro-hey-jarvis".
    let suffix = keyword.keyword.replace('_', "-");
    let mut models = Manifest::embedded().models.iter();
    let known = models
        .find(|known| known.kind == ModelKind::Wake && known.id.ends_with(&suffix) && known.licence == keyword.licence);
    let languages = [KEYWORD_LANGUAGE.to_owned()];
    let mut model = artifact(
        &keyword.keyword,
        Some(&keyword.phrase),
        keyword.installed,
        &languages,
        known,
    );
    model["phrase"] = keyword.phrase.as_str().into();
    model
}

/// What all of them say. Without a `description`, the model's title is one.
fn artifact(
    name: &str,
    description: Option<&str>,
    installed: bool,
    languages: &[String],
    known: Option<&Model>,
) -> Value {
    json!({
        "name": name,
        "attribution": attribution(known),
        "installed": installed,
        "description": description.or(known.map(|model| model.title.as_str())),
        // Models have no versions; their files are told apart by their sums.
        "version": null,
        "languages": languages,
    })
}

/// Who made a model, and where it is from. One that the manifest does not know is the person's own.
fn attribution(known: Option<&Model>) -> Value {
    let Some(model) = known else {
        return json!({ "name": "a model of your own", "url": HOME });
    };
    let hub = model.sources.iter().find_map(|source| match source {
        Source::HuggingFace(hub) => Some(format!("https://huggingface.co/{}", hub.repo)),
        _ => None,
    });
    // "Kevin Ahrendt, esphome/micro-wake-word-models" names a repository.
    let repository = || {
        let mut words = model.home.split(|c: char| c.is_whitespace() || c == ',');
        words
            .find(|word| word.contains('/'))
            .map(|repository| format!("https://github.com/{repository}"))
    };
    let url = hub.or_else(repository).unwrap_or_else(|| HOME.to_owned());
    json!({ "name": model.home, "url": url })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multilingual_model_names_its_languages() {
        let whisper = SpeechModel {
            id: "whisper-base".into(),
            languages: Vec::new(),
            installed: true,
            active: true,
        };
        let model = asr(&whisper);
        let languages = model["languages"].as_array().unwrap();
        assert!(
            languages.len() == 99 && languages.contains(&json!("de")),
            "{languages:?}"
        );
        assert_eq!(
            model["attribution"]["url"],
            "https://huggingface.co/ggerganov/whisper.cpp"
        );
        let english = SpeechModel {
            languages: vec!["en".into()],
            ..whisper
        };
        assert_eq!(asr(&english)["languages"], json!(["en"]));
    }

    #[test]
    fn a_keyword_names_who_made_it() {
        let jarvis = Keyword {
            keyword: "hey_jarvis".into(),
            phrase: "Hey Jarvis".into(),
            engine: "micro-wake-word".into(),
            licence: "Apache-2.0".into(),
            active: true,
            installed: true,
        };
        let model = keyword(&jarvis);
        assert_eq!(
            (&model["phrase"], &model["description"]),
            (&json!("Hey Jarvis"), &json!("Hey Jarvis"))
        );
        assert_eq!(
            model["attribution"]["url"],
            "https://github.com/esphome/micro-wake-word-models"
        );
        let unknown = Keyword {
            keyword: "hey_solo".into(),
            ..jarvis
        };
        assert_eq!(keyword(&unknown)["attribution"]["name"], "a model of your own");
    }
}
