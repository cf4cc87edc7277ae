//! Kokoro-82M: StyleTTS 2 (Li et al. 2023, arXiv:2306.07691) with an iSTFT vocoder, exported to ONNX, one model for all
//! of its voices.
//!
//! The graph takes `tokens` i64[1, n], `style` f32[1, 256] and `speed` f32[1]; it gives f32[samples] at 24,000 Hz. A voice is
//! a table of 510 styles, one for each number of tokens. Phonemes come from espeak-ng and are written in Kokoro's own
//! alphabet, that of misaki (its phonemiser), in which a diphthong is one letter. The graph's recurrent layers see the whole
//! utterance and cannot be cut: a unit leaves when all of it is made. It does not say how long each phoneme is spoken, so
//! its words have no marks.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;
use serde::Deserialize;
use solo_audio::SampleRate;
use solo_service::CancelToken;

use super::espeak::{self, Phonemiser};
use super::level::Level;
use super::onnx::{self, failed};
use super::{Emit, EngineError, Made, SynthesisError, Synthesizer, Utterance, VoiceFacts, collect, text};

/// The model that all voices speak with.
pub const MODEL: &str = "kokoro-82m";
/// Rate of its samples, in Hz.
pub const SAMPLE_RATE_HZ: u32 = 24_000;
/// Numbers in a style.
const STYLE: usize = 256;
/// Styles of a voice; also the most tokens of an utterance, without the pads around them.
const STYLES: usize = 510;
/// Begins and ends the tokens.
const PAD: i64 = 0;
/// Quieter than this is the silence around an utterance.
const SILENCE: f32 = 0.004;
/// What is left of that silence before and behind, in ms.
const LEFT_MS: (u64, u64) = (20, 80);
/// Said when the voice is loaded: sets its level, and makes the runtime allocate what it needs.
const TRIAL: &str = "The quick brown fox jumps over the lazy dog.";

#[derive(Deserialize)]
struct VocabularyFile {
    vocab: HashMap<char, i64>,
}

/// A voice of Kokoro.
pub struct Kokoro {
    facts: VoiceFacts,
    session: Session,
    phonemiser: Phonemiser,
    vocabulary: HashMap<char, i64>,
    /// [`STYLES`] styles, one behind the other.
    styles: Vec<f32>,
    british: bool,
    level: Level,
}

impl Kokoro {
    /// Loads an installed voice ("kokoro-en-us-heart"), the model, ONNX Runtime and espeak-ng's data.
    ///
    /// # Errors
    /// When one of them is missing or damaged.
    pub fn load(models_dir: &Path, id: &str, espeak_data: &str, threads: usize) -> Result<Self, EngineError> {
        let styles = solo_models::locate(models_dir, id, "voice")?;
        let model = solo_models::locate(models_dir, MODEL, "model")?;
        let vocabulary = solo_models::locate(models_dir, MODEL, "vocabulary")?;
        let damaged = |model: &str, path: &Path, problem: String| EngineError::Damaged {
            model: model.to_owned(),
            path: path.to_owned(),
            problem,
        };
        let language = language_of(id).unwrap_or_else(|| "en-US".to_owned());
        let sample_rate = SampleRate::new(SAMPLE_RATE_HZ).expect("24,000 Hz is a rate");
        let read = fs::read(&styles)
            .map_err(|error| error.to_string())
            .and_then(|bytes| read_styles(&bytes));
        let styles = read.map_err(|problem| damaged(id, &styles, problem))?;
        let read = fs::read(&vocabulary)
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice::<VocabularyFile>(&bytes).map_err(|error| error.to_string()));
        let VocabularyFile { vocab } = read.map_err(|problem| damaged(MODEL, &vocabulary, problem))?;
        onnx::load_runtime(models_dir)?;
        let phonemiser = Phonemiser::new(&espeak::find_data(espeak_data)?, &language.to_lowercase())?;
        let session = onnx::builder(threads)
            .and_then(|mut builder| builder.commit_from_file(&model))
            .map_err(|error| damaged(MODEL, &model, error.to_string()))?;
        let mut kokoro = Self {
            british: language == "en-GB",
            facts: VoiceFacts {
                id: id.to_owned(),
                language,
                sample_rate,
            },
            session,
            phonemiser,
            vocabulary: vocab,
            styles,
            level: Level::UNITY,
        };
        let trial = Utterance {
            text: TRIAL,
            speed: 1.0,
            soon: true,
        };
        let said = collect(&mut kokoro, &trial, &CancelToken::new()).map_err(|source| EngineError::Mute {
            voice: id.to_owned(),
            source,
        })?;
        kokoro.level = Level::of_speech(&said);
        Ok(kokoro)
    }

    /// The tokens of a text, cut where a run of them would be too long for the model.
    fn tokens(&self, words: &str) -> Result<Vec<Vec<i64>>, SynthesisError> {
        let mut symbols = String::new();
        for (clause, mark) in text::clauses(words) {
            let spoken = self.phonemiser.phonemes(clause)?;
            if !spoken.is_empty() {
                if !symbols.is_empty() {
                    symbols.push(' ');
                }
                symbols.push_str(&misaki(&spoken, self.british));
                symbols.push(mark);
            }
        }
        let unknown: Vec<_> = symbols.chars().filter(|c| !self.vocabulary.contains_key(c)).collect();
        if !unknown.is_empty() {
            tracing::debug!(?unknown, %symbols, "the model does not know these phonemes; they are left out");
        }
        let tokens: Vec<i64> = symbols
            .chars()
            .filter_map(|c| self.vocabulary.get(&c).copied())
            .collect();
        Ok(runs(&tokens, self.vocabulary.get(&' ').copied()))
    }

    fn run(&mut self, tokens: &[i64], speed: f32, cancel: &CancelToken) -> Result<Vec<f32>, SynthesisError> {
        let row = (tokens.len() - 1).min(STYLES - 1) * STYLE;
        let style = self.styles[row..row + STYLE].to_vec();
        let mut padded = Vec::with_capacity(tokens.len() + 2);
        padded.push(PAD);
        padded.extend_from_slice(tokens);
        padded.push(PAD);
        let inputs: [SessionInputValue<'_>; 3] = [
            Tensor::from_array(([1, padded.len()], padded)).map_err(failed)?.into(),
            Tensor::from_array(([1, STYLE], style)).map_err(failed)?.into(),
            Tensor::from_array(([1], vec![speed])).map_err(failed)?.into(),
        ];
        onnx::run(&mut self.session, &inputs, cancel, |outputs| {
            Ok(outputs[0].try_extract_tensor::<f32>()?.1.to_vec())
        })
    }
}

impl Synthesizer for Kokoro {
    fn facts(&self) -> &VoiceFacts {
        &self.facts
    }

    fn synthesize(
        &mut self,
        utterance: &Utterance<'_>,
        cancel: &CancelToken,
        emit: &mut Emit<'_>,
    ) -> Result<(), SynthesisError> {
        let mut samples = Vec::new();
        for tokens in self.tokens(utterance.text)? {
            samples.extend_from_slice(trimmed(&self.run(&tokens, utterance.speed, cancel)?));
        }
        if samples.is_empty() {
            return Ok(());
        }
        self.level.apply(&mut samples);
        emit(Made::Length {
            samples: samples.len(),
            words: Vec::new(),
        })?;
        emit(Made::Samples(samples))
    }
}

/// "kokoro-en-us-heart" → "en-US": the language and region that a voice's identifier names.
pub fn language_of(id: &str) -> Option<String> {
    let mut parts = id.strip_prefix("kokoro-")?.split('-');
    let (language, region, _name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(format!("{language}-{}", region.to_uppercase()))
}

fn read_styles(bytes: &[u8]) -> Result<Vec<f32>, String> {
    let wanted = STYLES * STYLE * size_of::<f32>();
    if bytes.len() != wanted {
        return Err(format!("{} bytes, {wanted} are wanted", bytes.len()));
    }
    let numbers = bytes.as_chunks::<4>().0;
    Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

/// espeak-ng's phonemes of English in misaki's letters (`EspeakFallback` of misaki 0.9). espeak-ng writes no ties, so two
/// letters that form a diphthong or an affricate are always taken for one.
fn misaki(phonemes: &str, british: bool) -> String {
    const BOTH: [(&str, &str); 14] = [
        ("aɪ", "I"),
        ("aʊ", "W"),
        ("dʒ", "ʤ"),
        ("eɪ", "A"),
        ("tʃ", "ʧ"),
        ("ɔɪ", "Y"),
        ("ʲ", "j"),
        ("r", "ɹ"),
        ("x", "k"),
        ("ç", "k"),
        ("ɬ", "l"),
        ("ɐ", "ə"),
        ("\u{303}", ""),
        ("\u{329}", ""),
    ];
    const AMERICAN: [(&str, &str); 8] = [
        ("oʊ", "O"),
        ("ɚ", "əɹ"),
        ("ɜːɹ", "ɜɹ"),
        ("ɜː", "ɜɹ"),
        ("ɪə", "iə"),
        ("ː", ""),
        ("ɾ", "T"),
        ("ʔ", "t"),
    ];
    const BRITISH: [(&str, &str); 5] = [("eə", "ɛː"), ("iə", "ɪə"), ("əʊ", "Q"), ("ɾ", "T"), ("ʔ", "t")];
    let own: &[_] = if british { &BRITISH } else { &AMERICAN };
    let mut symbols = phonemes.to_owned();
    for (from, to) in BOTH.iter().chain(own) {
        symbols = symbols.replace(from, to);
    }
    symbols.replace('o', "ɔ").replace('e', "A")
}

/// Cuts tokens into runs that the model takes, at the last space before the limit where there is one.
fn runs(tokens: &[i64], space: Option<i64>) -> Vec<Vec<i64>> {
    let mut runs = Vec::new();
    let mut rest = tokens;
    while rest.len() > STYLES {
        let cut = (rest[..STYLES].iter())
            .rposition(|token| Some(*token) == space)
            .map_or(STYLES, |space| space + 1);
        runs.push(rest[..cut].to_vec());
        rest = &rest[cut..];
    }
    if !rest.is_empty() {
        runs.push(rest.to_vec());
    }
    runs
}

/// Without the silence around it, but for a little.
fn trimmed(samples: &[f32]) -> &[f32] {
    let heard = |sample: &f32| sample.abs() > SILENCE;
    let (Some(first), Some(last)) = (samples.iter().position(heard), samples.iter().rposition(heard)) else {
        return &[];
    };
    let left = |ms: u64| (ms * u64::from(SAMPLE_RATE_HZ) / 1_000) as usize;
    let from = first.saturating_sub(left(LEFT_MS.0));
    let to = (last + 1 + left(LEFT_MS.1)).min(samples.len());
    &samples[from..to]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phonemes_are_written_in_the_letters_of_the_model() {
        assert_eq!(misaki("həlˈoʊ fɹʌm sˈoʊloʊ", false), "həlˈO fɹʌm sˈOlO");
        assert_eq!(misaki("wˈɜːld wˈɔːɹ", false), "wˈɜɹld wˈɔɹ");
        assert_eq!(
            misaki("dʒˈʌdʒ tʃˈɔɪs lˈaɪf hˈaʊs dˈeɪ", false),
            "ʤˈʌʤ ʧˈYs lˈIf hˈWs dˈA"
        );
        assert_eq!(misaki("wˈɔːɾɚ ɐ", false), "wˈɔTəɹ ə");
        assert_eq!(misaki("fˈoːɹ", false), "fˈɔɹ");
        assert_eq!(misaki("ðeə ɡˈəʊ kˈɑː", true), "ðɛː ɡˈQ kˈɑː");
    }

    #[test]
    fn long_texts_are_cut_at_a_space() {
        let mut tokens = vec![1_i64; 700];
        tokens[400] = 16;
        let cut: Vec<_> = runs(&tokens, Some(16)).iter().map(Vec::len).collect();
        assert_eq!(cut, [401, 299]);
        assert_eq!(runs(&[1; 1021], None).len(), 3);
        assert!(runs(&[], None).is_empty());
    }

    #[test]
    fn silence_around_speech_is_short() {
        let mut samples = vec![0.0; 24_000];
        samples[10_000..12_000].fill(0.5);
        assert_eq!(trimmed(&samples).len(), 480 + 2_000 + 1_920);
        assert_eq!(trimmed(&samples[10_000..12_000]).len(), 2_000);
        assert!(trimmed(&[0.0; 100]).is_empty());
    }

    #[test]
    fn a_table_of_styles_has_one_size() {
        assert!(read_styles(&[0; 12]).unwrap_err().contains("522240"));
        assert_eq!(read_styles(&vec![0; 522_240]).unwrap().len(), STYLES * STYLE);
    }

    #[test]
    fn languages_stand_in_the_identifier() {
        assert_eq!(language_of("kokoro-en-gb-emma").as_deref(), Some("en-GB"));
        assert_eq!(language_of(MODEL), None);
    }
}
