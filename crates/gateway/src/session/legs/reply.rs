//! One turn with agent-svc: drafts, the commit, the reply as it is written, and what of it was heard.
//!
//! Drafts may be many, and leave no trace; what goes wrong before the commit is nobody's business, and the commit tries anew.
//! The call stays open until the person has heard the reply, which can be long after it was written. A commit is never
//! sent twice: agent-svc may have written it down before it went away.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use solo_proto::agent::v1::converse_request::Payload as In;
use solo_proto::agent::v1::converse_response::Payload as Out;
use solo_proto::agent::v1::{ActionDecision, Commit, ConverseRequest, Draft, Heard, OpenDialogue};
use solo_service::RequestContext;
use solo_turn::TurnId;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Ear, LegEvent};
use crate::Gateway;
use crate::error::Error;
use crate::upstream::Duplex;

/// Time that agent-svc has to write down what was heard.
const CLOSING: Duration = Duration::from_secs(2);
/// Time that it has to stop, when the person interrupted it, before the call is dropped.
const STOPPING: Duration = Duration::from_millis(150);

/// The dialogue that a conversation goes into; empty until its first turn has made one.
pub(in crate::session) type DialogueId = Arc<Mutex<String>>;

/// What a reply is told.
enum Input {
    Draft(String),
    Commit(String),
    Decision(ActionDecision),
    Heard { bytes: usize, interrupted: bool },
}

/// A reply that is being prepared or heard.
pub(in crate::session) struct ReplyLeg {
    turn: TurnId,
    /// Drafts that were sent.
    drafts: u32,
    input: mpsc::UnboundedSender<Input>,
    task: AbortOnDropHandle<()>,
}

/// Where it is asked.
pub(in crate::session) struct Question {
    pub(in crate::session) turn: TurnId,
    /// Identifier of the turn in its dialogue.
    pub(in crate::session) turn_id: String,
    pub(in crate::session) dialogue: DialogueId,
    /// How the dialogue is held; its identifier is filled in when the call is opened.
    pub(in crate::session) open: OpenDialogue,
}

impl ReplyLeg {
    /// Opens the dialogue, after `before` has ended: what was heard of one turn is written down before the next begins.
    pub(in crate::session) fn start(
        gateway: &Arc<Gateway>,
        caller: RequestContext,
        span: &tracing::Span,
        question: Question,
        before: Option<AbortOnDropHandle<()>>,
        ear: Ear,
    ) -> Self {
        let turn = question.turn;
        let (sender, input) = mpsc::unbounded_channel();
        let gateway_ = Arc::clone(gateway);
        let work = async move {
            if let Some(before) = before {
                // It bounds itself; how it ended is its own affair.
                let _ = before.await;
            }
            run(gateway_, caller, question, input, ear).await;
        };
        Self {
            turn,
            drafts: 0,
            input: sender,
            task: gateway.tasks.spawn(span, work),
        }
    }

    /// The turn that it is for.
    pub(in crate::session) fn turn(&self) -> TurnId {
        self.turn
    }

    /// Has a reply prepared to these words, in place of the draft before; to none, when they are empty.
    pub(in crate::session) fn draft(&mut self, text: String) {
        self.drafts += 1;
        // A leg that has ended is noticed by the commit.
        let _ = self.input.send(Input::Draft(text));
    }

    /// True when that many drafts were sent: a piece of that one is a piece of the newest.
    pub(in crate::session) fn is_newest_draft(&self, number: u32) -> bool {
        self.drafts == number
    }

    /// Asks. False: the leg has ended, and another one is wanted.
    pub(in crate::session) fn commit(&self, text: String) -> bool {
        self.input.send(Input::Commit(text)).is_ok()
    }

    /// Passes a decision on.
    pub(in crate::session) fn decide(&self, decision: ActionDecision) {
        // A leg that has ended has said why.
        let _ = self.input.send(Input::Decision(decision));
    }

    /// Says what was heard, and leaves the leg to end by itself.
    pub(in crate::session) fn heard(self, bytes: usize, interrupted: bool) -> AbortOnDropHandle<()> {
        // As above.
        let _ = self.input.send(Input::Heard { bytes, interrupted });
        self.task
    }
}

async fn run(
    gateway: Arc<Gateway>,
    caller: RequestContext,
    question: Question,
    mut input: mpsc::UnboundedReceiver<Input>,
    ear: Ear,
) {
    let turn = question.turn;
    let (turn_id, dialogue, open) = (
        question.turn_id.clone(),
        Arc::clone(&question.dialogue),
        question.open.clone(),
    );
    let mut state = State::default();
    let mut result = converse(&gateway, &caller, &question, &mut input, &ear, &mut state).await;
    if let Err(error) = &result
        && !state.committed
    {
        tracing::debug!(%error, "a draft came to nothing");
        while let Ok(told) = input.try_recv() {
            state.waiting.push_back(told);
        }
        state.waiting.retain(|told| !matches!(told, Input::Draft(_)));
        if state.waiting.is_empty() {
            return;
        }
        result = converse(&gateway, &caller, &question, &mut input, &ear, &mut state).await;
    }
    match result {
        Ok(()) => {}
        Err(error) if !state.done => ear.hears(LegEvent::ReplyFailed { turn, error }).await,
        Err(error) => {
            // The reply is complete, and agent-svc left while it was being heard.
            tracing::debug!(%error, "what was heard goes on a line of its own");
            if let Err(error) = report_late(&gateway, &caller, turn_id, dialogue, open, &mut input).await {
                tracing::warn!(%error, "what was heard of the reply is not written down");
            }
        }
    }
}

/// Says on a new line what was heard of a turn, once it is known.
async fn report_late(
    gateway: &Gateway,
    caller: &RequestContext,
    turn_id: String,
    dialogue: DialogueId,
    mut open: OpenDialogue,
    input: &mut mpsc::UnboundedReceiver<Input>,
) -> Result<(), Error> {
    while let Some(told) = input.recv().await {
        if let Input::Heard { bytes, interrupted } = told {
            open.dialogue_id = locked(&dialogue);
            let mut call = gateway.upstreams.converse(caller, open).await?;
            let text_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            send(
                &call,
                In::Heard(Heard {
                    turn_id,
                    text_bytes,
                    interrupted,
                }),
            )?;
            call.half_close();
            return close(call, CLOSING).await;
        }
    }
    Ok(())
}

/// How far a turn is.
#[derive(Default)]
struct State {
    /// What was told while the dialogue was being opened.
    waiting: VecDeque<Input>,
    committed: bool,
    /// The reply is complete, or nobody is to be told of it any more.
    done: bool,
}

async fn converse(
    gateway: &Gateway,
    caller: &RequestContext,
    question: &Question,
    input: &mut mpsc::UnboundedReceiver<Input>,
    ear: &Ear,
    state: &mut State,
) -> Result<(), Error> {
    let Question {
        turn,
        turn_id,
        dialogue,
        open,
    } = question;
    let turn = *turn;
    let mut open = open.clone();
    open.dialogue_id = locked(dialogue);
    let mut call = tokio::select! {
        call = gateway.upstreams.converse(caller, open) => call?,
        // Interrupted before it was asked: there is nothing to write down.
        () = interrupted(input, &mut state.waiting) => return Ok(()),
    };
    let opened = match call.message().await?.and_then(|message| message.payload) {
        Some(Out::Opened(opened)) => opened,
        _ => {
            return Err(Error::Contract {
                service: "agent-svc",
                problem: "it did not open the dialogue",
            });
        }
    };
    *dialogue.lock().unwrap_or_else(PoisonError::into_inner) = opened.dialogue_id.clone();
    ear.hears(LegEvent::Said {
        turn,
        said: Out::Opened(opened),
    })
    .await;
    loop {
        tokio::select! {
            message = call.message() => match message? {
                None => return Err(Error::Contract { service: "agent-svc", problem: "it left in the middle of the turn" }),
                Some(message) if !message.turn_id.is_empty() && message.turn_id != *turn_id => {}
                Some(message) => match message.payload {
                    Some(Out::Failed(failed)) => return Err(Error::Turn(Box::new(failed))),
                    Some(said) => {
                        state.done |= matches!(said, Out::Done(_));
                        ear.hears(LegEvent::Said { turn, said }).await;
                    }
                    None => {}
                },
            },
            told = next(&mut state.waiting, input) => match told {
                None => return Ok(()),
                Some(Input::Draft(text)) => send(&call, In::Draft(Draft { text }))?,
                Some(Input::Commit(text)) => {
                    state.committed = true;
                    send(&call, In::Commit(Commit { turn_id: turn_id.clone(), text, max_tokens: 0 }))?;
                }
                Some(Input::Decision(decision)) => send(&call, In::Decision(decision))?,
                Some(Input::Heard { bytes, interrupted }) => {
                    let text_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                    send(&call, In::Heard(Heard { turn_id: turn_id.clone(), text_bytes, interrupted }))?;
                    call.half_close();
                    let patience = if state.done { CLOSING } else { STOPPING };
                    // From here on there is nobody to tell.
                    state.done = true;
                    return close(call, patience).await;
                }
            },
        }
    }
}

/// Reads to the end of the call, for as long as may be.
async fn close<I, O>(mut call: Duplex<I, O>, patience: Duration) -> Result<(), Error> {
    let ended = tokio::time::timeout(patience, async {
        while call.message().await?.is_some() {}
        Ok(())
    });
    // One that does not end is dropped, and so cancelled.
    ended.await.unwrap_or(Ok(()))
}

/// What is told next. Cancel safe.
async fn next(waiting: &mut VecDeque<Input>, input: &mut mpsc::UnboundedReceiver<Input>) -> Option<Input> {
    match waiting.pop_front() {
        Some(told) => Some(told),
        None => input.recv().await,
    }
}

/// Waits until the turn is interrupted or dropped, and keeps what else is told. Cancel safe.
async fn interrupted(input: &mut mpsc::UnboundedReceiver<Input>, waiting: &mut VecDeque<Input>) {
    loop {
        match input.recv().await {
            None | Some(Input::Heard { .. }) => return,
            Some(told) => waiting.push_back(told),
        }
    }
}

fn send(call: &Duplex<ConverseRequest, impl Sized>, payload: In) -> Result<(), Error> {
    call.send(ConverseRequest { payload: Some(payload) })
}

fn locked(dialogue: &DialogueId) -> String {
    dialogue.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
