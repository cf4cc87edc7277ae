//! What servers mean when they refuse: they say it in many ways.

use std::time::Duration;

use serde_json::Value;

use crate::backend::error::Problem;

/// What a refusal means, by its status and its words. Servers say in many ways that a prompt is too long, and not always
/// with a status that fits.
pub fn classify(status: u16, words: String, after: Option<Duration>) -> Problem {
    let lower = words.to_lowercase();
    let too_long = lower.contains("context")
        && ["length", "size", "window", "exceed", "too long"]
            .iter()
            .any(|sign| lower.contains(sign));
    match status {
        429 | 502 | 503 => Problem::Busy { status, words, after },
        400..=599 if too_long => Problem::ContextExceeded { words },
        400..=499 => Problem::Refused { status, words },
        _ => Problem::Failed { status, words },
    }
}

/// The words in a refusal: OpenAI says `{"error": {"message": …}}`, Ollama `{"error": …}`, FastAPI `{"detail": …}`;
/// what is none of these is repeated as it is.
pub fn words(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    let told = [
        &value["error"]["message"],
        &value["error"],
        &value["message"],
        &value["detail"],
    ];
    match told.into_iter().find(|value| !value.is_null()) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_every_servers_refusal() {
        for body in [
            r#"{"error":{"message":"no","type":"x","code":400}}"#,
            r#"{"error":"no"}"#,
            r#"{"object":"error","message":"no"}"#,
            r#"{"detail":"no"}"#,
            "no",
        ] {
            assert_eq!(words(body.as_bytes()), "no");
        }
        assert_eq!(words(br#"{"detail":[{"loc":["body"]}]}"#), r#"[{"loc":["body"]}]"#);
    }

    #[test]
    fn a_prompt_that_is_too_long_is_known_by_its_words() {
        for words in [
            "request (3000 tokens) exceeds the available context size (2048 tokens), try increasing it",
            "This model's maximum context length is 4096 tokens.",
            "the input length exceeds the context length",
        ] {
            for status in [400, 500] {
                assert!(matches!(
                    classify(status, words.into(), None),
                    Problem::ContextExceeded { .. }
                ));
            }
        }
        assert!(matches!(
            classify(400, "temperature".into(), None),
            Problem::Refused { .. }
        ));
        assert!(matches!(
            classify(500, "CUDA error".into(), None),
            Problem::Failed { .. }
        ));
        assert!(matches!(
            classify(503, "Loading model".into(), None),
            Problem::Busy { .. }
        ));
    }
}
