//! Facts of another store, or of this one at another time.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use uuid::{NoContext, Uuid};

use super::Inner;
use super::facts::FactRow;
use super::predicate::Predicate;
use super::sharing::Attempts;
use crate::fact::FactVersion;
use crate::names::Principal;
use crate::store::StoreError;

impl Inner {
    /// All versions of facts, those of a fact together and in order.
    pub(super) async fn fact_versions(&self, which: &Predicate) -> Result<Vec<FactVersion>, StoreError> {
        Ok(versions(self.read_fact_rows(which).await?))
    }

    /// Takes facts over, each with its whole history. Of a fact that is here, too, the longer history stays. How many versions
    /// were stored.
    pub(super) async fn restore_facts(
        &self,
        principal: &Principal,
        versions: Vec<FactVersion>,
    ) -> Result<u64, StoreError> {
        let _writing = self.writing.lock().await;
        let mut attempts = Attempts::default();
        loop {
            self.follow().await?;
            let pin = self.facts.pin().await?;
            let written = self.decide_restored(principal, versions.clone()).await?;
            if written.is_empty() || self.write_facts(principal, &written, pin.as_ref()).await? {
                return Ok(written.len() as u64);
            }
            attempts.again().await?;
        }
    }

    /// The rows that are to be written.
    async fn decide_restored(
        &self,
        principal: &Principal,
        versions: Vec<FactVersion>,
    ) -> Result<Vec<FactRow>, StoreError> {
        let mut here: HashMap<Uuid, HashMap<u32, FactRow>> = HashMap::new();
        for row in self.read_fact_rows(&Predicate::of(principal)).await? {
            here.entry(row.fact.id).or_default().insert(row.fact.version, row);
        }
        let mut histories: BTreeMap<Uuid, BTreeMap<u32, FactVersion>> = BTreeMap::new();
        for version in versions {
            let history = histories.entry(version.fact.id).or_default();
            history.insert(version.fact.version, version);
        }
        let mut written = Vec::new();
        for (id, history) in histories {
            let mut known = here.remove(&id).unwrap_or_default();
            let newest = history.keys().next_back().copied();
            if newest <= known.keys().copied().max() {
                continue;
            }
            for (number, FactVersion { fact, ended_at, vector }) in history {
                self.ensure_collection(principal, &fact.collection).await?;
                let row = known
                    .remove(&number)
                    .map_or_else(|| row_of(fact.created_at), |known| known.row);
                // Only the newest holds, whatever the file says.
                let ended_at = ended_at.or((Some(number) != newest).then_some(fact.created_at));
                written.push(FactRow {
                    row,
                    fact,
                    ended_at,
                    vector,
                });
            }
            // What was here and is older does not hold beside it.
            let ended = known.into_values().filter(|known| known.ended_at.is_none());
            written.extend(ended.map(|known| FactRow {
                ended_at: Some(known.fact.created_at),
                ..known
            }));
        }
        Ok(written)
    }
}

/// Rows as versions, those of a fact together and in order.
pub(super) fn versions(mut rows: Vec<FactRow>) -> Vec<FactVersion> {
    rows.sort_by_key(|row| (row.fact.id, row.fact.version));
    let version = |FactRow {
                       fact, ended_at, vector, ..
                   }| FactVersion { fact, ended_at, vector };
    rows.into_iter().map(version).collect()
}

/// An identifier for the row of a fact that was stored elsewhere at a time: their order is that of their making.
fn row_of(created_at: Timestamp) -> Uuid {
    let seconds = u64::try_from(created_at.as_second()).unwrap_or(0);
    let nanoseconds = u32::try_from(created_at.subsec_nanosecond()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds))
}
