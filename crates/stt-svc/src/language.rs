//! Which language a request means, and whether the model knows it.

use solo_service::StartupError;

use crate::engine::EngineInfo;
use crate::error::SttError;

/// The language to decode in; `None` means: detect it. `requested` is empty where the request names none.
///
/// # Errors
/// When the model does not know it, with its own error where the model knows English only.
pub(crate) fn resolve(requested: &str, info: &EngineInfo) -> Result<Option<String>, SttError> {
    if requested.is_empty() {
        // An English-only model has nothing to detect.
        return Ok((!info.multilingual()).then(|| "en".to_owned()));
    }
    let language = requested.to_ascii_lowercase();
    if info.languages.contains(&language) {
        return Ok(Some(language));
    }
    // Two or three letters are a language that this model lacks; anything else is no code at all.
    let looks_like_a_code = (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase());
    Err(if !info.multilingual() && looks_like_a_code {
        SttError::EnglishOnly {
            model: info.model.clone(),
            wanted: format!("`{language}`"),
        }
    } else {
        SttError::UnknownLanguage {
            language: requested.chars().take(40).collect(),
            model: info.model.clone(),
        }
    })
}

/// Checks `stt.language` once the model is known.
///
/// # Errors
/// When the model does not know it.
pub(crate) fn check_configured(language: &str, info: &EngineInfo) -> Result<(), StartupError> {
    resolve(language, info)
        .map(drop)
        .map_err(|error| StartupError::Config(format!("stt.language: {error}")))
}

#[cfg(test)]
mod tests {
    use solo_service::ServiceError;

    use super::*;

    fn info(languages: &[&str]) -> EngineInfo {
        let languages = languages.iter().map(|language| (*language).to_owned()).collect();
        EngineInfo {
            engine: "fake",
            model: "fake-model".into(),
            languages,
        }
    }

    #[test]
    fn a_multilingual_model_detects_what_is_not_named() {
        let info = info(&["en", "de", "haw"]);
        assert_eq!(resolve("", &info).unwrap(), None);
        assert_eq!(resolve("DE", &info).unwrap().as_deref(), Some("de"));
        assert_eq!(resolve("klingon", &info).unwrap_err().reason(), "UNKNOWN_LANGUAGE");
        assert_eq!(resolve("e\0", &info).unwrap_err().reason(), "UNKNOWN_LANGUAGE");
    }

    #[test]
    fn an_english_model_refuses_others_and_names_the_remedy() {
        let info = info(&["en"]);
        assert_eq!(resolve("", &info).unwrap().as_deref(), Some("en"));
        let error = resolve("de", &info).unwrap_err();
        assert_eq!(error.reason(), "LANGUAGE_NOT_SUPPORTED");
        assert!(error.to_string().contains("whisper-base"), "{error}");
        assert!(
            matches!(check_configured("de", &info), Err(StartupError::Config(text)) if text.contains("stt.language"))
        );
    }
}
