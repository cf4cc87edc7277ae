//! Holds the store against its own rules: nothing missing, nothing twice, nothing left over.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use uuid::Uuid;

use super::Inner;
use super::rows::rows;
use crate::store::{StoreError, Verification};

/// Problems that are named; the rest are counted.
const MOST_PROBLEMS: usize = 100;
/// How far a vector's length may be from 1.
const UNIT_TOLERANCE: f32 = 1e-2;

/// What a document's row promises of its chunks.
struct Promise {
    document: String,
    chunks: u32,
    text_bytes: u64,
}

/// Problems as they are found.
#[derive(Default)]
struct Problems {
    named: Vec<String>,
    more: u64,
}

impl Problems {
    fn add(&mut self, problem: String) {
        if self.named.len() < MOST_PROBLEMS {
            self.named.push(problem);
        } else {
            self.more += 1;
        }
    }
}

impl Inner {
    /// Looks at every row. Writes wait only until the tables' present state is pinned.
    pub(super) async fn verify(&self) -> Result<Verification, StoreError> {
        let columns = [
            "id",
            "principal",
            "collection",
            "uri",
            "generation",
            "chunks",
            "text_bytes",
        ];
        let chunk_columns = ["id", "generation", "ordinal", "start", "end", "vector"];
        let (documents, mut chunks, facts, hidden, held) = {
            let _writing = self.writing.lock().await;
            self.follow().await?;
            let hidden = self.hidden.read().await;
            let documents = self.documents.scan(None, &columns).await?;
            let chunks = self.chunks.scan(None, &chunk_columns).await?;
            let facts = self
                .facts
                .scan(None, &["row", "id", "principal", "version", "ended_at"])
                .await?;
            (documents, chunks, facts, hidden.clone(), self.resident.identifiers())
        };
        let mut problems = Problems::default();
        let mut found = Verification::default();
        let is_held = held.is_some();
        let (mut held_pieces, mut held_facts) = held.unwrap_or_default();
        let mut promises = HashMap::new();
        let (mut places, mut ids) = (HashSet::new(), HashSet::new());
        for row in rows(&self.documents.collect(documents).await?) {
            found.documents += 1;
            let id = row.text("id")?;
            if !ids.insert(id.to_owned()) {
                problems.add(format!("two documents have the identifier {id}"));
            }
            let place = ["principal", "collection", "uri"].map(|column| row.text(column).map(str::to_owned));
            let [principal, collection, uri] = place;
            let place = (principal?, collection?, uri?);
            if places.contains(&place) {
                problems.add(format!("document {id} is there twice: {}", place.2));
            }
            places.insert(place);
            let promise = Promise {
                document: id.to_owned(),
                chunks: row.number("chunks")?,
                text_bytes: row.large("text_bytes")?,
            };
            if promises.insert(row.id("generation")?, promise).is_some() {
                problems.add(format!("document {id} shares its pieces with another"));
            }
        }
        let mut pieces: HashMap<Uuid, Vec<(u32, u64, u64)>> = HashMap::new();
        while let Some(batch) = chunks.try_next().await.map_err(self.chunks.failed("read rows"))? {
            for row in rows(&[batch]) {
                found.chunks += 1;
                let place = (row.number("ordinal")?, row.large("start")?, row.large("end")?);
                let (id, generation) = (row.id("id")?, row.id("generation")?);
                pieces.entry(generation).or_default().push(place);
                if is_held && !held_pieces.remove(&id) && !hidden.contains(&generation) {
                    problems.add(format!("piece {id} is not in memory, where searches look"));
                }
                let vector = row.vector()?;
                let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                if vector.len() != self.dimension || (length - 1.0).abs() > UNIT_TOLERANCE {
                    problems.add(format!("piece {id} has no unit vector"));
                }
            }
        }
        for (generation, mut places) in pieces {
            let Some(promise) = promises.remove(&generation) else {
                // What waits for upkeep to be removed is hidden, and no problem.
                if !hidden.contains(&generation) && !self.may_be_under_way(generation) {
                    problems.add(format!("{} pieces belong to no document", places.len()));
                }
                continue;
            };
            places.sort_unstable();
            if let Some(problem) = broken(&places, &promise) {
                problems.add(format!("document {}: {problem}", promise.document));
            }
        }
        for promise in promises.into_values() {
            problems.add(format!("document {} has no pieces", promise.document));
        }
        let mut holding = HashSet::new();
        let mut versions = HashSet::new();
        for row in rows(&self.facts.collect(facts).await?) {
            found.facts += 1;
            let id = row.id("id")?;
            // Another may have taken a fact over by its identifier.
            let whose = row.text("principal")?.to_owned();
            if !versions.insert((whose.clone(), id, row.number("version")?)) {
                problems.add(format!("fact {id} has a version twice"));
            }
            if row.maybe_time("ended_at")?.is_some() {
                continue;
            }
            if !holding.insert((whose, id)) {
                problems.add(format!("fact {id} holds in two versions"));
            }
            if is_held && !held_facts.remove(&row.id("row")?) {
                problems.add(format!("fact {id} is not in memory, where searches look"));
            }
        }
        let left = held_pieces.len() + held_facts.len();
        if left > 0 {
            problems.add(format!("{left} pieces and facts are in memory and not in the tables"));
        }
        if problems.more > 0 {
            problems.named.push(format!("and {} problems more", problems.more));
        }
        found.problems = problems.named;
        Ok(found)
    }
}

/// What is wrong with a document's pieces, sorted by their ordinals.
fn broken(places: &[(u32, u64, u64)], promise: &Promise) -> Option<String> {
    if places.len() != promise.chunks as usize {
        return Some(format!("{} pieces of {}", places.len(), promise.chunks));
    }
    let mut covered = 0;
    for (index, (ordinal, start, end)) in places.iter().enumerate() {
        if *ordinal as usize != index {
            return Some(format!("piece {index} is missing or there twice"));
        }
        if *start > covered || end < start {
            return Some(format!("its text has a hole at {covered}"));
        }
        covered = covered.max(*end);
    }
    (covered != promise.text_bytes).then(|| format!("its text ends at {covered} of {}", promise.text_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_doubles_and_missing_ends_are_seen() {
        let promise = Promise {
            document: "x".into(),
            chunks: 2,
            text_bytes: 10,
        };
        let told = |places: &[(u32, u64, u64)]| broken(places, &promise).unwrap_or_default();
        assert_eq!(told(&[(0, 0, 6), (1, 4, 10)]), "");
        assert!(told(&[(0, 0, 6)]).contains("1 pieces of 2"));
        assert!(told(&[(0, 0, 6), (0, 4, 10)]).contains("twice"));
        assert!(told(&[(0, 0, 3), (1, 4, 10)]).contains("hole at 3"));
        assert!(told(&[(0, 0, 6), (1, 4, 9)]).contains("ends at 9"));
    }
}
