//! What is said: the spoken turns that `benches/peers/voice/corpus.py` makes once, and recordings of known words.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use solo_audio::wav;
use solo_testkit::fixtures;

use super::RATE;
use super::peer;

/// Somebody saying something.
#[derive(Debug, Clone)]
pub struct Clip {
    /// File, for messages.
    pub name: String,
    /// Samples at 16,000 Hz.
    pub samples: Vec<i16>,
    /// What is said.
    pub words: String,
    /// The last sample in which somebody speaks.
    pub last_voiced: usize,
}

impl Clip {
    fn read(path: &Path, words: &str, last_voiced: Option<usize>) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let wav = wav::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(wav.sample_rate.hz(), RATE, "{}", path.display());
        let samples = wav.mono_i16();
        Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            last_voiced: last_voiced.unwrap_or(samples.len() - 1),
            samples,
            words: words.to_owned(),
        }
    }

    /// How long it is, in s.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(RATE)
    }
}

/// Twenty spoken turns, made where they are not there yet.
///
/// # Panics
/// When the Python stack is not installed, or cannot make them.
pub fn turns() -> Vec<Clip> {
    let folder = peer::folder();
    let output = peer::python(&folder, "corpus.py")
        .arg(&folder)
        .arg(fixtures::require_model("piper-en-us-joe", "voice.onnx"))
        .arg(folder.join("recordings"))
        .arg(fixtures::fixture("audio/librivox"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "corpus.py: {}", output.status);
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    table(&folder.join("corpus.tsv"))
        .into_iter()
        .map(|columns| {
            let last_voiced = columns[2].parse().expect("a sample's number");
            Clip::read(&folder.join(&columns[0]), &columns[1], Some(last_voiced))
        })
        .collect()
}

/// Five sentences read from a novel.
///
/// # Panics
/// When they cannot be read.
pub fn librivox() -> Vec<Clip> {
    let folder = fixtures::fixture("audio/librivox");
    table(&folder.join("transcripts.tsv"))
        .into_iter()
        .map(|columns| Clip::read(&folder.join(&columns[0]), &columns[1], None))
        .collect()
}

/// Five times playing cards, named by somebody.
///
/// # Panics
/// When the Python stack, which brings them, is not installed.
pub fn cards() -> Vec<Clip> {
    let folder = peer::folder().join("recordings/cards");
    let file = folder.join("cards.transcription");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    // <s> ten of clubs </s> (001)
    text.lines()
        .filter_map(|line| {
            let (words, rest) = line.trim_start_matches("<s>").split_once("</s>")?;
            let number = rest.trim().trim_matches(['(', ')']);
            Some(Clip::read(&folder.join(format!("{number}.wav")), words.trim(), None))
        })
        .collect()
}

/// Clips one after another, half a second of silence between them.
pub fn joined(clips: &[Clip]) -> Clip {
    let mut whole = Clip {
        name: "joined".into(),
        samples: Vec::new(),
        words: String::new(),
        last_voiced: 0,
    };
    for clip in clips {
        whole.last_voiced = whole.samples.len() + clip.last_voiced;
        whole.samples.extend(&clip.samples);
        whole.samples.extend(std::iter::repeat_n(0, RATE as usize / 2));
        whole.words.push_str(&clip.words);
        whole.words.push(' ');
    }
    whole
}

fn table(file: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}
