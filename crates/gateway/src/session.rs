//! One conversation, whatever edge it came in by: messages of `solo.gateway.v1` in, messages out.
//!
//! The machine of `solo-turn` decides; this is its hands. Everything that happens (a message, a word of a leg, a deadline)
//! becomes an event, and the commands that come back are carried out at once: [`commands`] starts and stops legs,
//! [`news`] takes what they say. The loop never waits for a service or for the client, so an interruption is always heard.

mod commands;
mod ears;
mod input;
mod legs;
mod news;
mod notes;
mod outbox;
mod sounds;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt};
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::{ConverseRequest, ConverseResponse, SessionOpened, TurnError};
use solo_proto::wake::v1::WakeEvent;
use solo_service::RequestContext;
use solo_turn::{Event, Machine, TurnId};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::Gateway;
use crate::convert::{self, Manner};
use crate::error::Error;

use ears::Ears;
use legs::listen::ListenLeg;
use legs::reply::{DialogueId, ReplyLeg};
use legs::speak::SpeakLeg;
use legs::wake::WakeLeg;
use legs::{Ear, LegEvent};
use notes::Notebook;

pub(crate) use outbox::{End, Next, Outbox, Outgoing};
pub(crate) use sounds::Sounds;

/// Things that legs may have said before they wait.
const SAID: usize = 64;

/// The client is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// A conversation.
struct Session {
    gateway: Arc<Gateway>,
    manner: Manner,
    /// What its requests carry.
    caller: RequestContext,
    machine: Machine,
    begun: Instant,
    outbox: Outbox,
    dialogue: DialogueId,
    ears: Option<Ears>,
    muted: bool,
    notebook: Notebook,
    /// The keyword that is about to begin a turn.
    woken: Option<WakeEvent>,
    wake: Option<WakeLeg>,
    listen: Option<ListenLeg>,
    reply: Option<ReplyLeg>,
    speech: Option<SpeakLeg>,
    /// Counts attempts at speaking.
    take: u64,
    /// What speech says before it may be heard; `None`: it may.
    held: Option<Vec<LegEvent>>,
    /// What was held, and is taken before anything else.
    released: VecDeque<LegEvent>,
    /// The reply before, which is writing down what was heard.
    closing: Option<AbortOnDropHandle<()>>,
    ear: Ear,
    news: mpsc::Receiver<LegEvent>,
    /// What happened while commands were carried out.
    todo: VecDeque<Event>,
    draining: bool,
    over: Option<End>,
    _seat: OwnedSemaphorePermit,
}

/// Opens a conversation. `incoming` ends when the client will send no more, and fails when it is gone.
///
/// # Errors
/// When there is no seat left, or the gateway is going down.
pub(crate) fn start(
    gateway: &Arc<Gateway>,
    manner: Manner,
    incoming: impl Stream<Item = Result<ConverseRequest, Gone>> + Send + Unpin + 'static,
) -> Result<(Outbox, Outgoing), Error> {
    if gateway.context.shutdown.is_cancelled() {
        return Err(Error::Draining);
    }
    let seat = Arc::clone(&gateway.seats)
        .try_acquire_owned()
        .map_err(|_| Error::Exhausted {
            reason: "TOO_MANY_SESSIONS",
            problem: format!(
                "all {} conversations are taken; end one, or raise gateway.limits.max_sessions",
                gateway.config.limits.max_sessions
            ),
        })?;
    let (outbox, outgoing) = outbox::outbox();
    let (sender, news) = mpsc::channel(SAID);
    let caller = gateway.caller();
    let keep = gateway.config.limits.max_audio_seconds;
    let session = Session {
        machine: Machine::new(convert::settings(&manner, &gateway.config)),
        begun: Instant::now(),
        outbox: outbox.clone(),
        dialogue: Arc::new(Mutex::new(manner.dialogue_id.clone())),
        ears: ears(&manner, keep, gateway.config.voice.noise_suppression),
        muted: false,
        notebook: Notebook::default(),
        woken: None,
        wake: None,
        listen: None,
        reply: None,
        speech: None,
        take: 0,
        held: None,
        released: VecDeque::new(),
        closing: None,
        ear: Ear(sender),
        news,
        todo: VecDeque::new(),
        draining: false,
        over: None,
        gateway: Arc::clone(gateway),
        manner,
        caller,
        _seat: seat,
    };
    gateway.sessions.spawn(session.run(incoming));
    Ok((outbox, outgoing))
}

impl Session {
    async fn run(mut self, mut incoming: impl Stream<Item = Result<ConverseRequest, Gone>> + Unpin) {
        self.open();
        let shutdown = self.gateway.context.shutdown.clone();
        let outbox = self.outbox.clone();
        let mut sends = true;
        while self.over.is_none() {
            if let Some(event) = self.released.pop_front() {
                self.on_news(event);
                continue;
            }
            let deadline = self.machine.deadline().map(|at| self.begun + at);
            tokio::select! {
                message = incoming.next(), if sends => match message {
                    Some(Ok(message)) => self.on_message(message),
                    Some(Err(Gone)) => self.hang_up(),
                    None => {
                        sends = false;
                        self.on_input_end();
                    }
                },
                // The conversation holds a sender itself, so this never ends.
                Some(event) = self.news.recv() => self.on_news(event),
                () = sleep_until(deadline) => self.feed(Event::Tick),
                () = shutdown.cancelled(), if !self.draining => {
                    self.draining = true;
                    self.feed(Event::Drain);
                }
                () = outbox.closed() => self.hang_up(),
            }
        }
        // Legs stop with their handles; only what was heard is still written down.
        (self.wake, self.listen, self.speech) = (None, None, None);
        if let Some(closing) = self.closing.take() {
            // It bounds itself.
            let _ = closing.await;
        }
        self.outbox.end(self.over.unwrap_or(End::Done));
    }

    fn open(&mut self) {
        self.say(
            None,
            Payload::Opened(SessionOpened {
                session_id: self.caller.request_id.clone(),
                dialogue_id: self.manner.dialogue_id.clone(),
                audio_out: self.manner.audio_out.map(convert::mono),
            }),
        );
        if self.manner.wake_mode == solo_turn::WakeMode::Keyword {
            self.wake = Some(WakeLeg::start(&self.gateway, self.caller.clone(), self.ear.clone()));
        }
        self.feed(Event::Opened);
    }

    fn hang_up(&mut self) {
        self.feed(Event::Closed);
        self.over.get_or_insert(End::Done);
    }

    /// Lets the machine know, and does what it says.
    fn feed(&mut self, event: Event) {
        self.todo.push_back(event);
        while let Some(event) = self.todo.pop_front() {
            let now = self.begun.elapsed();
            for command in self.machine.on(event, now) {
                self.execute(command);
            }
        }
    }

    /// Says something to the client.
    fn say(&mut self, turn: Option<TurnId>, payload: Payload) {
        let turn_id = turn.map(|turn| self.notes(turn).id.clone()).unwrap_or_default();
        if !self.outbox.push(ConverseResponse {
            turn_id,
            payload: Some(payload),
        }) {
            tracing::warn!("a client is given up: it does not read");
            self.over = Some(End::TooSlow);
        }
    }

    /// Tells the client, and the log, what went wrong.
    fn complain(&mut self, turn: Option<TurnId>, error: &Error) {
        let request_id = match turn {
            Some(turn) => self.notes(turn).caller.request_id.clone(),
            None => self.caller.request_id.clone(),
        };
        let complaint: TurnError = convert::turn_error(error, &request_id);
        tracing::warn!(
            reason = complaint.reason,
            service = complaint.service,
            request_id,
            error = %solo_service::error::chain(error),
            "told the client of a fault"
        );
        self.say(turn, Payload::Error(complaint));
    }
}

/// What hears the client. An echo matters where somebody is listened to while the assistant speaks.
fn ears(manner: &Manner, keep_seconds: u64, noise_suppression: bool) -> Option<Ears> {
    let (rate, channels) = manner.audio_in?;
    let mut ears = Ears::new(rate, channels, keep_seconds);
    if noise_suppression && !manner.echo_cancelled {
        ears = ears.suppressing_noise();
    }
    let echoes = !manner.echo_cancelled && manner.wake_mode != solo_turn::WakeMode::PushToTalk;
    Some(match manner.audio_out {
        Some(played) if echoes => ears.cancelling_echo(played),
        _ => ears,
    })
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
