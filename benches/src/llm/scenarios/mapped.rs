//! llama.cpp's server as it comes: its weights mapped from the file, in small pages.

use std::path::Path;

use super::Samples;
use crate::Spread;
use crate::llm::peer::{Pages, Peer};
use crate::llm::prompts;

const ANSWERS: usize = 3;

/// Its decoding, alone, beside nobody; once, not once a round.
pub async fn mapped(samples: &mut Samples, model: &Path) {
    let Some(peer) = Peer::start(model, Pages::Mapped).await else {
        return;
    };
    let client = peer.client();
    client
        .ask(&prompts::shared(300), 4)
        .await
        .expect("llama-server answers");
    let mut rates = Vec::with_capacity(ANSWERS);
    for index in 0..ANSWERS {
        let answer = client.ask(&prompts::shared(301 + index), 48).await;
        rates.push(answer.expect("llama-server answers").decode_rate());
    }
    samples.note(format!(
        "llama.cpp's server as it comes, its weights mapped and not in huge pages, decodes one stream here at {} tok/s.",
        Spread::of(rates)
    ));
}
