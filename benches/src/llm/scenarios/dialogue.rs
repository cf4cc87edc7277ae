//! The second turn of a dialogue: what of the first need not be computed again.

use super::{Samples, Stage};
use crate::llm::client::request;
use crate::llm::{Who, prompts};
use solo_proto::llm::v1::Role;

/// A dialogue of about 1,000 tokens that no cache has seen; its answer; and one more question.
pub async fn dialogue(stage: &mut Stage, samples: &mut Samples, round: usize) {
    let mut chat = prompts::cold(30_000 + round, 950);
    for turn in ["turn 1", "turn 2"] {
        let mut request = request(&chat, 48);
        request.cache_hint = format!("dialogue-{round}");
        let answer = stage.ours.ask(request).await.expect("llm-svc answers");
        samples.record(turn, Who::Ours, answer.ttft_ms());
        samples.record(format!("{turn} tokens"), Who::Ours, answer.prompt_tokens.into());
        chat.push((Role::Assistant, answer.text));
        chat.push((Role::User, "And what should one never do with it?".into()));
    }
}
