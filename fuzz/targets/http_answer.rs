//! What another server streams: bytes become lines, lines become pieces of an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_svc::backend::framing::{EventBound, Lines};
use llm_svc::backend::{ollama, openai};

const MOST_BYTES: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let mut lines = Lines::new(MOST_BYTES);
    let mut events = EventBound::new(MOST_BYTES);
    let mut whole = Vec::new();
    for chunk in stream.chunks(usize::from(size) + 1) {
        let _ = events.check(chunk);
        let Ok(found) = lines.push(chunk) else {
            return;
        };
        whole.extend(found);
    }
    whole.extend(lines.finish());
    for line in whole {
        assert!(line.len() <= MOST_BYTES, "a line of {} bytes", line.len());
        let text = String::from_utf8_lossy(&line);
        let _ = openai::decode(&text);
        let _ = ollama::decode(&text);
    }
});
