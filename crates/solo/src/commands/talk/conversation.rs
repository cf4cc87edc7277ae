//! The conversation of `solo talk`: one task sends sound, this one listens, and both end when the turns are over.

use std::time::Duration;

use solo_audio::{SampleRate, pcm};
use solo_proto::audio::v1::AudioChunk;
use solo_proto::gateway::v1::converse_request::Payload as Request;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::{EndOfSpeech, Listen, Played, TurnPhase};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::pace::Pace;
use super::{Show, samples_of};
use crate::failure::{Exit, Failure};
use crate::session::{self, Sender, Session};
use crate::turn::Turn;

/// Silence that may be sent at once behind a recording that was (`--fast`): the end of a turn is found by it.
const SILENCE_AHEAD: Duration = Duration::from_millis(1500);
/// After the recording, how long a wake word may still be found in it.
const WAKE_PATIENCE: Duration = Duration::from_secs(5);
/// Reason with which silence is rejected: nothing was said that could be disbelieved.
const NO_VOICE: &str = "NO_VOICE";
/// After an error, how long the summary of its turn may take.
const ERROR_PATIENCE: Duration = Duration::from_millis(1500);
/// After the last turn, how long its last messages may take.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// How the recording is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    /// The recording is one question.
    pub(super) push: bool,
    /// Not at the pace of real time.
    pub(super) fast: bool,
    /// Longest time for a turn after the recording.
    pub(super) timeout: Duration,
}

/// What came of it.
pub(super) struct Heard {
    /// The replies' samples, at the rate that the gateway said.
    pub(super) audio: Vec<i16>,
    /// Whether all turns went well, and there was one.
    pub(super) outcome: Result<(), Failure>,
}

/// A conversation by voice.
pub(super) struct Conversation {
    session: Session,
    mode: Mode,
    turn: Turn,
    /// A turn has begun and has not ended.
    busy: bool,
    /// A wake word was heard (or the button is held), and no turn has ended since.
    awake: bool,
    /// It listens, or has listened, to this turn's question.
    listened: bool,
    ended: usize,
    failure: Option<Failure>,
    audio: Vec<i16>,
    /// Where in `audio` the running turn's reply begins.
    reply_start: usize,
}

impl Conversation {
    /// A conversation in which nothing has been said.
    pub(super) fn new(session: Session, mode: Mode) -> Self {
        let turn = Turn::default();
        let awake = mode.push;
        Self {
            session,
            mode,
            turn,
            busy: false,
            awake,
            listened: false,
            ended: 0,
            failure: None,
            audio: Vec::new(),
            reply_start: 0,
        }
    }

    /// Sends the recording and hears what comes, until every turn in it is over.
    pub(super) async fn run(mut self, samples: Vec<i16>, rate: SampleRate, show: &mut Show) -> Heard {
        let (done, sent) = oneshot::channel();
        let speaker = tokio::spawn(speak(self.session.sender(), samples, rate, self.mode, done));
        let outcome = self.listen(sent, show).await;
        speaker.abort();
        let Self {
            session,
            mut audio,
            failure,
            ended,
            turn,
            ..
        } = self;
        let mut rest = session.into_responses();
        let drained = async {
            while let Some(payload) = rest.next().await {
                if let Payload::Audio(chunk) = payload {
                    audio.extend(samples_of(&chunk.data).unwrap_or_default());
                }
            }
        };
        // The gateway may leave the stream open; nothing that belongs to a turn comes any more.
        let _ = tokio::time::timeout(LAST_MESSAGES, drained).await;
        let outcome = match (outcome, failure) {
            (Err(failure), _) | (Ok(()), Some(failure)) => Err(failure),
            (Ok(()), None) if ended == 0 => Err(nothing(&turn)),
            (Ok(()), None) => Ok(()),
        };
        Heard { audio, outcome }
    }

    async fn listen(&mut self, sent: oneshot::Receiver<()>, show: &mut Show) -> Result<(), Failure> {
        tokio::pin!(sent);
        let mut recording_over: Option<Instant> = None;
        let mut error_until: Option<Instant> = None;
        loop {
            // After the recording: a running turn may take its time, a wake word must have been found soon.
            let deadline = recording_over.map(|over| {
                over + if self.awake || self.busy {
                    self.mode.timeout
                } else {
                    WAKE_PATIENCE
                }
            });
            let idle = !self.busy && !self.awake && error_until.is_none();
            let over = self.ended > 0 || self.failure.is_some();
            if recording_over.is_some() && over && idle {
                return Ok(());
            }
            tokio::select! {
                payload = self.session.next() => {
                    let payload = payload?.ok_or_else(session::cut_off)?;
                    self.hear(&payload, show)?;
                    match payload {
                        Payload::Error(_) => error_until = Some(Instant::now() + ERROR_PATIENCE),
                        Payload::Summary(_) => error_until = None,
                        _ => {}
                    }
                }
                _ = &mut sent, if recording_over.is_none() => recording_over = Some(Instant::now()),
                () = at(error_until) => {
                    error_until = None;
                    self.end_turn(show)?;
                }
                () = at(deadline) => return self.too_late(),
            }
        }
    }

    fn hear(&mut self, payload: &Payload, show: &mut Show) -> Result<(), Failure> {
        self.turn.take(payload);
        match payload {
            Payload::Wake(wake) => {
                self.awake = true;
                show.wake(&wake.keyword, wake.score, wake.at_ms)?;
            }
            Payload::State(state) => match state.phase() {
                TurnPhase::Listening => self.listened = true,
                TurnPhase::Deciding | TurnPhase::Thinking => self.busy = true,
                TurnPhase::Idle if self.turn.transcript.is_empty() => self.asleep(),
                _ => {}
            },
            Payload::Final(text) => {
                self.busy = true;
                show.transcript(&text.text)?;
            }
            Payload::Rejected(rejected) => {
                self.busy = false;
                if rejected.reason != NO_VOICE {
                    show.rejected(&rejected.reason, &rejected.text)?;
                }
            }
            Payload::Reply(reply) => show.reply(&reply.delta)?,
            Payload::Audio(chunk) => {
                self.audio.extend(samples_of(&chunk.data)?);
                self.played();
            }
            Payload::Action(action) => {
                let (sender, id) = (self.session.sender(), action.action_id.clone());
                show.remark(&format!("{} was not approved: `solo chat` asks you", action.tool))?;
                tokio::spawn(async move { sender.decide(&id, false).await });
            }
            Payload::Error(_) => {
                if let Some(failure) = self.turn.failure() {
                    self.fail(failure);
                }
            }
            Payload::Summary(_) => self.end_turn(show)?,
            _ => {}
        }
        Ok(())
    }

    /// Asleep again without words: a sound that was none, or a wake word after which no question came.
    fn asleep(&mut self) {
        self.busy = false;
        if self.awake && self.listened && self.turn.error.is_none() {
            self.awake = false;
            self.fail(nothing(&self.turn));
        }
    }

    /// What is in the file counts as played.
    fn played(&self) {
        let (sender, samples) = (self.session.sender(), (self.audio.len() - self.reply_start) as u64);
        tokio::spawn(async move { sender.control(Control::Played(Played { samples })).await });
    }

    fn end_turn(&mut self, show: &mut Show) -> Result<(), Failure> {
        let turn = std::mem::take(&mut self.turn);
        (self.busy, self.awake, self.listened) = (false, false, false);
        self.reply_start = self.audio.len();
        self.ended += 1;
        show.turn(&turn)
    }

    /// The first failure is the one that is told.
    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn too_late(&mut self) -> Result<(), Failure> {
        if !self.awake && !self.busy {
            return match self.ended {
                0 => Err(nothing(&self.turn)),
                _ => Ok(()),
            };
        }
        let seconds = self.mode.timeout.as_secs();
        Err(Failure::new(
            Exit::Unavailable,
            format!("gateway: the turn is not over {seconds} s after the recording"),
        )
        .help("see how the services are with `solo ps`, and what they say with `solo logs`"))
    }
}

/// Why no turn took place.
fn nothing(turn: &Turn) -> Failure {
    let unbelieved = turn.rejected.as_ref().filter(|rejected| rejected.reason != NO_VOICE);
    match (unbelieved, &turn.wake) {
        (Some(rejected), _) => Failure::failed(format!(
            "stt-svc: speech was heard in {{recording}} and not believed: {} “{}”",
            rejected.reason, rejected.text
        ))
        .help("speak louder or nearer; `solo transcribe` shows what is understood"),
        (None, Some(wake)) => Failure::failed(format!(
            "{} was heard in {{recording}}, and no question after it",
            wake.keyword
        ))
        .help("the question must follow the wake word within a few seconds"),
        (None, None) if turn.rejected.is_some() => Failure::failed("nobody speaks in {recording}")
            .help("is it the right file? `solo transcribe` shows what is understood"),
        (None, None) => Failure::failed("no wake word was heard in {recording}").help(
            "begin the recording with the wake word (`[wake]` in the configuration), or take all of it as the question with `--push`",
        ),
    }
}

/// The recording, then silence until this task is aborted. `done` is told when the recording is out.
async fn speak(sender: Sender, samples: Vec<i16>, rate: SampleRate, mode: Mode, done: oneshot::Sender<()>) {
    let pace = Pace::new(rate, std::time::Instant::now());
    let piece = pace.piece();
    if mode.push && !sender.control(Control::Listen(Listen {})).await {
        return;
    }
    let mut first_sample = 0;
    for chunk in samples.chunks(piece) {
        if !mode.fast {
            sleep_until(pace.due(first_sample, chunk.len()).into()).await;
        }
        if !sender.send(audio(chunk, first_sample)).await {
            return;
        }
        first_sample += chunk.len() as u64;
    }
    // Who listens may have gone already.
    let _ = done.send(());
    if mode.push {
        sender.control(Control::EndOfSpeech(EndOfSpeech {})).await;
        return;
    }
    let silence = vec![0; piece];
    let ahead = if mode.fast { SILENCE_AHEAD } else { Duration::ZERO };
    // The clock begins again: behind a recording that was not paced, the first one means nothing.
    let (pace, base) = (Pace::new(rate, std::time::Instant::now()), first_sample);
    loop {
        let due = pace.due(first_sample - base, piece);
        sleep_until(due.checked_sub(ahead).unwrap_or(due).into()).await;
        if !sender.send(audio(&silence, first_sample)).await {
            return;
        }
        first_sample += piece as u64;
    }
}

fn audio(samples: &[i16], first_sample: u64) -> Request {
    Request::Audio(AudioChunk {
        data: pcm::to_s16le(samples),
        first_sample,
    })
}

/// Completes at an instant, or never.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
