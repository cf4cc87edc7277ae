//! Bytes of a text become characters.

use encoding_rs::{Encoding, UTF_8};

use super::Refusal;

/// The text of `bytes`: by its byte order mark, else in the declared character set, else in UTF-8. Nothing is guessed: a
/// wrong guess would be stored as noise.
pub fn decode(bytes: Vec<u8>, declared: Option<&'static Encoding>) -> Result<String, Refusal> {
    let marked = Encoding::for_bom(&bytes);
    let (encoding, mark) = marked.unwrap_or((declared.unwrap_or(UTF_8), 0));
    let text = if encoding == UTF_8 {
        utf8(bytes, mark)?
    } else {
        let decoded = encoding.decode_without_bom_handling_and_without_replacement(&bytes[mark..]);
        let decoded = decoded.ok_or_else(|| Refusal::NotText {
            problem: format!("the text is not {}, as it says", encoding.name()),
        })?;
        decoded.into_owned()
    };
    match text.find('\0') {
        None => Ok(text),
        Some(position) => Err(Refusal::NotText {
            problem: format!("byte {position} is 0: this is no text"),
        }),
    }
}

fn utf8(bytes: Vec<u8>, mark: usize) -> Result<String, Refusal> {
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        let problem = format!(
            "byte {position} is not UTF-8: convert the text, for instance with iconv, or say its charset in the media type"
        );
        Refusal::NotText { problem }
    })?;
    text.drain(..mark);
    Ok(text)
}
