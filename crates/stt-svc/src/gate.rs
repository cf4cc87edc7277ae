//! Whether decoded words are to be believed.
//!
//! Whisper was trained on subtitles and writes some even where nobody spoke. Voice activity keeps most of that from
//! being decoded at all; what is decoded passes here. Each test stands alone, so that each can be measured alone. The
//! model's own no-speech probability is not among them: it was 0 for speech, silence and noise alike.

use solo_audio::level;

use crate::config::GateConfig;
use crate::engine::Decoded;

/// Why words are not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nothing voiced was in the audio; it was not decoded.
    NoVoice,
    /// The model wrote nothing, or only what is no speech ("[BLANK_AUDIO]", "(music)").
    NoSpeech,
    /// The model is too unsure of them: a cough in which it finds words.
    LowConfidence,
    /// More tokens than a mouth can say in that time.
    Repetition,
    /// A phrase that the model is known to invent, from audio that is quiet.
    PhantomPhrase,
}

/// What Whisper invents in silence: the ends of the videos that it learned from.
const PHANTOMS: [&str; 14] = [
    "thank you",
    "thank you very much",
    "thank you so much",
    "thank you for watching",
    "thanks for watching",
    "thank you for listening",
    "please subscribe",
    "subscribe to my channel",
    "like and subscribe",
    "see you next time",
    "see you in the next video",
    "bye",
    "bye bye",
    "you",
];

/// Below this length the rate of tokens says nothing: "yes." has two in a third of a second.
const MIN_SECONDS: f32 = 1.0;

/// Judges what was decoded from `samples` (16,000 Hz).
///
/// # Errors
/// The reason, when the words are not believed.
pub(crate) fn judge(decoded: &Decoded, samples: &[i16], config: &GateConfig) -> Result<(), Reason> {
    if !has_speech(&decoded.text) {
        return Err(Reason::NoSpeech);
    }
    if decoded.tokens > most_tokens(samples, config) {
        return Err(Reason::Repetition);
    }
    if decoded.avg_logprob < config.min_logprob {
        return Err(Reason::LowConfidence);
    }
    if is_phantom(&decoded.text) && level::rms_dbfs_i16(samples) < config.phantom_dbfs {
        return Err(Reason::PhantomPhrase);
    }
    Ok(())
}

/// The most tokens that a mouth can say in that time; with more the model repeats itself.
pub(crate) fn most_tokens(samples: &[i16], config: &GateConfig) -> usize {
    let seconds = (samples.len() as f32 / 16_000.0).max(MIN_SECONDS);
    (seconds * config.max_tokens_per_second) as usize
}

/// True when a letter or digit stands outside all brackets and asterisks.
fn has_speech(text: &str) -> bool {
    let mut depth = 0_u32;
    let mut starred = false;
    text.chars().any(|c| {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            '*' => starred = !starred,
            _ => {}
        }
        depth == 0 && !starred && c.is_alphanumeric()
    })
}

fn is_phantom(text: &str) -> bool {
    let words = text
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty());
    let plain = words.map(str::to_lowercase).collect::<Vec<_>>().join(" ");
    PHANTOMS.contains(&plain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: GateConfig = GateConfig {
        max_tokens_per_second: 7.0,
        min_logprob: -1.2,
        phantom_dbfs: -45.0,
    };

    fn said(text: &str, tokens: usize) -> Decoded {
        Decoded {
            text: text.into(),
            tokens,
            ..Decoded::default()
        }
    }

    fn loud(seconds: f32) -> Vec<i16> {
        (0..(seconds * 16_000.0) as usize)
            .map(|n| if n % 2 == 0 { 5_000 } else { -5_000 })
            .collect()
    }

    #[test]
    fn words_are_believed() {
        assert_eq!(judge(&said("Turn on the light.", 6), &loud(1.5), &CONFIG), Ok(()));
        assert_eq!(judge(&said("Yes.", 2), &loud(0.3), &CONFIG), Ok(()));
        assert_eq!(judge(&said("A (small) step", 6), &loud(1.5), &CONFIG), Ok(()));
    }

    #[test]
    fn what_is_no_speech_is_none() {
        for text in [
            "",
            " ",
            "...",
            "[BLANK_AUDIO]",
            "(upbeat music)",
            "*sigh*",
            "♪ ♪",
            "[",
            "(music) - ",
        ] {
            assert_eq!(
                judge(&said(text, 1), &loud(2.0), &CONFIG),
                Err(Reason::NoSpeech),
                "{text}"
            );
        }
    }

    #[test]
    fn a_loop_is_faster_than_a_mouth() {
        assert_eq!(
            judge(&said("no no no no", 60), &loud(2.0), &CONFIG),
            Err(Reason::Repetition)
        );
        assert_eq!(judge(&said("quick words", 14), &loud(2.0), &CONFIG), Ok(()));
    }

    #[test]
    fn words_that_the_model_is_not_sure_of_are_none() {
        let unsure = |avg_logprob| Decoded {
            avg_logprob,
            ..said("I'm going to put it on.", 7)
        };
        assert_eq!(judge(&unsure(-1.3), &loud(2.0), &CONFIG), Err(Reason::LowConfidence));
        assert_eq!(judge(&unsure(-1.1), &loud(2.0), &CONFIG), Ok(()));
    }

    #[test]
    fn a_thank_you_is_believed_when_it_was_said_aloud() {
        assert_eq!(judge(&said("Thank you.", 3), &loud(1.0), &CONFIG), Ok(()));
        assert_eq!(
            judge(&said(" Thank you!", 3), &[3; 16_000], &CONFIG),
            Err(Reason::PhantomPhrase)
        );
        assert_eq!(judge(&said("Turn it off.", 3), &[3; 16_000], &CONFIG), Ok(()));
    }
}
