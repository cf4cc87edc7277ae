//! What a conversation knows of a turn besides what the machine knows: its names, its trace, its figures.

use std::collections::BTreeMap;

use solo_proto::events::v1::event::Payload;
use solo_proto::llm::v1::Usage;
use solo_service::events::Subject;
use solo_service::{Priority, RequestContext};
use solo_turn::TurnId;

use super::Session;

/// Turns that are remembered: the current one, and those of which a late word may still have to be said.
const KEPT: usize = 4;

/// One turn.
pub(super) struct Notes {
    /// Identifier in the dialogue (UUID).
    pub(super) id: String,
    pub(super) caller: RequestContext,
    /// Everything that is done for the turn hangs under it: one turn, one trace.
    pub(super) span: tracing::Span,
    /// Phrase of the keyword that began it.
    pub(super) phrase: Option<String>,
    /// Voice that ends before this sample is the keyword's own.
    pub(super) keyword_until: u64,
    pub(super) usage: Usage,
    /// Why it failed, as a reason code. Empty: it did not.
    pub(super) failure: String,
    /// The reply so far.
    pub(super) reply: String,
    /// Samples of the reply handed over, in the client's rate.
    pub(super) sent: u64,
}

/// The turns of a conversation, newest last.
#[derive(Default)]
pub(super) struct Notebook(BTreeMap<TurnId, Notes>);

impl Session {
    /// The notes of a turn; made when it is first spoken of.
    pub(super) fn notes(&mut self, turn: TurnId) -> &mut Notes {
        while self.notebook.0.len() > KEPT {
            self.notebook.0.pop_first();
        }
        let caller = &self.caller;
        self.notebook.0.entry(turn).or_insert_with(|| {
            let id = uuid::Uuid::now_v7().to_string();
            let span = tracing::info_span!("turn", turn = %id, session = caller.request_id);
            let caller = RequestContext {
                request_id: id.replace('-', ""),
                ..caller.with_priority(Priority::Spoken)
            };
            Notes {
                id,
                caller,
                span,
                phrase: None,
                keyword_until: 0,
                usage: Usage::default(),
                failure: String::new(),
                reply: String::new(),
                sent: 0,
            }
        })
    }

    /// Tells everybody who subscribed what happens in a turn.
    pub(super) fn publish(&mut self, turn: TurnId, payload: Payload) {
        let dialogue = self.dialogue_id();
        let principal = self.caller.principal.clone();
        let turn = self.notes(turn).id.clone();
        let subject = Subject {
            principal,
            dialogue,
            turn,
            ..Subject::default()
        };
        self.gateway.bus.say(subject, payload);
    }

    /// The dialogue; empty until its first turn has made it.
    pub(super) fn dialogue_id(&self) -> String {
        self.dialogue
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}
