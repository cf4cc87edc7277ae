//! The conversation of `solo talk`: what the gateway says, turn by turn. With a recording, one task sends its sound, this
//! one listens, and both end when the turns are over.

use std::time::Duration;

use solo_audio::SampleRate;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::{Played, TurnPhase};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::screen::Status;
use super::sending::speak;
use super::show::Show;
use super::sink::Sink;
use crate::failure::{Exit, Failure};
use crate::session::{self, Sender, Session};
use crate::turn::Turn;

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
    /// Where replies sound.
    pub(super) sink: Sink,
    /// What is going on, as the gateway says.
    pub(super) status: Status,
    turn: Turn,
    /// A turn has begun and has not ended.
    busy: bool,
    /// A wake word was heard (or the button is held), and no turn has ended since.
    awake: bool,
    /// It listens, or has listened, to this turn's question.
    listened: bool,
    ended: usize,
    failure: Option<Failure>,
}

impl Conversation {
    /// A conversation in which nothing has been said. `awake`: no wake word is waited for.
    pub(super) fn new(sink: Sink, awake: bool) -> Self {
        Self {
            sink,
            status: Status::default(),
            turn: Turn::default(),
            busy: false,
            awake,
            listened: false,
            ended: 0,
            failure: None,
        }
    }

    /// Sends the recording and hears what comes, until every turn in it is over.
    pub(super) async fn run(
        mut self,
        mut session: Session,
        samples: Vec<i16>,
        rate: SampleRate,
        mode: Mode,
        show: &mut Show,
    ) -> Heard {
        let (done, sent) = oneshot::channel();
        let speaker = tokio::spawn(speak(session.sender(), samples, rate, mode, done));
        let outcome = self.listen(&mut session, sent, mode, show).await;
        speaker.abort();
        let mut rest = session.into_responses();
        let drained = async {
            while let Some(payload) = rest.next().await {
                if let Payload::Audio(chunk) = payload {
                    // What is broken now was broken before, and told.
                    let _ = self.sink.play("", &chunk.data);
                }
            }
        };
        // The gateway may leave the stream open; nothing that belongs to a turn comes any more.
        let _ = tokio::time::timeout(LAST_MESSAGES, drained).await;
        let outcome = match (outcome, self.failure) {
            (Err(failure), _) | (Ok(()), Some(failure)) => Err(failure),
            (Ok(()), None) if self.ended == 0 => Err(nothing(&self.turn)),
            (Ok(()), None) => Ok(()),
        };
        let audio = match self.sink {
            Sink::File(kept) => kept.samples,
            Sink::Speaker(_) => Vec::new(),
        };
        Heard { audio, outcome }
    }

    async fn listen(
        &mut self,
        session: &mut Session,
        sent: oneshot::Receiver<()>,
        mode: Mode,
        show: &mut Show,
    ) -> Result<(), Failure> {
        tokio::pin!(sent);
        let mut recording_over: Option<Instant> = None;
        let mut error_until: Option<Instant> = None;
        loop {
            // After the recording: a running turn may take its time, a wake word must have been found soon.
            let deadline = recording_over.map(|over| {
                over + if self.awake || self.busy {
                    mode.timeout
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
                message = session.next_of_turn() => {
                    let (turn_id, payload) = message?.ok_or_else(session::cut_off)?;
                    self.hear(&turn_id, &payload, &session.sender(), show)?;
                    match payload {
                        Payload::Audio(_) => self.report_played(&session.sender()),
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
                () = at(deadline) => return self.too_late(mode),
            }
        }
    }

    /// Takes in one message of the gateway.
    pub(super) fn hear(
        &mut self,
        turn_id: &str,
        payload: &Payload,
        sender: &Sender,
        show: &mut Show,
    ) -> Result<(), Failure> {
        self.turn.take(payload);
        match payload {
            Payload::Wake(wake) => {
                self.awake = true;
                show.wake(&wake.keyword, wake.score, wake.at_ms)?;
            }
            Payload::State(state) => {
                self.status.phase = Some(state.phase());
                match state.phase() {
                    TurnPhase::Listening => self.listened = true,
                    TurnPhase::Deciding | TurnPhase::Thinking => self.busy = true,
                    TurnPhase::Idle if self.turn.transcript.is_empty() => self.asleep(),
                    _ => {}
                }
            }
            Payload::Partial(text) => {
                self.status.stable.clone_from(&text.stable_text);
                self.status.unstable.clone_from(&text.unstable_text);
            }
            Payload::Final(text) => {
                self.busy = true;
                self.forget_partial();
                show.transcript(&text.text)?;
            }
            Payload::Rejected(rejected) => {
                self.busy = false;
                self.forget_partial();
                if rejected.reason != NO_VOICE {
                    show.rejected(&rejected.reason, &rejected.text)?;
                }
            }
            Payload::Reply(reply) => show.reply(&reply.delta)?,
            Payload::Audio(chunk) => self.sink.play(turn_id, &chunk.data)?,
            Payload::Chime(chime) => self.sink.chime(&chime.data)?,
            Payload::Action(action) => {
                let (sender, id) = (sender.clone(), action.action_id.clone());
                show.remark(&format!("{} was not approved: `solo chat` asks you", action.tool))?;
                tokio::spawn(async move { sender.decide(&id, false).await });
            }
            Payload::Error(_) => {
                if let Some(failure) = self.turn.failure() {
                    self.fail(failure);
                }
            }
            Payload::Summary(summary) => {
                self.sink.end(turn_id, summary.interrupted);
                self.end_turn(show)?;
            }
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

    fn forget_partial(&mut self) {
        self.status.stable.clear();
        self.status.unstable.clear();
    }

    /// Tells the gateway how far the reply has been played.
    fn report_played(&mut self, sender: &Sender) {
        let (sender, samples) = (sender.clone(), self.sink.played());
        tokio::spawn(async move { sender.control(Control::Played(Played { samples })).await });
    }

    /// The turn is over: shows it, and is ready for the next.
    pub(super) fn end_turn(&mut self, show: &mut Show) -> Result<(), Failure> {
        let turn = std::mem::take(&mut self.turn);
        (self.busy, self.awake, self.listened) = (false, false, false);
        self.forget_partial();
        self.ended += 1;
        show.turn(&turn)
    }

    /// The connection broke: whatever turn there was, it is over. Says whether there was one.
    pub(super) fn break_off(&mut self) -> bool {
        let turn = std::mem::take(&mut self.turn);
        (self.busy, self.awake, self.listened) = (false, false, false);
        self.status = Status::default();
        !turn.transcript.is_empty()
    }

    /// The first failure is the one that is told.
    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn too_late(&mut self, mode: Mode) -> Result<(), Failure> {
        if !self.awake && !self.busy {
            return match self.ended {
                0 => Err(nothing(&self.turn)),
                _ => Ok(()),
            };
        }
        let seconds = mode.timeout.as_secs();
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
            "begin the recording with the wake word (`[wake]` in the configuration), or take all of it as the question with `--push-to-talk`",
        ),
    }
}

/// Completes at an instant, or never.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
