//! One Converse stream: a dialogue that is held, turn after turn.
//!
//! A session owns at most one turn that runs and one draft that is prepared. Both are streams that it polls; dropping one is
//! cancelling it, down to the model. It lives in a task of its own rather than in the response stream, because what was said
//! before a client vanished must still be written down after that stream was dropped.
//!
//! Every committed turn ends in exactly one `Done` or `Failed`. Faults of one turn are `Failed` and the dialogue goes on;
//! faults of the stream itself (no `open`, an empty message, a broken database) end it with a status.

mod draft;
mod messages;
mod outbox;
mod turn;

use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt};
use solo_service::{CancellationToken, ErrorCode, IntoStatus, RequestContext};
use tokio::sync::mpsc;
use tonic::Status;

use crate::convert;
use crate::dialogue::{Key, Settings};
use crate::error::Error;
use crate::gauges::Figure;
use crate::reply::{Mind, Preparation, Question, Taken};
use crate::wishes::{self, Wish};
use draft::{Draft, prepare};
use outbox::Outbox;
use turn::Turn;

pub use messages::{Done, Incoming, Outgoing, Said, Stage, Times};

/// Why a session ends before its client half-closed and its turn was done.
#[derive(Debug)]
enum End {
    /// The client went away.
    Gone,
    /// The service is about to stop.
    Draining,
    /// The stream cannot go on.
    Fault(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

/// What a session waits for.
enum Event {
    Gone,
    Message(Option<Result<Result<Incoming, Error>, Status>>),
    Step(Option<Taken>),
    Prepared,
    Draining,
}

struct Session {
    mind: Arc<Mind>,
    request: RequestContext,
    key: Key,
    settings: Arc<Settings>,
    outbox: Outbox,
    turn: Option<Turn>,
    draft: Option<Draft>,
    /// Drafts that the client has sent.
    drafts: u32,
    /// A draft that came while a turn ran: its history is not complete before that turn is.
    waiting: Option<String>,
    /// True when the turn before asked whether everything is really to be deleted.
    asked_to_delete: bool,
}

/// Holds a dialogue until its client is done or gone, or the service drains. `Err` of `inbound` means that the client went
/// away; the inner one is a message that cannot be read.
pub async fn run(
    mind: Arc<Mind>,
    request: RequestContext,
    mut inbound: impl Stream<Item = Result<Result<Incoming, Error>, Status>> + Unpin + Send,
    outbox: mpsc::Sender<Result<Outgoing, Status>>,
    shutdown: CancellationToken,
    draining: Status,
) {
    let _open = mind.gauges.enter(Figure::Streams);
    let outbox = Outbox::new(outbox, mind.config.idle_timeout());
    let opening = Session::open(mind, request, &mut inbound, outbox.clone(), &shutdown).await;
    let ended = match opening {
        Ok(Some(mut session)) => {
            let ended = session.hold(&mut inbound, &shutdown).await;
            // Whatever the reason: what runs is cancelled and what was said is written down.
            match session.interrupt().await {
                Ok(_) => ended,
                Err(error) => ended.and(Err(error.into())),
            }
        }
        Ok(None) => Ok(()),
        Err(end) => Err(end),
    };
    let status = match ended {
        Ok(()) | Err(End::Gone) => return,
        Err(End::Draining) => draining,
        Err(End::Fault(error)) => error.into_status(),
    };
    outbox.end(status).await;
}

impl Session {
    /// Waits for `open`. `None` when the client left without a word.
    async fn open(
        mind: Arc<Mind>,
        request: RequestContext,
        inbound: &mut (impl Stream<Item = Result<Result<Incoming, Error>, Status>> + Unpin + Send),
        outbox: Outbox,
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>, End> {
        let first = tokio::select! {
            () = outbox.closed() => return Err(End::Gone),
            () = shutdown.cancelled() => return Err(End::Draining),
            first = inbound.next() => first,
        };
        let (dialogue, settings) = match first {
            None => return Ok(None),
            Some(Err(status)) => return Err(broken(&status)),
            Some(Ok(Ok(Incoming::Open { dialogue, settings }))) => (dialogue, settings),
            Some(Ok(Ok(_))) => {
                return Err(Error::invalid("payload", "NOT_OPENED", "must be open in the first message").into());
            }
            Some(Ok(Err(error))) => return Err(error.into()),
        };
        let principal = request.principal.clone();
        let created = dialogue.is_empty();
        let (key, turns) = if created {
            let key = Key {
                principal,
                dialogue: uuid::Uuid::now_v7().to_string(),
            };
            mind.store.create(&key).await?;
            mind.gauges.add(Figure::Dialogues, 1);
            (key, 0)
        } else {
            let key = Key { principal, dialogue };
            let turns = mind.store.dialogue(&key).await?.turns;
            (key, turns)
        };
        let dialogue = key.dialogue.clone();
        let settings = Arc::new(settings);
        let mut session = Self {
            mind,
            request,
            key,
            settings,
            outbox,
            turn: None,
            draft: None,
            drafts: 0,
            waiting: None,
            asked_to_delete: false,
        };
        session
            .tell(
                "",
                Said::Opened {
                    dialogue,
                    created,
                    turns,
                },
            )
            .await?;
        Ok(Some(session))
    }

    /// Turns, until the client half-closes and nothing runs.
    async fn hold(
        &mut self,
        inbound: &mut (impl Stream<Item = Result<Result<Incoming, Error>, Status>> + Unpin + Send),
        shutdown: &CancellationToken,
    ) -> Result<(), End> {
        let mut half_closed = false;
        loop {
            if half_closed && self.turn.is_none() {
                return Ok(());
            }
            let event = tokio::select! {
                // In this order: an interruption overtakes what it interrupts.
                biased;
                () = self.outbox.closed() => Event::Gone,
                message = inbound.next(), if !half_closed => Event::Message(message),
                step = next_step(&mut self.turn) => Event::Step(step),
                () = shutdown.cancelled(), if self.turn.is_none() => Event::Draining,
                () = prepare(&mut self.draft) => Event::Prepared,
            };
            match event {
                Event::Gone => return Err(End::Gone),
                Event::Draining => return Err(End::Draining),
                Event::Prepared => self.look_at_draft().await?,
                Event::Step(taken) => self.step(taken).await?,
                Event::Message(None) => half_closed = true,
                Event::Message(Some(Err(status))) => return Err(broken(&status)),
                Event::Message(Some(Ok(message))) => self.receive(message?).await?,
            }
        }
    }

    async fn receive(&mut self, message: Incoming) -> Result<(), End> {
        match message {
            Incoming::Open { .. } => {
                let problem = "is open a second time; a stream holds one dialogue";
                Err(Error::invalid("payload", "OPENED_TWICE", problem).into())
            }
            Incoming::Draft { text } => {
                self.drafts = self.drafts.saturating_add(1);
                self.draft(text);
                Ok(())
            }
            Incoming::Commit { turn, text, max_tokens } => match self.commit(&turn, text, max_tokens).await {
                Err(End::Fault(error)) if is_of_turn(&error) => self.tell(&turn, Said::Failed(error)).await,
                other => other,
            },
            Incoming::Heard {
                turn,
                bytes,
                interrupted,
            } => match self.heard(&turn, bytes, interrupted).await {
                Err(End::Fault(error)) if is_of_turn(&error) => self.tell(&turn, Said::Failed(error)).await,
                other => other,
            },
            Incoming::Decision { action } => self.tell("", Said::Failed(Error::ActionNotFound(action))).await,
        }
    }

    async fn commit(&mut self, id: &str, text: String, max_tokens: Option<u32>) -> Result<(), End> {
        convert::turn_id(id)?;
        self.check(&text)?;
        if self.mind.store.has_turn(&self.key, id).await? {
            return Err(Error::TurnExists(id.to_owned()).into());
        }
        if let Some(replaced) = self.interrupt().await? {
            self.tell(&replaced, Said::Failed(Error::Interrupted)).await?;
        }
        self.mind.store.begin_turn(&self.key, id, text.trim()).await?;
        self.mind.gauges.add(Figure::Turns, 1);
        let max_tokens = max_tokens.unwrap_or(self.mind.config.max_tokens);
        let fits = |draft: &Draft| draft.answers(&text);
        let draft = match self.draft.take() {
            Some(draft) if max_tokens == self.mind.config.max_tokens && fits(&draft) => Some(draft),
            other => {
                self.draft = other;
                self.drop_draft();
                None
            }
        };
        let draft_adopted = draft.is_some();
        if draft_adopted {
            self.mind.gauges.add(Figure::Adopted, 1);
        }
        let deadline = self.deadline();
        let preparation = match (self.wish(&text), draft) {
            (Some(wish), _) => self.grant(id, wish, deadline),
            (None, Some(draft)) => draft.preparation,
            (None, None) => self.prepare(&text, max_tokens, deadline),
        };
        let running = self.mind.gauges.enter(Figure::Running);
        self.turn = Some(Turn::new(
            id.to_owned(),
            text,
            max_tokens,
            deadline,
            preparation,
            running,
        ));
        self.tell(id, Said::Accepted { draft_adopted }).await
    }

    async fn heard(&mut self, id: &str, bytes: usize, interrupted: bool) -> Result<(), End> {
        let runs = self.turn.as_ref().is_some_and(|turn| turn.id == id);
        if runs && !interrupted {
            // How far playback is; what counts is said when it ends.
            return Ok(());
        }
        if runs {
            self.interrupt().await?;
        }
        let cut = self.mind.store.heard(&self.key, id, bytes, interrupted).await?;
        if runs {
            self.tell(id, Said::Failed(Error::Interrupted)).await?;
        }
        if cut {
            // A draft was prepared on a history that is no longer true.
            if let Some(draft) = self.draft.take() {
                self.mind.gauges.add(Figure::Wasted, 1);
                self.draft(draft.text);
            }
        }
        self.draft_what_waits();
        Ok(())
    }

    fn check(&self, text: &str) -> Result<(), Error> {
        let (chars, limit) = (text.chars().count(), self.mind.config.max_text_chars);
        match text.trim() {
            "" => Err(Error::TextEmpty),
            _ if chars > limit => Err(Error::TextTooLong { chars, limit }),
            _ => Ok(()),
        }
    }

    /// What is wanted of the memory itself. Everything is deleted only when that was asked a turn before.
    fn wish(&mut self, text: &str) -> Option<Wish> {
        let asked = std::mem::take(&mut self.asked_to_delete);
        let wish = wishes::wish(text).filter(|wish| self.settings.recalls && (*wish != Wish::Confirm || asked))?;
        self.asked_to_delete = wish == Wish::DeleteEverything;
        Some(wish)
    }

    fn grant(&self, turn: &str, wish: Wish, deadline: Instant) -> Preparation {
        let request = self.request.within(deadline.saturating_duration_since(Instant::now()));
        Preparation::grant(Arc::clone(&self.mind), request, self.key.clone(), turn.to_owned(), wish)
    }

    fn prepare(&self, text: &str, max_tokens: u32, deadline: Instant) -> Preparation {
        let question = Question {
            key: self.key.clone(),
            settings: Arc::clone(&self.settings),
            text: text.to_owned(),
            max_tokens,
        };
        let request = self.request.within(deadline.saturating_duration_since(Instant::now()));
        Preparation::begin(Arc::clone(&self.mind), request, question)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.mind.config.turn_deadline()
    }

    async fn tell(&mut self, turn: &str, said: Said) -> Result<(), End> {
        self.outbox
            .send(Outgoing {
                turn: turn.to_owned(),
                said,
            })
            .await
    }
}

/// What it means that nothing more can be read: the client went away, or sent what the transport refuses.
fn broken(status: &Status) -> End {
    match ErrorCode::from_grpc(status.code()) {
        ErrorCode::InvalidArgument | ErrorCode::ResourceExhausted | ErrorCode::Internal => {
            // A vanished client shows as an internal fault as well; then nobody hears the answer.
            End::Fault(Error::Unreadable(status.message().to_owned()))
        }
        _ => End::Gone,
    }
}

/// Faults that concern one turn: the dialogue goes on.
fn is_of_turn(error: &Error) -> bool {
    !matches!(
        error,
        Error::Store(_) | Error::Corrupt { .. } | Error::DialogueNotFound(_)
    )
}

/// The next step of the turn that runs; never, when none does.
async fn next_step(turn: &mut Option<Turn>) -> Option<Taken> {
    match turn {
        Some(turn) => turn.preparation.next().await,
        None => std::future::pending().await,
    }
}
