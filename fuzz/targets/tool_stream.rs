//! Tool calls in a model's free text. However the text is cut into pieces, the same calls and text come out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_svc::tools::{Piece, ToolStream, Trust};

fn names() -> [String; 2] {
    ["get_weather".to_owned(), "set_timer".to_owned()]
}

/// Text and calls of an answer that comes in pieces of at least `size` bytes.
fn read(text: &str, size: usize) -> (String, Vec<(String, String)>) {
    let mut stream = ToolStream::new(names(), Trust::Free);
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let mut end = size.min(rest.len());
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        pieces.extend(stream.push(&rest[..end]));
        rest = &rest[end..];
    }
    pieces.extend(stream.finish().pieces);
    let (mut said, mut calls) = (String::new(), Vec::<(String, String)>::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => said.push_str(&text),
            Piece::Call { begins, arguments, .. } => match begins {
                Some((_, name)) => calls.push((name, arguments)),
                None => calls.last_mut().expect("a call has begun").1.push_str(&arguments),
            },
        }
    }
    (said, calls)
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let whole = read(text, text.len().max(1));
    for (name, arguments) in &whole.1 {
        assert!(names().contains(name), "{name}");
        serde_json::from_str::<serde_json::Value>(arguments).expect("arguments are JSON");
    }
    assert_eq!(whole, read(text, usize::from(size) + 1));
});
