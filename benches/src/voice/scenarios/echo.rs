//! The assistant speaks into its own microphone: it must not take itself for a person, and must hear a person who speaks into
//! its speech. The client leaves the echo to the gateway.

use std::time::Duration;

use solo_audio::pcm;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::{TurnPhase, TurnSummary, WakeMode};
use solo_testkit::noise::Noise;
use tokio::time::Instant;

use super::{Samples, Stage, Who};
use crate::percentile;
use crate::voice::conversation::{Conversation, Failure, VOICE_RATE};
use crate::voice::microphone::{Microphone, leading_silence, ms_between};
use crate::voice::peer;
use crate::voice::room::Room;
use crate::wake::speech::Studio;

/// How much louder the echo is than what is played, in dB.
const ECHO: f32 = -6.0;
/// Long replies to these.
const TOPICS: [&str; 6] = [
    "Tell me a long story about a lighthouse keeper.",
    "Explain in many sentences how bread is made.",
    "Describe a long walk through a forest in autumn.",
    "Tell me everything about the planets of the solar system.",
    "Describe in detail how a bicycle works.",
    "Tell me a long story about two brothers and a boat.",
];
/// What is said to make it stop.
const STOPS: [&str; 4] = ["Stop!", "Wait, no.", "Stop it, please.", "Be quiet."];
/// What is said by people who only listen.
const NODS: [&str; 3] = ["Mm-hmm.", "Yeah.", "Okay."];
/// Time that an interruption has from its end on.
const PATIENCE: Duration = Duration::from_secs(3);
/// The assistant speaks at least so long before somebody interrupts it.
const SPEAKS_FIRST: Duration = Duration::from_millis(1_500);
/// Times that a trial is begun anew because the reply was over before it could be interrupted.
const ATTEMPTS: usize = 4;

/// Ten minutes of itself, then people who interrupt, nod, and make noise.
pub async fn echo(stage: &Stage, samples: &mut Samples, round: usize) {
    let monologue = monologue(stage, round).await.expect("the gateway goes on");
    samples.record("echo spoken", Who::Ours, monologue.spoken.as_secs_f64());
    samples.record("echo false", Who::Ours, monologue.interrupted as f64);
    samples.record("echo wakes", Who::Ours, monologue.wakes as f64);

    let mut studio = Studio::open(stage.channel("tts-svc").await, &peer::folder().join("takes")).await;
    let voice = studio.voices[0].clone();
    let mut people = Vec::new();
    for clip in stage.clips() {
        people.push((clip.words.clone(), clip.samples.clone()));
    }
    let mut stops = Vec::new();
    for text in STOPS {
        for speed in [0.9, 1.1] {
            stops.push((text.to_owned(), studio.say(text, &voice, speed, 0).await));
        }
    }
    let mut nods = Vec::new();
    for text in NODS {
        nods.push((text.to_owned(), studio.say(text, &voice, 1.0, 0).await));
    }
    for (noise, name) in [(Noise::Coughs, "a cough"), (Noise::Doors, "a door")] {
        for seed in 0..3 {
            let samples = noise.samples(Duration::from_secs(3), seed);
            nods.push((name.to_owned(), samples));
        }
    }
    stage.scale.cut(&mut people);
    stage.scale.cut(&mut stops);
    stage.scale.cut(&mut nods);
    let spoken = trials(stage, &people).await;
    let stopped = trials(stage, &stops).await;
    let nodded = trials(stage, &nods).await;
    let caught: Vec<f64> = spoken.iter().chain(&stopped).flatten().copied().collect();
    let all = (people.len() + stops.len()) as f64;
    samples.record("echo interruptions", Who::Ours, all);
    samples.record("echo caught", Who::Ours, caught.len() as f64 / all * 100.0);
    samples.record("echo stops", Who::Ours, stops.len() as f64);
    let obeyed = stopped.iter().flatten().count();
    samples.record("echo obeyed", Who::Ours, obeyed as f64);
    samples.record("echo disobeyed", Who::Ours, (stops.len() - obeyed) as f64);
    samples.record("echo nods", Who::Ours, nods.len() as f64);
    samples.record("echo disturbed", Who::Ours, nodded.iter().flatten().count() as f64);
    if !caught.is_empty() {
        samples.record("echo noticed p50", Who::Ours, percentile(caught.iter().copied(), 0.5));
        samples.record("echo noticed p95", Who::Ours, percentile(caught, 0.95));
    }
}

/// What the assistant took for somebody else.
#[derive(Default)]
struct Monologue {
    spoken: Duration,
    interrupted: usize,
    wakes: usize,
}

/// It speaks until it has spoken long enough; nobody else is there.
async fn monologue(stage: &Stage, round: usize) -> Result<Monologue, Failure> {
    let mut monologue = Monologue::default();
    let mut scene = Scene::open(stage, WakeMode::Keyword, round as u64).await?;
    for topic in TOPICS.iter().cycle() {
        if monologue.spoken >= stage.scale.echo {
            return Ok(monologue);
        }
        scene.conversation.ask(topic);
        loop {
            match scene.step().await? {
                Some(Payload::Summary(summary)) if summary.interrupted => {
                    eprintln!(
                        "it interrupted itself after {:.0} s in all",
                        scene.spoken().as_secs_f64()
                    );
                    monologue.interrupted += 1;
                    break;
                }
                Some(Payload::Summary(_)) => break,
                Some(Payload::Wake(wake)) => {
                    eprintln!("it heard {} in itself", wake.keyword);
                    monologue.wakes += 1;
                }
                Some(Payload::Error(error)) => return Err(Failure::Refused(error.message)),
                _ => {}
            }
        }
        monologue.spoken += scene.spoken();
        scene.quiet().await?;
        eprintln!("{:.0} s spoken", monologue.spoken.as_secs_f64());
    }
    unreachable!("topics come again and again")
}

/// For each sound, when the reply was stopped by it, in ms from its beginning; `None`: it was not.
async fn trials(stage: &Stage, sounds: &[(String, Vec<i16>)]) -> Vec<Option<f64>> {
    let mut outcomes = Vec::new();
    for (index, (name, sound)) in sounds.iter().enumerate() {
        let outcome = trial(stage, index, sound).await;
        let outcome = outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        match outcome {
            Some(ms) => eprintln!("{name:?} stopped it after {ms:.0} ms"),
            None => eprintln!("{name:?} did not stop it"),
        }
        outcomes.push(outcome);
    }
    outcomes
}

async fn trial(stage: &Stage, index: usize, sound: &[i16]) -> Result<Option<f64>, Failure> {
    for attempt in 0..ATTEMPTS {
        let mut scene = Scene::open(stage, WakeMode::Open, (index + attempt) as u64).await?;
        scene.conversation.ask(TOPICS[(index + attempt) % TOPICS.len()]);
        let first = SPEAKS_FIRST + Duration::from_millis(250) * (index % 5) as u32;
        if !scene.speaks_for(first).await? {
            continue;
        }
        scene.heard = None;
        scene.room.speak(sound);
        let begun = Instant::now() + Duration::from_secs_f64(leading_silence(sound) as f64 / 16_000.0);
        let length = Duration::from_secs_f64(sound.len() as f64 / 16_000.0);
        match scene.ended(begun + length + PATIENCE).await? {
            Some((at, summary)) if summary.interrupted => {
                let limit = Instant::now() + PATIENCE;
                while scene.heard.is_none() && Instant::now() < limit {
                    scene.step().await?;
                }
                eprintln!("it heard {:?}", scene.heard.unwrap_or_default());
                return Ok(Some(ms_between(begun, at)));
            }
            // It had nothing more to say: that proves nothing.
            Some(_) => {}
            None => return Ok(None),
        }
    }
    Err(Failure::Refused("its replies are too short to interrupt".into()))
}

/// A conversation whose client has a loudspeaker in front of its microphone.
struct Scene {
    conversation: Conversation,
    microphone: Microphone,
    room: Room,
    /// Playback that the gateway knows of, in samples.
    reported: u64,
    /// What was understood last.
    heard: Option<String>,
}

impl Scene {
    async fn open(stage: &Stage, wake_mode: WakeMode, seed: u64) -> Result<Self, Failure> {
        let gateway = stage.channel("gateway").await;
        let conversation = Conversation::open(gateway, wake_mode).await;
        let conversation = conversation.map_err(|status| Failure::Refused(status.message().to_owned()))?;
        Ok(Self {
            conversation,
            microphone: Microphone::new(&[]),
            room: Room::new(ECHO, seed),
            reported: 0,
            heard: None,
        })
    }

    /// How much of the reply has been played.
    fn spoken(&self) -> Duration {
        Duration::from_secs_f64(self.room.played() as f64 / f64::from(VOICE_RATE))
    }

    /// Until so much of a reply has been played; false when it is over before.
    async fn speaks_for(&mut self, first: Duration) -> Result<bool, Failure> {
        while self.spoken() < first {
            match self.step().await? {
                Some(Payload::Summary(_)) => return Ok(false),
                Some(Payload::Error(error)) => return Err(Failure::Refused(error.message)),
                _ => {}
            }
        }
        Ok(true)
    }

    /// What the gateway says, or `None` when 20 ms of sound have gone to it.
    async fn step(&mut self) -> Result<Option<Payload>, Failure> {
        tokio::select! {
            biased;
            payload = self.conversation.next() => {
                let payload = payload?;
                match &payload {
                    Payload::Audio(chunk) => {
                        if chunk.first_sample == 0 {
                            self.room.restart();
                            self.reported = 0;
                        }
                        let samples = pcm::from_s16le(&chunk.data).map_err(|odd| Failure::Refused(odd.to_string()))?;
                        self.room.play(&samples);
                    }
                    Payload::Summary(summary) if summary.interrupted => self.room.stop(),
                    Payload::Final(last) => self.heard = Some(last.text.clone()),
                    _ => {}
                }
                Ok(Some(payload))
            }
            noise = self.microphone.next() => {
                let piece = self.room.hear(&noise);
                self.conversation.hear(&piece, self.microphone.position() - piece.len());
                let played = self.room.played();
                if played > self.reported {
                    self.reported = played;
                    self.conversation.played(played);
                }
                Ok(None)
            }
        }
    }

    /// The end of the turn, if it comes before `limit`.
    async fn ended(&mut self, limit: Instant) -> Result<Option<(Instant, Box<TurnSummary>)>, Failure> {
        while Instant::now() < limit {
            match self.step().await? {
                Some(Payload::Summary(summary)) => return Ok(Some((Instant::now(), Box::new(summary)))),
                Some(Payload::Error(error)) => return Err(Failure::Refused(error.message)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Until the room and the gateway are quiet.
    async fn quiet(&mut self) -> Result<(), Failure> {
        let limit = Instant::now() + Duration::from_secs(10);
        let mut until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until.min(limit) {
            let payload = self.step().await?;
            let busy = matches!(&payload, Some(Payload::State(state)) if state.phase() != TurnPhase::Idle);
            if busy || !self.room.is_silent() {
                until = Instant::now() + Duration::from_millis(500);
            }
        }
        Ok(())
    }
}
