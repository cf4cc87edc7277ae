//! Search: by cosine similarity of vectors, in memory where they are held there ([`super::resident`]), or by BM25 of words.
//! Otherwise indexes ([`super::index`]) make both fast; what they do not know yet is looked at row by row, so that neither is
//! ever stale.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use uuid::Uuid;

use super::Inner;
use super::documents::now;
use super::facts::read_fact;
use super::piece::{PIECE_COLUMNS, Piece, fact_hit};
use super::pin::Pin;
use super::predicate::Predicate;
use super::rows::{Row, rows};
use super::table::{DISTANCE, FLAT_BELOW, SCORE, Table};
use crate::fact::Fact;
use crate::names::Principal;
use crate::query::{By, Filter, Found, HitKind, Parts, Query};
use crate::store::StoreError;

pub(super) const FACT_COLUMNS: [&str; 9] = [
    "row",
    "id",
    "collection",
    "text",
    "confidence",
    "valid_from",
    "valid_to",
    "provenance",
    "version",
];

/// A search asks again, without what turned out to be gone, so often at most.
const MOST_LOOKS: usize = 8;

/// Numbers of rows behind filters, remembered while the tables do not change: counting costs as much as searching.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<String, u64>>);

impl Counts {
    /// Filters that are remembered at most.
    const MOST: usize = 256;

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn get(&self, key: &str) -> Option<u64> {
        self.lock().get(key).copied()
    }

    fn set(&self, key: String, count: u64) {
        let mut counts = self.lock();
        if counts.len() >= Self::MOST {
            counts.clear();
        }
        counts.insert(key, count);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the tables gave.
struct Looked {
    /// Pieces first, then facts.
    found: Found,
    /// Where others write, too: those of the pieces, in their order, and the state of `documents` that says which of them live.
    lives: Option<(Vec<Uuid>, Pin)>,
}

impl Inner {
    pub(super) async fn search(&self, principal: &Principal, query: &Query) -> Result<Found, StoreError> {
        let Query {
            by,
            filter,
            limit,
            vectors,
        } = query;
        let now = now();
        if let By::Vector(vector) = by
            && let Some(found) = self.resident.nearest(principal, vector, filter, *limit, *vectors, now)
        {
            return Ok(ordered(found, *limit));
        }
        let (mut dead, mut of_version) = (HashSet::new(), 0);
        for looks in 1.. {
            let Looked { mut found, lives } = self.search_tables(principal, query, &dead, now).await?;
            let Some((generations, state)) = lives else {
                return Ok(ordered(found, *limit));
            };
            let gone = gone(principal, &state, &generations).await?;
            let mut pieces = generations.iter();
            found
                .hits
                .retain(|hit| hit.kind != HitKind::Document || pieces.next().is_none_or(|of| !gone.contains(of)));
            // There were fewer than wanted, so there are no others.
            if gone.is_empty() || generations.len() < *limit || looks == MOST_LOOKS {
                return Ok(ordered(found, *limit));
            }
            // What does not live in one state may live in the next.
            if state.version() != of_version {
                dead.clear();
                of_version = state.version();
            }
            dead.extend(gone);
        }
        Ok(Found::default())
    }

    /// Asks the tables, for all but pieces of the generations `dead`.
    async fn search_tables(
        &self,
        principal: &Principal,
        query: &Query,
        dead: &HashSet<Uuid>,
        now: Timestamp,
    ) -> Result<Looked, StoreError> {
        let Query {
            by,
            filter,
            limit,
            vectors,
        } = query;
        let now = now.as_microsecond();
        let of_documents = filter.kind != Some(HitKind::Fact);
        let of_facts = filter.finds_facts();
        let extra: &[&str] = if *vectors { &["vector"] } else { &[] };
        let generation: &[&str] = if self.shared.is_some() { &["generation"] } else { &[] };
        let chunk_columns = [&PIECE_COLUMNS[..], extra, generation].concat();
        let fact_columns = [&FACT_COLUMNS[..], &["created_at"], extra].concat();
        // Which generations are hidden and which state the tables have must be read together: see the parent's header.
        let hidden = self.hidden.read().await;
        let visible = chunk_filter(principal, filter).none_of("generation", hidden.union(dead).map(Uuid::to_string));
        let holding = bounded(Predicate::of(principal), filter).holding(now);
        // Without the time, which would make every count new; a fact that expires meanwhile is still counted.
        let lasting = bounded(Predicate::of(principal), filter).not_ended();
        let chunks = async {
            if !of_documents {
                return Ok((0, None));
            }
            let count = self.count(&self.chunks, "ordinal", &visible).await?;
            let best = self
                .chunks
                .best(&visible, &chunk_columns, by, *limit, count < FLAT_BELOW);
            Ok((count, Some(best.await?)))
        };
        let facts = async {
            if !of_facts {
                return Ok::<_, StoreError>((0, None));
            }
            let count = self.count(&self.facts, "version", &lasting).await?;
            let best = self.facts.best(&holding, &fact_columns, by, *limit, count < FLAT_BELOW);
            Ok((count, Some(best.await?)))
        };
        let ((of_chunks, chunks), (of_facts, facts)) = futures::try_join!(chunks, facts)?;
        let state = self.documents.pin().await?;
        drop(hidden);
        let mut found = Found {
            hits: Vec::new(),
            searched: of_chunks + of_facts,
        };
        let mut generations = Vec::new();
        if let Some(best) = chunks {
            for row in rows(&self.chunks.collect(best).await?) {
                let (score, parts) = score(row, by)?;
                let vector = if *vectors { row.vector()? } else { Vec::new() };
                found.hits.push(Piece::read(row, None)?.hit(score, parts, vector));
                if state.is_some() {
                    generations.push(row.id("generation")?);
                }
            }
        }
        if let Some(best) = facts {
            for row in rows(&self.facts.collect(best).await?) {
                let (score, parts) = score(row, by)?;
                let vector = if *vectors { row.vector()? } else { Vec::new() };
                found.hits.push(fact_hit(read_fact(row)?, score, parts, vector));
            }
        }
        let lives = state.map(|state| (generations, state));
        Ok(Looked { found, lives })
    }

    pub(super) async fn near_facts(
        &self,
        principal: &Principal,
        vector: &[f32],
        limit: usize,
    ) -> Result<Vec<(Fact, f32)>, StoreError> {
        let now = now();
        if let Some(facts) = self.resident.near_facts(principal, vector, limit, now) {
            return Ok(facts);
        }
        let which = Predicate::of(principal).holding(now.as_microsecond());
        let columns = [&FACT_COLUMNS[..], &["created_at"]].concat();
        let by = By::Vector(vector.to_vec());
        let batches = self
            .facts
            .collect(self.facts.best(&which, &columns, &by, limit, false).await?)
            .await?;
        let facts: Result<Vec<_>, _> = rows(&batches).map(|row| Ok((read_fact(row)?, cosine(row)?))).collect();
        let mut facts = facts?;
        facts.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.id.cmp(&a.0.id)));
        Ok(facts)
    }

    /// How many rows a filter lets through, in the table's present state.
    async fn count(&self, table: &Table, column: &str, which: &Predicate) -> Result<u64, StoreError> {
        let key = format!("{column} {} {}", table.version().await?, which.expr());
        if let Some(count) = self.counts.get(&key) {
            return Ok(count);
        }
        let rows = table.read(which, &[column]).await?;
        let count = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        self.counts.set(key, count);
        Ok(count)
    }
}

/// Those of the generations that no document has in this state.
async fn gone(principal: &Principal, state: &Pin, generations: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    let mut gone: HashSet<Uuid> = generations.iter().copied().collect();
    if gone.is_empty() {
        return Ok(gone);
    }
    let which = Predicate::of(principal).any_of("generation", gone.iter().map(Uuid::to_string));
    for row in rows(&state.read(&which, &["generation"]).await?) {
        gone.remove(&row.id("generation")?);
    }
    Ok(gone)
}

/// Best first; equal scores: the newer first, so that the order is always the same.
fn ordered(mut found: Found, limit: usize) -> Found {
    found
        .hits
        .sort_by(|a, b| b.score.total_cmp(&a.score).then(b.id.cmp(&a.id)));
    found.hits.truncate(limit);
    found
}

fn chunk_filter(principal: &Principal, filter: &Filter) -> Predicate {
    bounded(Predicate::of(principal), filter)
        .any_of("document", filter.documents.iter().map(Uuid::to_string))
        .starts_with("uri", &filter.uri_prefix)
}

fn bounded(mut which: Predicate, filter: &Filter) -> Predicate {
    which = which.any_of("collection", filter.collections.iter().map(ToString::to_string));
    if let Some(after) = filter.created_after {
        which = which.later("created_at", after.as_microsecond());
    }
    if let Some(before) = filter.created_before {
        which = which.earlier("created_at", before.as_microsecond());
    }
    which
}

/// Cosine similarity: rounding may carry the distance a little out of its range.
fn cosine(row: Row<'_>) -> Result<f32, StoreError> {
    Ok((1.0 - row.fraction(DISTANCE)?).clamp(-1.0, 1.0))
}

fn score(row: Row<'_>, by: &By) -> Result<(f32, Parts), StoreError> {
    let mut parts = Parts::default();
    let (score, part) = match by {
        By::Vector(_) => (cosine(row)?, &mut parts.dense),
        By::Words(_) => (row.fraction(SCORE)?, &mut parts.text),
    };
    *part = Some(score);
    Ok((score, parts))
}
