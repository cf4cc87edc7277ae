//! What searches by meaning find, held in memory beside the tables: vectors, texts and where they stand.
//!
//! The tables decide; this follows. A write changes it after its commit and before it is acknowledged, while `writing` is
//! held. Of a write that failed nobody knows what it committed: then nothing is held until upkeep has read the tables again.
//! Nothing is held either where it would take more than `memory.search.resident_mb`. In both cases searches ask the tables, which is
//! right, only slower: docs/adr/0022 says how much.

use std::collections::{HashMap, HashSet};
use std::mem::size_of;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use solo_vectors::{Key, Vectors};
use uuid::Uuid;

use super::facts::dialogue;
use super::piece::{Piece, PieceOf, fact_hit};
use crate::fact::{Fact, Selector};
use crate::names::{CollectionName, Principal};
use crate::query::{Filter, Found, HitKind, Parts};

/// Room that an entry takes beside its vector and text, about.
const ENTRY_BYTES: usize = 200;

/// What is held.
pub(super) struct Resident {
    dimension: usize,
    most_bytes: u64,
    /// Rows that have no room, as an attempt has shown.
    too_many: AtomicU64,
    held: RwLock<Option<Held>>,
}

#[derive(Default)]
pub(super) struct Held {
    people: HashMap<Principal, Person>,
    bytes: u64,
}

struct Person {
    pieces: Vectors<Piece>,
    /// Pieces by the generation that they belong to.
    generations: HashMap<Uuid, Vec<Key>>,
    /// Newest versions that were not ended, by their rows.
    facts: Vectors<Fact>,
    fact_rows: HashMap<Uuid, Key>,
}

impl Resident {
    pub(super) fn new(dimension: usize, most_bytes: u64) -> Self {
        Self {
            dimension,
            most_bytes,
            too_many: AtomicU64::new(u64::MAX),
            held: RwLock::default(),
        }
    }

    /// Whether so many rows may have room: their texts are not counted, but what an attempt has shown is.
    pub(super) fn has_room_for(&self, rows: u64) -> bool {
        let least = rows.saturating_mul((self.vector_bytes() + ENTRY_BYTES) as u64);
        self.most_bytes > 0 && least <= self.most_bytes && rows < self.too_many.load(Relaxed)
    }

    /// So many are being read; unless [`Self::hold`] follows they are too many.
    pub(super) fn expect_no_room_for(&self, rows: u64) {
        self.too_many.store(rows, Relaxed);
    }

    pub(super) fn is_held(&self) -> bool {
        self.read().is_some()
    }

    /// Takes over what was read from the tables; the caller holds `writing` since before.
    pub(super) fn hold(&self, held: Held) {
        self.too_many.store(u64::MAX, Relaxed);
        *self.write() = Some(held);
    }

    /// Holds nothing: what is held may not be what the tables hold.
    pub(super) fn drop_all(&self) {
        *self.write() = None;
    }

    /// Adds a piece to what is being read or held; false: there is no room.
    pub(super) fn add_piece(
        &self,
        held: &mut Held,
        principal: &Principal,
        generation: Uuid,
        piece: Piece,
        vector: &[f32],
    ) -> bool {
        held.bytes += self.bytes_of(piece.text.len());
        let person = held.person(principal, self.dimension);
        let key = person.pieces.insert(vector, piece);
        person.generations.entry(generation).or_default().push(key);
        held.bytes <= self.most_bytes
    }

    /// Adds a fact likewise.
    pub(super) fn add_fact(
        &self,
        held: &mut Held,
        principal: &Principal,
        row: Uuid,
        fact: Fact,
        vector: &[f32],
    ) -> bool {
        held.bytes += self.bytes_of(fact.text.len());
        let person = held.person(principal, self.dimension);
        let key = person.facts.insert(vector, fact);
        person.fact_rows.insert(row, key);
        held.bytes <= self.most_bytes
    }

    /// Changes what is held, if anything is; `change` says whether it still has room. False: it has not, and nothing is held.
    pub(super) fn change(&self, change: impl FnOnce(&mut Held) -> bool) -> bool {
        let mut held = self.write();
        let Some(held_now) = held.as_mut() else { return true };
        if change(held_now) {
            return true;
        }
        let (pieces, facts, _) = held_now.size();
        self.too_many.store((pieces + facts) as u64, Relaxed);
        tracing::info!(
            megabytes = self.most_bytes >> 20,
            "there is more in the store than memory.search.resident_mb has room for: searches read it from the disk"
        );
        *held = None;
        false
    }

    /// Takes the pieces of generations out.
    pub(super) fn remove_generations(&self, held: &mut Held, principal: &Principal, generations: &[Uuid]) {
        let Some(person) = held.people.get_mut(principal) else {
            return;
        };
        let keys = generations
            .iter()
            .filter_map(|generation| person.generations.remove(generation));
        for key in keys.flatten() {
            if let Some(piece) = person.pieces.remove(key) {
                held.bytes = held.bytes.saturating_sub(self.bytes_of(piece.text.len()));
            }
        }
    }

    /// Takes rows of facts out.
    pub(super) fn remove_fact_rows(&self, held: &mut Held, principal: &Principal, rows: impl Iterator<Item = Uuid>) {
        let Some(person) = held.people.get_mut(principal) else {
            return;
        };
        for row in rows {
            let fact = person.fact_rows.remove(&row).and_then(|key| person.facts.remove(key));
            if let Some(fact) = fact {
                held.bytes = held.bytes.saturating_sub(self.bytes_of(fact.text.len()));
            }
        }
    }

    /// Takes facts out.
    fn remove_facts(&self, held: &mut Held, principal: &Principal, which: impl Fn(&Fact) -> bool) {
        let Some(person) = held.people.get_mut(principal) else {
            return;
        };
        let gone: Vec<Uuid> = person
            .fact_rows
            .iter()
            .filter(|(_, key)| person.facts.get(**key).is_some_and(&which))
            .map(|(row, _)| *row)
            .collect();
        self.remove_fact_rows(held, principal, gone.into_iter());
    }

    /// Takes out what was forgotten.
    pub(super) fn forget(&self, principal: &Principal, selector: &Selector) {
        let _has_room = self.change(|held| {
            self.remove_facts(held, principal, |fact| match selector {
                Selector::Fact(id) => fact.id == *id,
                Selector::Dialogue(of) => dialogue(&fact.provenance) == of,
                Selector::Everything => true,
            });
            true
        });
    }

    /// Takes the facts of a collection out.
    pub(super) fn forget_collection(&self, principal: &Principal, name: &CollectionName) {
        let _has_room = self.change(|held| {
            self.remove_facts(held, principal, |fact| fact.collection == *name);
            true
        });
    }

    /// The pieces and facts nearest to a vector; `None`: nothing is held.
    pub(super) fn nearest(
        &self,
        principal: &Principal,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
        vectors: bool,
        now: Timestamp,
    ) -> Option<Found> {
        let held = self.read();
        let held = held.as_ref()?;
        let Some(person) = held.people.get(principal) else {
            return Some(Found::default());
        };
        let mut found = Found::default();
        let parts = |cosine| Parts {
            dense: Some(cosine),
            ..Parts::default()
        };
        if filter.kind != Some(HitKind::Fact) {
            let documents: HashSet<Uuid> = filter.documents.iter().copied().collect();
            let accept = |piece: &Piece| {
                (documents.is_empty() || documents.contains(&piece.of.document)) && accepts_piece(filter, &piece.of)
            };
            let count = if filter.bounds_nothing() {
                person.pieces.len()
            } else {
                person.pieces.iter().filter(|(_, piece)| accept(piece)).count()
            };
            found.searched += count as u64;
            for (key, cosine) in person.pieces.nearest(vector, limit, count, accept) {
                let vector = if vectors { person.pieces.vector(key) } else { None };
                let piece = person.pieces.get(key)?;
                found
                    .hits
                    .push(piece.hit(cosine, parts(cosine), vector.unwrap_or_default()));
            }
        }
        if filter.finds_facts() {
            let accept = |fact: &Fact| accepts_fact(filter, fact, now);
            let count = person.facts.iter().filter(|(_, fact)| accept(fact)).count();
            found.searched += count as u64;
            for (key, cosine) in person.facts.nearest(vector, limit, count, accept) {
                let vector = if vectors { person.facts.vector(key) } else { None };
                let fact = person.facts.get(key)?.clone();
                found
                    .hits
                    .push(fact_hit(fact, cosine, parts(cosine), vector.unwrap_or_default()));
            }
        }
        Some(found)
    }

    /// Facts that hold, nearest to a vector first; `None`: nothing is held.
    pub(super) fn near_facts(
        &self,
        principal: &Principal,
        vector: &[f32],
        limit: usize,
        now: Timestamp,
    ) -> Option<Vec<(Fact, f32)>> {
        let held = self.read();
        let Some(person) = held.as_ref()?.people.get(principal) else {
            return Some(Vec::new());
        };
        let count = person.facts.iter().filter(|(_, fact)| holds(fact, now)).count();
        let found = person.facts.nearest(vector, limit, count, |fact| holds(fact, now));
        found
            .into_iter()
            .map(|(key, cosine)| Some((person.facts.get(key)?.clone(), cosine)))
            .collect()
    }

    /// Makes better lists where they are worth it; the caller holds `writing`. Searches go on meanwhile.
    pub(super) fn rearrange(&self) {
        let arrangements: Vec<_> = {
            let held = self.read();
            let Some(held) = held.as_ref() else { return };
            let person = |(principal, person): (&Principal, &Person)| {
                (principal.clone(), person.pieces.rearranged(), person.facts.rearranged())
            };
            held.people.iter().map(person).collect()
        };
        let mut held = self.write();
        let Some(held) = held.as_mut() else { return };
        for (principal, pieces, facts) in arrangements {
            let Some(person) = held.people.get_mut(&principal) else {
                continue;
            };
            if let Some(pieces) = pieces {
                person.pieces.adopt(pieces);
            }
            if let Some(facts) = facts {
                person.facts.adopt(facts);
            }
        }
    }

    /// Identifiers of the pieces and rows of the facts that are held; `None`: nothing is.
    pub(super) fn identifiers(&self) -> Option<(HashSet<Uuid>, HashSet<Uuid>)> {
        let held = self.read();
        let people = held.as_ref()?.people.values();
        let mut found = (HashSet::new(), HashSet::new());
        for person in people {
            found.0.extend(person.pieces.iter().map(|(_, piece)| piece.id));
            found.1.extend(person.fact_rows.keys());
        }
        Some(found)
    }

    fn vector_bytes(&self) -> usize {
        self.dimension * size_of::<i16>()
    }

    fn bytes_of(&self, text: usize) -> u64 {
        (self.vector_bytes() + ENTRY_BYTES + text) as u64
    }

    // Nothing panics between two changes that belong together.
    fn read(&self) -> RwLockReadGuard<'_, Option<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Held>> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Pieces and facts, and the room that they take.
    pub(super) fn size(&self) -> (usize, usize, u64) {
        let people = || self.people.values();
        let pieces = people().map(|person| person.pieces.len()).sum();
        (pieces, people().map(|person| person.facts.len()).sum(), self.bytes)
    }

    fn person(&mut self, principal: &Principal, dimension: usize) -> &mut Person {
        self.people.entry(principal.clone()).or_insert_with(|| Person {
            pieces: Vectors::new(dimension),
            generations: HashMap::new(),
            facts: Vectors::new(dimension),
            fact_rows: HashMap::new(),
        })
    }
}

fn accepts_piece(filter: &Filter, of: &Arc<PieceOf>) -> bool {
    (filter.collections.is_empty() || filter.collections.contains(&of.collection))
        && of.uri.starts_with(&filter.uri_prefix)
        && in_time(filter, of.created_at)
}

fn accepts_fact(filter: &Filter, fact: &Fact, now: Timestamp) -> bool {
    (filter.collections.is_empty() || filter.collections.contains(&fact.collection))
        && in_time(filter, fact.created_at)
        && holds(fact, now)
}

fn in_time(filter: &Filter, created_at: Timestamp) -> bool {
    filter.created_after.is_none_or(|after| created_at > after)
        && filter.created_before.is_none_or(|before| created_at < before)
}

fn holds(fact: &Fact, now: Timestamp) -> bool {
    fact.valid_to.is_none_or(|end| end > now)
}
