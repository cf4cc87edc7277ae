//! The corpus: keywords in rooms and noise, and everything at hand in which nobody says one.
//!
//! Which take stands in which room, under which noise and how loud follows from the seed and the clip's number alone. A
//! recording of a keyword begins with 1.5 s of its noise, because a detector has mostly listened for a while; a third of them
//! go on with a command at once, as people do.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use solo_audio::{SampleRate, pcm, wav};
use solo_testkit::fixture;
use solo_testkit::noise::{self, Noise, Random};

use super::RATE;
use super::acoustics::{Room, mixed, shifted, sounding};
use super::speech::Studio;

const SPEEDS: [f32; 5] = [0.8, 0.9, 1.0, 1.1, 1.25];
/// Speakers: the voice as it is, larger and smaller.
const SHIFTS: [f32; 4] = [0.9, 1.0, 1.1, 1.2];
const SNRS: [f32; 4] = [0.0, 5.0, 10.0, 20.0];
const LEVELS: [f32; 4] = [-42.0, -34.0, -26.0, -18.0];
const NOISES: [&str; 4] = ["none", "white", "pink", "babble"];

/// A keyword, how it is said, and how many recordings say it.
pub struct Spoken {
    /// Identifier.
    pub keyword: &'static str,
    texts: &'static [&'static str],
    clips: usize,
}

/// The keywords of microWakeWord. The first is Solo's default and held to its targets.
pub const KEYWORDS: [Spoken; 4] = [
    Spoken {
        keyword: "hey_jarvis",
        texts: &["Hey Jarvis.", "Hey, Jarvis!", "Hey Jarvis?"],
        clips: 240,
    },
    Spoken {
        keyword: "okay_nabu",
        texts: &["Okay Nabu.", "Okay, Nabu!"],
        clips: 60,
    },
    Spoken {
        keyword: "alexa",
        texts: &["Alexa.", "Alexa!"],
        clips: 60,
    },
    Spoken {
        keyword: "hey_mycroft",
        texts: &["Hey Mycroft.", "Hey, Mycroft!"],
        clips: 60,
    },
];

/// What is said after a keyword.
const COMMANDS: [&str; 6] = [
    "Turn on the light.",
    "What is the time?",
    "Set a timer for ten minutes.",
    "Play some music.",
    "Is it going to rain?",
    "Stop.",
];

/// What nobody should be woken by: it only sounds like a keyword.
const NEAR: [&str; 24] = [
    "Hey Travis.",
    "Hey Jervis, how are you?",
    "Hey Marvin.",
    "Hey Jared.",
    "Hey Harvey.",
    "Hey Charlie.",
    "The harvest was good this year.",
    "They harness the horses.",
    "Hey, charge it.",
    "Hay for the horses.",
    "Jarvis was late again.",
    "Say service.",
    "Okay, now do it.",
    "Okay, maybe.",
    "Okay Nathan.",
    "Okay boomer.",
    "Alexander was great.",
    "A Lexus drove by.",
    "Electra was angry.",
    "Alex said so.",
    "Hey Microsoft.",
    "Hey my craft is beautiful.",
    "My crops are fine.",
    "Hey, Michael.",
];

/// Speech of all days.
const SENTENCES: [&str; 40] = [
    "The meeting has been moved to Thursday afternoon.",
    "Could you pass me the salt, please?",
    "I have never seen so much snow in April.",
    "She left her umbrella on the train again.",
    "The recipe wants two eggs and a cup of flour.",
    "Nobody knows where the cat went.",
    "They painted the kitchen yellow last summer.",
    "My brother plays the cello in an orchestra.",
    "The bridge will be closed until next year.",
    "Please send me the figures before noon.",
    "We should leave early to avoid the traffic.",
    "He was reading the newspaper in the garden.",
    "The printer is out of paper once more.",
    "What a lovely surprise to see you here!",
    "The museum opens at ten and closes at five.",
    "I think the answer is forty two.",
    "A cup of tea would be very nice now.",
    "The children were playing hide and seek.",
    "There is a strange noise in the engine.",
    "Our neighbours have a very large dog.",
    "The river rose by three metres overnight.",
    "You can find the scissors in the top drawer.",
    "The doctor said that everything is all right.",
    "He forgot the password to his own computer.",
    "The soup needs a little more pepper.",
    "They have been married for thirty years.",
    "Every morning she runs along the beach.",
    "The lecture about volcanoes was quite long.",
    "Somebody has eaten all of the biscuits.",
    "The last bus leaves at a quarter past eleven.",
    "Is there anything else that I can do for you?",
    "The old clock on the wall has stopped.",
    "We have to be careful with the glass.",
    "A thousand people came to the concert.",
    "The garden gate squeaks in the wind.",
    "Tomorrow I will call the electrician.",
    "His handwriting is impossible to read.",
    "The plane was delayed by two hours.",
    "You look as if you had seen a ghost.",
    "It is the first door on the left.",
];

/// A line of manifest.jsonl, as `solo wake bench` reads it.
#[derive(Debug, Serialize)]
struct Line {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyword: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ms: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_ms: Option<usize>,
    tags: BTreeMap<&'static str, String>,
}

/// Makes the corpus in a folder.
///
/// # Panics
/// When something cannot be spoken or written.
pub async fn make(folder: &Path, studio: &mut Studio, seed: u64) {
    std::fs::create_dir_all(folder.join("clips")).expect("a folder for the corpus");
    let mut lines = Vec::new();
    let plain = sentences(studio).await;
    let babble = babble(&plain, &mut Random::new(seed));
    for spoken in &KEYWORDS {
        positives(spoken, folder, studio, seed, &babble, &mut lines).await;
    }
    let mut near = Vec::new();
    for text in NEAR {
        for speed in [0.9, 1.0, 1.15] {
            for voice in studio.voices.clone() {
                near.push(studio.say(text, &voice, speed, 0).await);
            }
        }
    }
    let read: Vec<Vec<i16>> = ["0870", "0880", "0890", "0920", "0930"].map(librivox).into();
    let mut negatives = vec![("sentences", plain), ("near miss", near), ("librivox", read)];
    negatives.push(("babble", vec![pcm::to_i16(&babble)]));
    for (kind, takes) in negatives {
        speech_without(kind, &takes, folder, seed, &babble, &mut lines);
    }
    for noise in Noise::ALL {
        let samples = noise.samples(Duration::from_secs(60), seed);
        lines.push(write(folder, &format!("noise-{}", noise.name()), &samples, "no speech"));
    }
    let text: String = lines
        .iter()
        .map(|line| serde_json::to_string(line).expect("a line") + "\n")
        .collect();
    std::fs::write(folder.join("manifest.jsonl"), text).expect("the manifest can be written");
}

async fn sentences(studio: &mut Studio) -> Vec<Vec<i16>> {
    let mut takes = Vec::new();
    for (index, text) in SENTENCES.iter().chain(&COMMANDS).enumerate() {
        for voice in studio.voices.clone() {
            takes.push(studio.say(text, &voice, SPEEDS[1 + index % 3], 0).await);
        }
    }
    takes
}

/// Eight people who talk at the same time, for 30 s.
fn babble(takes: &[Vec<i16>], random: &mut Random) -> Vec<f32> {
    let mut out = vec![0.0; 30 * RATE];
    for _ in 0..8 {
        let mut at = 0;
        while at < out.len() {
            let take = pcm::to_f32(&shifted(random.pick::<Vec<i16>>(takes), random.between(0.85, 1.2)));
            for (out, x) in out[at..].iter_mut().zip(&take) {
                *out += 0.25 * x;
            }
            at += take.len();
        }
    }
    out
}

async fn positives(
    spoken: &'static Spoken,
    folder: &Path,
    studio: &mut Studio,
    seed: u64,
    babble: &[f32],
    lines: &mut Vec<Line>,
) {
    for index in 0..spoken.clips {
        let random = &mut Random::new(seed ^ ((index as u64) << 8) ^ spoken.keyword.len() as u64);
        // Every condition comes as often as any other; which meet is chance.
        let speed = SPEEDS[index % SPEEDS.len()];
        let shift = *random.pick(&SHIFTS);
        let (kind, snr) = (NOISES[index / 2 % NOISES.len()], SNRS[index / 8 % SNRS.len()]);
        let (room, level) = (*random.pick(&Room::ALL), *random.pick(&LEVELS));
        let voice = studio.voices[index % studio.voices.len()].clone();
        let text = spoken.texts[index % spoken.texts.len()];
        let take = studio.say(text, &voice, speed, index / 15 % 4).await;
        let take = shifted(&take[sounding(&take)], shift);
        let lead = RATE * 3 / 2;
        let mut speech = vec![0.0; lead];
        speech.extend(pcm::to_f32(&take));
        let keyword = lead..speech.len();
        if index % 3 == 0 {
            let command = studio.say(COMMANDS[index / 3 % COMMANDS.len()], &voice, speed, 0).await;
            speech.extend(vec![0.0; RATE / 5]);
            speech.extend(pcm::to_f32(&shifted(&command, shift)));
        }
        speech.extend(vec![0.0; RATE / 2]);
        let heard = room.hear(&speech, random);
        let noise = match kind {
            "white" => Some(noise::white(2 * RATE, random)),
            "pink" => Some(noise::pink(4 * RATE, random)),
            "babble" => {
                let from = random.below(babble.len() - 8 * RATE);
                Some(babble[from..from + 8 * RATE].to_vec())
            }
            _ => None,
        };
        let samples = mixed(
            &heard,
            keyword.clone(),
            noise.as_deref().map(|noise| (noise, snr)),
            level,
        );
        let mut line = write(folder, &format!("{}-{index:03}", spoken.keyword), &samples, "");
        line.keyword = Some(spoken.keyword);
        line.start_ms = Some(keyword.start * 1_000 / RATE);
        line.end_ms = Some(keyword.end * 1_000 / RATE);
        line.tags = BTreeMap::from([
            ("keyword", spoken.keyword.to_owned()),
            ("speed", format!("{speed:.2}")),
            ("speaker", format!("{shift:.1}")),
            ("room", room.name().to_owned()),
            ("level", format!("{level:.0} dBFS")),
            ("noise", kind.to_owned()),
            (
                "snr",
                if kind == "none" {
                    "no noise".into()
                } else {
                    format!("{snr:02.0} dB")
                },
            ),
            ("voice", voice),
        ]);
        lines.push(line);
    }
}

/// Each take as it is, and once more in a room and noise; several in a file, because streams are long.
fn speech_without(
    kind: &'static str,
    takes: &[Vec<i16>],
    folder: &Path,
    seed: u64,
    babble: &[f32],
    lines: &mut Vec<Line>,
) {
    let random = &mut Random::new(seed ^ kind.len() as u64);
    for (index, takes) in takes.chunks(8).enumerate() {
        let quiet = vec![0; RATE / 4];
        let clean: Vec<i16> = takes.iter().flat_map(|take| [&quiet[..], take].concat()).collect();
        let speech = random.pick(&Room::ALL[1..]).hear(&pcm::to_f32(&clean), random);
        let under = if index % 2 == 0 {
            babble.to_vec()
        } else {
            noise::pink(4 * RATE, random)
        };
        let whole = 0..speech.len();
        let noisy = mixed(
            &speech,
            whole,
            Some((&under, *random.pick(&SNRS))),
            *random.pick(&LEVELS),
        );
        let slug = kind.replace(' ', "-");
        lines.push(write(folder, &format!("{slug}-{index:02}-clean"), &clean, kind));
        lines.push(write(folder, &format!("{slug}-{index:02}-noisy"), &noisy, kind));
    }
}

fn librivox(clip: &str) -> Vec<i16> {
    let bytes = std::fs::read(fixture(&format!("audio/librivox/{clip}.wav"))).expect("a fixture");
    wav::read_speech(&bytes).expect("a WAV file")
}

fn write(folder: &Path, name: &str, samples: &[i16], kind: &str) -> Line {
    let file = format!("clips/{name}.wav");
    std::fs::write(folder.join(&file), wav::encode(samples, SampleRate::SPEECH)).expect("a clip can be written");
    Line {
        file,
        keyword: None,
        start_ms: None,
        end_ms: None,
        tags: BTreeMap::from([("kind", kind.to_owned())]),
    }
}
