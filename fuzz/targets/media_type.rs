//! Which format a document has, by what a stranger declares, calls and begins it: found so that its own name finds it again,
//! or refused in a short line without control characters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solo_documents::{Extracted, MAX_TITLE_CHARS, detect, title};

/// Longest message, in characters: what is quoted of a document is cut.
const MAX_MESSAGE_CHARS: usize = 300;

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (declared, uri, head) = input;
    match detect(declared, uri, head) {
        Ok(format) => {
            let again = detect(format.media_type.as_str(), uri, head).expect("its own name is known");
            assert_eq!(again.media_type, format.media_type);
        }
        Err(refusal) => {
            let message = refusal.to_string();
            assert!(!message.contains(char::is_control), "{message:?}");
            assert!(message.chars().count() <= MAX_MESSAGE_CHARS, "{message}");
        }
    }
    let title = title("", &Extracted::default(), uri);
    assert!(title.chars().count() <= MAX_TITLE_CHARS, "{title}");
    assert!(title.lines().count() <= 1, "{title:?}");
});
