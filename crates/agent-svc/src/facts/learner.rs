//! Reads what was said after each turn, one turn after another, and writes down what is new.

use std::sync::Arc;
use std::time::Duration;

use solo_service::{CancellationToken, Priority, RequestContext};
use tokio::sync::{mpsc, watch};

use super::{MOST_STATEMENTS, Relation, messages, relation, schema, statements, verbatim, worth_reading};
use crate::dialogue::Key;
use crate::error::Error;
use crate::reply::Mind;
use crate::upstream::{Change, KnownFact};

/// Turns that may wait to be read.
const QUEUE: usize = 256;
/// Longest time for one turn; llm-svc answers whoever waits first.
const DEADLINE: Duration = Duration::from_secs(120);
/// Facts near a statement that it is held against.
const NEAR: u32 = 6;
/// Facts less like a statement than this are about something else, whatever words they share.
const LEAST_LIKE: f32 = 0.35;
/// Tokens of an answer: a few sentences.
const ANSWER_TOKENS: u32 = 200;
/// Times that facts are looked at again because another change came first.
const ATTEMPTS: usize = 3;

/// What was said in a turn.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// Where it was said.
    pub key: Key,
    /// In which turn.
    pub turn: String,
    /// The words.
    pub said: String,
}

/// The way to whoever reads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Learner {
    lessons: mpsc::Sender<Lesson>,
    pending: watch::Sender<usize>,
}

/// Whoever reads, until it is started.
pub struct Reading {
    lessons: mpsc::Receiver<Lesson>,
    pending: watch::Sender<usize>,
}

impl Learner {
    /// A learner and its other end.
    pub fn new() -> (Self, Reading) {
        let (sender, lessons) = mpsc::channel(QUEUE);
        let pending = watch::Sender::new(0);
        let reading = Reading {
            lessons,
            pending: pending.clone(),
        };
        let learner = Self {
            lessons: sender,
            pending,
        };
        (learner, reading)
    }

    /// Has a turn read, some time later; a turn in which nobody tells anything is not.
    pub fn read(&self, lesson: Lesson) {
        let Some(telling) = worth_reading(&lesson.said) else {
            return;
        };
        let lesson = Lesson {
            said: telling,
            ..lesson
        };
        self.pending.send_modify(|pending| *pending += 1);
        if let Err(error) = self.lessons.try_send(lesson) {
            self.pending.send_modify(|pending| *pending -= 1);
            tracing::warn!(%error, "too many turns wait to be read: nothing is learnt from this one");
        }
    }

    /// Waits until everything that was said is read, but no longer than `patience`.
    pub async fn caught_up(&self, patience: Duration) {
        let mut pending = self.pending.subscribe();
        // The sender is ours; what is not read by then is read later.
        let _ = tokio::time::timeout(patience, pending.wait_for(|pending| *pending == 0)).await;
    }
}

impl Reading {
    /// Reads turns until the service stops.
    pub async fn run(mut self, mind: Arc<Mind>, shutdown: CancellationToken) {
        loop {
            let lesson = tokio::select! {
                () = shutdown.cancelled() => return,
                lesson = self.lessons.recv() => lesson,
            };
            let Some(lesson) = lesson else { return };
            let learnt = tokio::select! {
                () = shutdown.cancelled() => return,
                learnt = learn(&mind, &lesson) => learnt,
            };
            match learnt {
                Ok(0) => {}
                Ok(changes) => {
                    tracing::info!(
                        dialogue = lesson.key.dialogue,
                        turn = lesson.turn,
                        changes,
                        "facts learnt"
                    );
                }
                Err(error) => {
                    let error = solo_service::error::chain(&error);
                    tracing::warn!(
                        dialogue = lesson.key.dialogue,
                        turn = lesson.turn,
                        error,
                        "nothing is learnt from this turn"
                    );
                }
            }
            self.pending.send_modify(|pending| *pending -= 1);
        }
    }
}

/// Learns from a turn; says how many facts changed.
async fn learn(mind: &Mind, lesson: &Lesson) -> Result<usize, Error> {
    let request = RequestContext::new(&lesson.key.principal)
        .within(DEADLINE)
        .with_priority(Priority::Background);
    let told = match verbatim(&lesson.said) {
        Some(statement) => vec![statement],
        None => {
            let reading = messages(&lesson.said);
            let answer = mind.llm.structured(&request, reading, schema(), ANSWER_TOKENS).await?;
            statements(&answer, &lesson.said)
        }
    };
    let mut changed = 0;
    for statement in told.into_iter().take(MOST_STATEMENTS) {
        changed += usize::from(settle(mind, &request, lesson, &statement).await?);
    }
    Ok(changed)
}

/// Writes a statement down, unless it is known; true when something changed.
async fn settle(mind: &Mind, request: &RequestContext, lesson: &Lesson, statement: &str) -> Result<bool, Error> {
    let provenance = format!("{}/{}", lesson.key.dialogue, lesson.turn);
    for attempt in 1.. {
        let near = mind.memory.near_facts(request, statement, NEAR).await?;
        let Some(changes) = changes(statement, &near) else {
            return Ok(false);
        };
        match mind.memory.apply_facts(request, changes, &provenance).await {
            Ok(()) => return Ok(true),
            Err(error) if error.is_fact_changed() && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// What becomes of a statement beside the facts near it; `None`: nothing, it is known.
fn changes(statement: &str, near: &[KnownFact]) -> Option<Vec<Change>> {
    let related = near.iter().filter(|fact| fact.likeness >= LEAST_LIKE);
    let related: Vec<(&KnownFact, Relation)> = related.map(|fact| (fact, relation(statement, &fact.text))).collect();
    if related.iter().any(|(_, relation)| *relation == Relation::Known) {
        return None;
    }
    let ended: Vec<Change> = related
        .iter()
        .filter(|(_, relation)| *relation == Relation::Ends)
        .map(|(fact, _)| Change::Retract((*fact).clone()))
        .collect();
    if !ended.is_empty() {
        return Some(ended);
    }
    let mut replaced = related
        .iter()
        .filter(|(_, relation)| *relation == Relation::Replaces)
        .map(|(fact, _)| (*fact).clone());
    let first = match replaced.next() {
        Some(fact) => Change::Supersede(fact, statement.to_owned()),
        None => Change::Add(statement.to_owned()),
    };
    Some(std::iter::once(first).chain(replaced.map(Change::Retract)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(text: &str, likeness: f32) -> KnownFact {
        KnownFact {
            id: text.to_owned(),
            version: 1,
            text: text.into(),
            provenance: String::new(),
            likeness,
        }
    }

    #[test]
    fn a_statement_adds_replaces_ends_or_is_known() {
        let near = [fact("My dentist is Doctor Blue.", 0.9)];
        let green = "My dentist is Doctor Green.";
        let tulips = "I like tulips.";
        for (statement, wanted) in [
            ("My dentist is Doctor Blue.", None),
            (green, Some(Change::Supersede(near[0].clone(), green.into()))),
            (
                "I no longer see Doctor Blue, my dentist.",
                Some(Change::Retract(near[0].clone())),
            ),
            (tulips, Some(Change::Add(tulips.into()))),
        ] {
            assert_eq!(
                changes(statement, &near),
                wanted.map(|change| vec![change]),
                "{statement}"
            );
        }
    }

    #[test]
    fn what_is_too_unlike_is_not_replaced() {
        let far = fact("My dentist is Doctor Blue.", 0.1);
        let statement = "My dentist is Doctor Green.";
        assert_eq!(changes(statement, &[far]), Some(vec![Change::Add(statement.into())]));
    }
}
