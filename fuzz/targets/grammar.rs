//! What a request wants its answer held to: a JSON schema, a regular expression, a grammar.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use llm_svc::constraint::Grammars;
use llm_svc::llm::Format;
use llm_svc::tokenizer::{Specials, Tokenizer, TokenizerError};

/// The number of the token that ends an answer; those below are bytes.
const END: u32 = 256;
/// Tokens of an answer that are looked at.
const TOKENS: usize = 16;

/// Every byte is a token.
struct Bytes;

impl Tokenizer for Bytes {
    fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        tokens.extend(text.bytes().map(u32::from));
        Ok(())
    }

    fn piece(&self, token: u32) -> Vec<u8> {
        u8::try_from(token).map_or_else(|_| Vec::new(), |byte| vec![byte])
    }

    fn is_end(&self, token: u32) -> bool {
        token == END
    }
}

static GRAMMARS: LazyLock<Grammars> = LazyLock::new(|| {
    // llguidance's own panics are caught and are errors; libfuzzer's hook would end the process at each.
    drop(std::panic::take_hook());
    Grammars::new(Arc::new(Bytes), END as usize + 1, &Specials::default()).expect("bytes make a vocabulary")
});

fuzz_target!(|data: &[u8]| {
    let Some((&kind, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let format = match kind % 4 {
        0 => match serde_json::from_str(text) {
            Ok(schema) => Format::JsonSchema(schema),
            Err(_) => return,
        },
        1 => Format::Regex(text.to_owned()),
        2 => Format::Lark(text.to_owned()),
        _ => Format::Gbnf(text.to_owned()),
    };
    let Ok(mut constraint) = GRAMMARS.compile(&format) else {
        return;
    };
    let mut scores = vec![0.0_f32; END as usize + 1];
    for left in (1..=TOKENS).rev() {
        scores.fill(0.0);
        if constraint.restrict(&mut scores, left).is_err() {
            return;
        }
        let Some(token) = scores.iter().position(|score| score.is_finite()) else {
            panic!("no token is allowed");
        };
        if token == END as usize || constraint.accept(token as u32, left).is_err() {
            return;
        }
    }
});
