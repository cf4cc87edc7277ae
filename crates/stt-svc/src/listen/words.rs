//! What decodes give: the words so far, and those of a whole utterance.

use std::time::Duration;

use super::Output;
use super::session::{Mark, Utterance};
use crate::agreement::Agreement;
use crate::decoder::{Decoder, Patience, Verdict};
use crate::engine::{Decoded, Request};
use crate::error::SttError;
use crate::gate::Reason;

/// What a partial decode gave.
pub(super) struct Guess {
    mark: Mark,
    end_sample: u64,
    text: String,
}

/// Decodes what was said so far.
pub(super) async fn guess(
    decoder: Decoder,
    request: Request,
    mark: Mark,
    end_sample: u64,
) -> Result<Option<Guess>, SttError> {
    let text = decoder.guess(request).await?;
    Ok(text.map(|text| Guess { mark, end_sample, text }))
}

/// Decodes a whole utterance, stretch by stretch.
pub(super) async fn finish(decoder: Decoder, template: Request, utterance: Utterance) -> Result<Output, SttError> {
    let (start_sample, end_sample) = (utterance.start_sample, utterance.end_sample);
    let mut heard: Vec<Decoded> = Vec::new();
    let mut rejected = (Reason::NoSpeech, String::new());
    let mut total = Duration::ZERO;
    for samples in utterance.stretches {
        match decoder
            .decode(
                Request {
                    samples,
                    ..template.clone()
                },
                Patience::Wait,
            )
            .await?
        {
            Verdict::Heard { decoded, spent } => {
                heard.push(decoded);
                total += spent;
            }
            Verdict::Rejected { reason, text, spent } => {
                tracing::debug!(?reason, text, "a stretch of an utterance was not believed");
                rejected = (reason, text);
                total += spent;
            }
        }
    }
    let Some(decoded) = joined(heard) else {
        let (reason, text) = rejected;
        return Ok(Output::Rejected {
            reason,
            text,
            start_sample,
            end_sample,
        });
    };
    Ok(Output::Final {
        decoded,
        start_sample,
        end_sample,
        spent: total,
    })
}

/// The words of several stretches as those of one; means are weighted by tokens.
fn joined(heard: Vec<Decoded>) -> Option<Decoded> {
    heard.into_iter().reduce(|mut all, next| {
        let tokens = (all.tokens + next.tokens).max(1) as f32;
        let mean = |a: f32, b: f32| (a * all.tokens as f32 + b * next.tokens as f32) / tokens;
        all.avg_logprob = mean(all.avg_logprob, next.avg_logprob);
        all.confidence = mean(all.confidence, next.confidence);
        all.no_speech_prob = all.no_speech_prob.max(next.no_speech_prob);
        all.text = format!("{} {}", all.text, next.text);
        all.tokens += next.tokens;
        all
    })
}

/// The partial words of the utterance that runs.
#[derive(Default)]
pub(super) struct Words {
    agreement: Agreement,
    mark: Mark,
}

impl Words {
    /// Takes a guess; `None` where there is none, or the stream has moved on to another stretch since.
    pub(super) fn update(&mut self, guess: Option<Guess>, now: Mark) -> Option<Output> {
        let Guess { mark, end_sample, text } = guess.filter(|guess| guess.mark == now)?;
        if self.mark.utterance != mark.utterance {
            self.agreement = Agreement::default();
        } else if self.mark.stretch != mark.stretch {
            self.agreement.next_stretch();
        }
        self.mark = mark;
        Some(Output::Partial {
            partial: self.agreement.update(&text),
            end_sample,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_joined_by_their_weight() {
        let part = |text: &str, tokens, confidence| Decoded {
            text: text.into(),
            tokens,
            confidence,
            ..Decoded::default()
        };
        let all = joined(vec![part("one two", 3, 0.9), part("three", 1, 0.5)]).unwrap();
        assert_eq!((all.text.as_str(), all.tokens), ("one two three", 4));
        assert!((all.confidence - 0.8).abs() < 1e-6);
        assert_eq!(joined(vec![]), None);
    }

    #[test]
    fn partials_of_an_earlier_stretch_are_dropped() {
        let mark = |utterance, stretch| Mark { utterance, stretch };
        let mut words = Words::default();
        let mut say = |made: Mark, now: Mark, text: &str| match words.update(
            Some(Guess {
                mark: made,
                end_sample: 7,
                text: text.into(),
            }),
            now,
        ) {
            Some(Output::Partial { partial, end_sample: 7 }) => Some((partial.stable, partial.unstable)),
            _ => None,
        };
        let pair = |stable: &str, unstable: &str| Some((stable.to_owned(), unstable.to_owned()));
        assert_eq!(say(mark(1, 0), mark(2, 0), "late"), None);
        assert_eq!(say(mark(2, 0), mark(2, 0), "one two"), pair("", "one two"));
        assert_eq!(say(mark(2, 1), mark(2, 1), "three"), pair("one two", "three"));
        assert_eq!(say(mark(3, 0), mark(3, 0), "new"), pair("", "new"));
    }
}
