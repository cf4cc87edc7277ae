//! What the fake does in one turn.

use solo_proto::agent::v1::{ActionRequest, ReplyCitation, TurnFailed, turn_status};
use tonic::Status;

use crate::gate::Gate;

/// One thing that the fake does in a turn.
#[derive(Debug, Clone)]
pub enum AgentStep {
    /// Sends a delta of the reply.
    Text(String),
    /// Sends what it is doing.
    Status(turn_status::Stage),
    /// Sends a citation.
    Citation(ReplyCitation),
    /// Asks for a decision.
    Action(ActionRequest),
    /// Waits.
    Gate(Gate),
    /// The turn fails; the dialogue goes on.
    FailTurn(TurnFailed),
    /// The whole stream ends with an error.
    FailStream(Status),
}

/// What the fake does in one turn; it ends with `done` unless a step fails.
#[derive(Debug, Clone, Default)]
pub struct AgentScript {
    pub(super) steps: Vec<AgentStep>,
}

impl AgentScript {
    /// Says a text in deltas of one word each, after the usual statuses.
    pub fn text(text: &str) -> Self {
        use turn_status::Stage;
        let stages = [Stage::Recalling, Stage::Recalled, Stage::Thinking];
        Self {
            steps: stages.map(AgentStep::Status).to_vec(),
        }
        .then_text(text)
    }

    /// Adds a text, in deltas of one word each.
    pub fn then_text(mut self, text: &str) -> Self {
        self.steps
            .extend(text.split_inclusive(' ').map(|delta| AgentStep::Text(delta.to_owned())));
        self
    }

    /// Adds a gate.
    pub fn then_gate(self, gate: &Gate) -> Self {
        self.then(AgentStep::Gate(gate.clone()))
    }

    /// Adds a step.
    pub fn then(mut self, step: AgentStep) -> Self {
        self.steps.push(step);
        self
    }
}
