//! People who stop in the middle of a sentence to think: who answers into the pause has cut them off.
//!
//! The recipe: Solo's own voice says whole sentences, at three speeds and as three speakers, and a room's silence is put in where
//! `|` stands, so that the melody before it is that of a sentence which goes on. Half of the pauses lie where people hesitate,
//! after a function word and before what they search for (Maclay and Osgood, "Hesitation phenomena in spontaneous English speech",
//! Word 15, 1959); the other half between phrases, where what was said so far may pass for a sentence. Lengths follow one another
//! from sentence to sentence.

use std::time::Duration;

use solo_proto::gateway::v1::WakeMode;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_testkit::noise::Random;
use tokio::time::Instant;

use super::{Samples, Stage, Who};
use crate::percentile;
use crate::voice::RATE;
use crate::voice::conversation::{Conversation, Failure};
use crate::voice::corpus::Clip;
use crate::voice::microphone::{Microphone, ms_between};
use crate::voice::peer::Said;
use crate::voice::speaking::{Word, speak_words};
use crate::wake::acoustics::{shifted, sounding};

/// Sentences that people break off to search for a word.
const HESITATIONS: [&str; 10] = [
    "What is the | capital of France?",
    "Tell me a | short joke about computers.",
    "Set a timer for | twenty minutes.",
    "How do I get to | the station?",
    "Who wrote the | book about the whale?",
    "Turn on the | light in the hall.",
    "I want to | book a table for two.",
    "Give me a | nice name for a puppy.",
    "What should I | wear when it rains?",
    "Add some | milk to my shopping list.",
];
/// Sentences with a pause between two phrases.
const PHRASES: [&str; 10] = [
    "Remind me to call Anna | when I get home.",
    "Play some music | in the kitchen.",
    "What can I cook | with rice and eggs?",
    "Tell me a story | about a lighthouse.",
    "Put bread and milk | on my shopping list.",
    "Is a tomato | a fruit or a vegetable?",
    "Wake me up tomorrow | at half past six.",
    "Why do cats like | to sleep so much?",
    "How long should an egg boil | if I want it soft?",
    "Send a message to Tom | that I will be late.",
];
/// Pauses, in ms.
const PAUSES: [usize; 5] = [300, 500, 700, 900, 1_200];
/// Times that a sentence is said, each time with another pause.
const TIMES: usize = 2;
/// The voice's speeds, and how much higher it is made.
const SPEEDS: [f32; 3] = [0.9, 1.0, 1.1];
const PITCHES: [f32; 3] = [1.0, 0.88, 1.14];
/// How far from where the voice says that a word ends it may really be quietest, and the window that is looked at: 60 and 10 ms.
const AROUND: usize = 960;
const WINDOW: usize = 160;
/// Time that the end of the turn has from the last voiced sample on.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of somebody who paused.
enum Outcome {
    /// Their turn ended so many ms after they had finished.
    Ended(f64),
    /// It ended in their pause.
    CutOff,
}

/// Each sentence each contender in turn.
pub async fn pauses(stage: &Stage, samples: &mut Samples, round: usize) {
    let mut counts = Counts::default();
    let sentences = HESITATIONS.iter().chain(&PHRASES).enumerate();
    for (index, sentence) in sentences {
        if index % HESITATIONS.len() >= stage.scale.sentences {
            continue;
        }
        for time in 0..TIMES {
            let pause = (index * TIMES + time + round) % PAUSES.len();
            let (speed, pitch) = (SPEEDS[(index + time) % 3], PITCHES[(index / 3 + time) % 3]);
            let tts = stage.channel("tts-svc").await;
            let (text, resumes) = (
                sentence.replace("| ", ""),
                sentence.find('|').expect("a place to pause"),
            );
            let (spoken, words) = speak_words(tts, &text, speed).await.expect("tts-svc speaks");
            let (clip, resumes) = with_pause(
                &text,
                &shifted(&spoken, pitch),
                at(&words, resumes, pitch),
                PAUSES[pause],
            );
            let case = Case {
                hesitates: index < HESITATIONS.len(),
                pause,
            };
            for who in Who::in_turn(round + index) {
                let outcome = match who {
                    Who::Ours => ours(stage, &clip, resumes).await,
                    Who::Peer => peers(stage, &clip, resumes).await,
                };
                let outcome = outcome.unwrap_or_else(|failure| panic!("{who:?} {text}: {failure}"));
                counts.take(who, case, &text, outcome);
            }
        }
    }
    counts.record(samples);
}

/// What was said.
#[derive(Clone, Copy)]
struct Case {
    hesitates: bool,
    pause: usize,
}

#[derive(Default)]
struct Counts {
    said: usize,
    cut: [Vec<Case>; 2],
    after: [Vec<f64>; 2],
}

impl Counts {
    fn take(&mut self, who: Who, case: Case, text: &str, outcome: Outcome) {
        let which = usize::from(who == Who::Peer);
        self.said += 1 - which;
        match outcome {
            Outcome::Ended(ms) => self.after[which].push(ms),
            Outcome::CutOff => {
                eprintln!("{who:?} cut off in {} ms: {text}", PAUSES[case.pause]);
                self.cut[which].push(case);
            }
        }
    }

    fn record(&self, samples: &mut Samples) {
        samples.record("pauses", Who::Ours, self.said as f64);
        for (which, who) in [Who::Ours, Who::Peer].into_iter().enumerate() {
            let cut = &self.cut[which];
            let mut count = |name: String, of: &dyn Fn(&Case) -> bool| {
                samples.record(name, who, cut.iter().filter(|case| of(case)).count() as f64);
            };
            count("pauses cut".into(), &|_| true);
            count("pauses cut hesitating".into(), &|case| case.hesitates);
            count("pauses cut between phrases".into(), &|case| !case.hesitates);
            for (pause, ms) in PAUSES.iter().enumerate() {
                count(format!("pauses cut {ms}"), &|case| case.pause == pause);
            }
            if !self.after[which].is_empty() {
                samples.record("pauses after", who, percentile(self.after[which].iter().copied(), 0.5));
            }
        }
    }
}

/// The sample between the last word that begins before byte `resumes` and the next, where the voice was made `pitch` times as high.
fn at(words: &[Word], resumes: usize, pitch: f32) -> usize {
    let before = words.iter().rfind(|word| word.text_start < resumes);
    let sample = before.expect("a word before the pause").end_sample;
    (sample as f32 / pitch) as usize
}

/// Speech with so many ms of silence where it is quietest near `at`, and the sample from which on it goes on.
fn with_pause(text: &str, speech: &[i16], at: usize, ms: usize) -> (Clip, usize) {
    let power = |at: usize| -> u64 {
        let window = speech.iter().skip(at).take(WINDOW);
        window.map(|&x| u64::from(x.unsigned_abs()).pow(2)).sum()
    };
    let near = at.saturating_sub(AROUND)..(at + AROUND).min(speech.len().saturating_sub(WINDOW));
    let at = near.step_by(40).min_by_key(|&at| power(at)).unwrap_or(at) + WINDOW / 2;
    let pause = ms * RATE as usize / 1_000;
    // The room's own noise, as a microphone has it where nobody speaks.
    let mut room = Random::new(ms as u64);
    let silence = (0..pause).map(|_| (room.normal() * 2.0) as i16);
    let mut samples = speech[..at].to_vec();
    samples.extend(silence);
    samples.extend(&speech[at..]);
    let clip = Clip {
        name: text.to_owned(),
        words: text.to_owned(),
        last_voiced: sounding(&samples).end - 1,
        samples,
    };
    (clip, at + pause)
}

async fn ours(stage: &Stage, clip: &Clip, resumes: usize) -> Result<Outcome, Failure> {
    let gateway = stage.channel("gateway").await;
    let conversation = Conversation::open(gateway, WakeMode::Open).await;
    let mut conversation = conversation.map_err(|status| Failure::Refused(status.message().to_owned()))?;
    let mut microphone = Microphone::new(&clip.samples);
    let (resumes, over) = (microphone.time_of(resumes), microphone.time_of(clip.last_voiced));
    loop {
        tokio::select! {
            biased;
            payload = conversation.next() => match payload? {
                // The words of a turn that is over.
                Payload::Final(_) => return Ok(outcome(Instant::now(), resumes, over)),
                Payload::Rejected(rejected) => return Err(Failure::Refused(rejected.reason)),
                Payload::Error(error) => return Err(Failure::Refused(error.message)),
                _ => {}
            },
            piece = microphone.next() => {
                conversation.hear(&piece, microphone.position() - piece.len());
                if Instant::now() > over + PATIENCE {
                    return Err(Failure::Refused("its end was not noticed".into()));
                }
            }
        }
    }
}

async fn peers(stage: &Stage, clip: &Clip, resumes: usize) -> Result<Outcome, Failure> {
    let mut caller = stage.peer.caller();
    caller.open(false);
    let mut microphone = Microphone::new(&clip.samples);
    let (resumes, over) = (microphone.time_of(resumes), microphone.time_of(clip.last_voiced));
    loop {
        tokio::select! {
            biased;
            news = caller.next() => if matches!(news.said, Said::Ended) {
                return Ok(outcome(news.at, resumes, over));
            },
            piece = microphone.next() => {
                caller.hear(&piece);
                if Instant::now() > over + PATIENCE {
                    return Err(Failure::Refused("its end was not noticed".into()));
                }
            }
        }
    }
}

fn outcome(at: Instant, resumes: Instant, over: Instant) -> Outcome {
    if at < resumes {
        Outcome::CutOff
    } else {
        Outcome::Ended(ms_between(over, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_parted_between_its_words() {
        let word = [8_000_i16; 8_000];
        let speech = [&word[..], &[10; 800], &word[..]].concat();
        let words = [(0, 8_200), (6, 16_800)].map(|(text_start, end_sample)| Word { text_start, end_sample });
        let (clip, resumes) = with_pause("first second", &speech, at(&words, 5, 1.0), 500);
        assert_eq!(clip.samples.len(), speech.len() + 8_000);
        assert_eq!(clip.last_voiced, clip.samples.len() - 1);
        assert!((16_000..16_800).contains(&resumes), "{resumes}");
        let silence = &clip.samples[resumes - 8_000..resumes];
        assert!(silence.iter().all(|sample| sample.abs() < 20));
        assert_eq!(clip.samples[resumes + 800..][..100], [8_000; 100]);
    }

    #[test]
    fn every_sentence_has_a_place_to_pause() {
        for sentence in HESITATIONS.iter().chain(&PHRASES) {
            assert_eq!(sentence.matches(" | ").count(), 1, "{sentence}");
        }
    }

    #[test]
    fn who_ends_a_turn_before_it_goes_on_has_cut_it_off() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        assert!(matches!(outcome(at(99), at(100), at(200)), Outcome::CutOff));
        assert!(matches!(outcome(at(400), at(100), at(200)), Outcome::Ended(200.0)));
    }
}
