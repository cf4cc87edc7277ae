//! Facts: one row a version. All changes of a call are one merge, hence one commit: all or none.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use jiff::Timestamp;
use uuid::Uuid;

use super::Inner;
use super::document_rows::read_collection;
use super::documents::now;
use super::nearest::FACT_COLUMNS;
use super::pin::{Outcome, Pin, Present};
use super::predicate::Predicate;
use super::rows::{Row, batch, rows, vectors};
use super::schema;
use super::shared_table::key;
use super::sharing::Attempts;
use super::table::Rows;
use crate::fact::{Fact, FactChange, FactDraft, Forgotten, Known, Selector};
use crate::names::Principal;
use crate::page::PageRequest;
use crate::store::{FactPage, StoreError};

/// A version of a fact as a row.
#[derive(Clone)]
pub(super) struct FactRow {
    pub(super) row: Uuid,
    pub(super) fact: Fact,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) vector: Vec<f32>,
}

impl FactRow {
    fn new(draft: FactDraft, id: Uuid, version: u32, now: Timestamp) -> Self {
        let FactDraft {
            text,
            confidence,
            valid_from,
            valid_to,
            provenance,
            collection,
            vector,
        } = draft;
        let fact = Fact {
            id,
            text,
            confidence,
            valid_from,
            valid_to,
            provenance,
            version,
            created_at: now,
            collection,
        };
        Self {
            row: Uuid::now_v7(),
            fact,
            ended_at: None,
            vector,
        }
    }

    /// Ends it: it was valid until `until`, unless it was known to end before.
    fn end(&mut self, until: Timestamp, now: Timestamp) {
        self.fact.valid_to = Some(self.fact.valid_to.map_or(until, |known| known.min(until)));
        self.ended_at = Some(now);
    }
}

impl Inner {
    pub(super) async fn apply_facts(
        &self,
        principal: &Principal,
        changes: Vec<FactChange>,
    ) -> Result<Vec<Fact>, StoreError> {
        let _writing = self.writing.lock().await;
        let mut attempts = Attempts::default();
        loop {
            self.follow().await?;
            let pin = self.facts.pin().await?;
            let (answers, written) = self.decide_facts(principal, changes.clone()).await?;
            if self.write_facts(principal, &written, pin.as_ref()).await? {
                return Ok(answers);
            }
            attempts.again().await?;
        }
    }

    /// The answers to changes, and the rows that they write.
    async fn decide_facts(
        &self,
        principal: &Principal,
        changes: Vec<FactChange>,
    ) -> Result<(Vec<Fact>, Vec<FactRow>), StoreError> {
        let mut latest = self.latest_versions(principal, &changes).await?;
        let now = now();
        let (mut answers, mut written) = (Vec::with_capacity(changes.len()), Vec::new());
        for change in changes {
            match change {
                FactChange::Add(draft) => {
                    self.ensure_collection(principal, &draft.collection).await?;
                    let new = FactRow::new(draft, Uuid::now_v7(), 1, now);
                    answers.push(new.fact.clone());
                    written.push(new);
                }
                FactChange::Supersede(known, draft) => {
                    self.ensure_collection(principal, &draft.collection).await?;
                    let mut old = expected(&mut latest, known)?;
                    let new = FactRow::new(draft, known.id, known.version.saturating_add(1), now);
                    old.end(new.fact.valid_from.unwrap_or(now), now);
                    answers.push(new.fact.clone());
                    written.extend([old, new]);
                }
                FactChange::Retract(known) => {
                    let mut old = expected(&mut latest, known)?;
                    answers.push(old.fact.clone());
                    old.end(now, now);
                    written.push(old);
                }
            }
        }
        Ok((answers, written))
    }

    /// Writes versions of facts, each in place of its row if there is one. The caller holds the write lock. False: another
    /// process was faster; `pin` is what the caller decided by.
    pub(super) async fn write_facts(
        &self,
        principal: &Principal,
        written: &[FactRow],
        pin: Option<&Pin>,
    ) -> Result<bool, StoreError> {
        let rows = vec![self.fact_rows(principal, written)?];
        match pin {
            Some(pin) => {
                let outcome = self.facts.merge(pin, &key::FACTS, rows, Present::Replaced).await?;
                if outcome != Outcome::Done && !(outcome == Outcome::Unknown && self.are_there(written).await?) {
                    return Ok(false);
                }
                self.check_collections(principal, written).await?;
            }
            None => self.facts.upsert(&["principal", "row"], rows).await?,
        }
        self.change_held(|held| {
            self.resident
                .remove_fact_rows(held, principal, written.iter().map(|row| row.row));
            let mut lasting = written.iter().filter(|row| row.ended_at.is_none());
            lasting.all(|row| {
                self.resident
                    .add_fact(held, principal, row.row, row.fact.clone(), &row.vector)
            })
        });
        self.note_write(false);
        Ok(true)
    }

    /// Whether the newest state has these rows, as a commit that was never answered would have left them.
    pub(super) async fn are_there(&self, written: &[FactRow]) -> Result<bool, StoreError> {
        self.facts.reload().await?;
        let which = Predicate::of_everybody("row", written.iter().map(|row| row.row.to_string()));
        let batches = self.facts.read(&which, &["row", "ended_at"]).await?;
        let mut there = HashMap::new();
        for row in rows(&batches) {
            there.insert(row.id("row")?, row.maybe_time("ended_at")?);
        }
        Ok(written.iter().all(|row| there.get(&row.row) == Some(&row.ended_at)))
    }

    /// Drops facts of collections that were deleted meanwhile, as their deletion did: see [`super::put`].
    async fn check_collections(&self, principal: &Principal, written: &[FactRow]) -> Result<(), StoreError> {
        self.collections.reload().await?;
        for row in written.iter().filter(|row| row.ended_at.is_none()) {
            let name = &row.fact.collection;
            let Err(gone) = self.ensure_collection(principal, name).await else {
                continue;
            };
            if matches!(gone, StoreError::NotFound { .. }) {
                let inside = Predicate::of(principal).is("collection", name.as_str());
                self.facts.delete(&inside).await?;
            }
            return Err(gone);
        }
        Ok(())
    }

    /// The newest version of each fact that `changes` name.
    async fn latest_versions(
        &self,
        principal: &Principal,
        changes: &[FactChange],
    ) -> Result<HashMap<Uuid, FactRow>, StoreError> {
        let ids: Vec<String> = changes
            .iter()
            .filter_map(|change| Some(change.known()?.id.to_string()))
            .collect();
        let mut latest = HashMap::new();
        if ids.is_empty() {
            return Ok(latest);
        }
        for version in self.read_fact_rows(&Predicate::of(principal).any_of("id", ids)).await? {
            let newest = latest.entry(version.fact.id).or_insert_with(|| version.clone());
            if newest.fact.version < version.fact.version {
                *newest = version;
            }
        }
        Ok(latest)
    }

    pub(super) async fn read_fact_rows(&self, which: &Predicate) -> Result<Vec<FactRow>, StoreError> {
        read_fact_rows(&self.facts.collect(self.scan_facts(which).await?).await?)
    }

    /// Asks for all that [`read_fact_rows`] wants.
    pub(super) async fn scan_facts(&self, which: &Predicate) -> Result<Rows, StoreError> {
        let columns = [&FACT_COLUMNS[..], &["created_at", "ended_at", "vector"]].concat();
        self.facts.scan(Some(which), &columns).await
    }

    pub(super) async fn list_facts(
        &self,
        principal: &Principal,
        past: bool,
        page: &PageRequest<Uuid>,
    ) -> Result<FactPage, StoreError> {
        let mut which = Predicate::of(principal);
        if !past {
            which = which.holding(now().as_microsecond());
        }
        if let Some(after) = page.after {
            which = which.less("row", &after.to_string());
        }
        let columns = [&FACT_COLUMNS[..], &["created_at"]].concat();
        let batches = self
            .facts
            .ordered(&which, &columns, "row", false, Some(page.size + 1))
            .await?;
        let mut facts = Vec::new();
        for row in rows(&batches) {
            facts.push((row.id("row")?, read_fact(row)?));
        }
        let page = crate::page::Page::cut(facts, page.size, |(row, _)| row.to_string());
        Ok(FactPage {
            items: page.items.into_iter().map(|(_, fact)| fact).collect(),
            next: page.next,
        })
    }

    pub(super) async fn forget(&self, principal: &Principal, selector: &Selector) -> Result<Forgotten, StoreError> {
        let _writing = self.writing.lock().await;
        self.follow().await?;
        let everything = Predicate::of(principal);
        let which = match selector {
            Selector::Fact(id) => everything.clone().is("id", &id.to_string()),
            Selector::Dialogue(dialogue) => everything.clone().is("dialogue", dialogue),
            Selector::Everything => everything.clone(),
        };
        let mut forgotten = Forgotten {
            facts: self.count_facts(&which).await?,
            documents: 0,
        };
        if let Selector::Fact(id) = selector
            && forgotten.facts == 0
        {
            return Err(StoreError::NotFound {
                what: "fact",
                name: id.to_string(),
            });
        }
        if *selector == Selector::Everything {
            let documents = self.document_rows(&everything).await?;
            forgotten.documents = self.drop_documents(principal, &everything, &documents).await?;
            self.collections.delete(&everything).await?;
        }
        self.facts.delete(&which).await?;
        self.resident.forget(principal, selector);
        self.note_write(true);
        Ok(forgotten)
    }

    /// Facts behind a filter, each counted once.
    async fn count_facts(&self, which: &Predicate) -> Result<u64, StoreError> {
        let batches = self.facts.read(which, &["id"]).await?;
        let ids: Result<std::collections::HashSet<Uuid>, _> = rows(&batches).map(|row| row.id("id")).collect();
        Ok(ids?.len() as u64)
    }

    fn fact_rows(&self, principal: &Principal, versions: &[FactRow]) -> Result<RecordBatch, StoreError> {
        let text = |of: &dyn Fn(&FactRow) -> String| {
            Arc::new(StringArray::from_iter_values(versions.iter().map(of))) as ArrayRef
        };
        let time = |of: &dyn Fn(&FactRow) -> Option<Timestamp>| {
            let micros = versions
                .iter()
                .map(|version| of(version).map(Timestamp::as_microsecond));
            Arc::new(micros.collect::<Int64Array>()) as ArrayRef
        };
        let columns: Vec<ArrayRef> = vec![
            text(&|version| version.row.to_string()),
            text(&|version| version.fact.id.to_string()),
            text(&|_| principal.as_str().to_owned()),
            text(&|version| version.fact.collection.to_string()),
            text(&|version| version.fact.text.clone()),
            Arc::new(Float32Array::from_iter_values(
                versions.iter().map(|version| version.fact.confidence),
            )),
            time(&|version| version.fact.valid_from),
            time(&|version| version.fact.valid_to),
            text(&|version| version.fact.provenance.clone()),
            text(&|version| dialogue(&version.fact.provenance).to_owned()),
            Arc::new(UInt32Array::from_iter_values(
                versions.iter().map(|version| version.fact.version),
            )),
            time(&|version| Some(version.fact.created_at)),
            time(&|version| version.ended_at),
            vectors(versions.iter().map(|version| version.vector.as_slice()), self.dimension)?,
        ];
        batch(schema::facts(self.dimension), columns)
    }
}

/// Versions of facts from their rows.
pub(super) fn read_fact_rows(batches: &[RecordBatch]) -> Result<Vec<FactRow>, StoreError> {
    let row = |row: Row<'_>| {
        Ok(FactRow {
            row: row.id("row")?,
            fact: read_fact(row)?,
            ended_at: row.maybe_time("ended_at")?,
            vector: row.vector()?,
        })
    };
    rows(batches).map(row).collect()
}

/// Takes the newest version out of `latest` if it is the one that the caller knows.
fn expected(latest: &mut HashMap<Uuid, FactRow>, known: Known) -> Result<FactRow, StoreError> {
    let Known { id, version } = known;
    let found = latest.remove(&id).ok_or_else(|| StoreError::NotFound {
        what: "fact",
        name: id.to_string(),
    })?;
    if found.ended_at.is_some() {
        return Err(StoreError::FactEnded { id });
    }
    if found.fact.version != version {
        return Err(StoreError::FactChanged {
            id,
            expected: version,
            found: found.fact.version,
        });
    }
    Ok(found)
}

/// The dialogue of a provenance "dialogue/turn".
pub(super) fn dialogue(provenance: &str) -> &str {
    provenance.split('/').next().unwrap_or_default()
}

/// A row's fact; the row has [`FACT_COLUMNS`] and `created_at`.
pub(super) fn read_fact(row: Row<'_>) -> Result<Fact, StoreError> {
    Ok(Fact {
        id: row.id("id")?,
        text: row.text("text")?.to_owned(),
        confidence: row.fraction("confidence")?,
        valid_from: row.maybe_time("valid_from")?,
        valid_to: row.maybe_time("valid_to")?,
        provenance: row.text("provenance")?.to_owned(),
        version: row.number("version")?,
        created_at: row.time("created_at")?,
        collection: read_collection(row)?,
    })
}
