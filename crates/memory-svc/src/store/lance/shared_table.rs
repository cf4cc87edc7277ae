//! What a table needs where several processes write to it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use lance::Dataset;
use lancedb::Connection;

use super::failure::failed;
use super::pin::{Outcome, Pin, Present};
use super::sharing::Attempts;
use super::table::Table;
use crate::store::StoreError;

/// Says of a column that it is this part of the key.
const KEY_POSITION: &str = "lance-schema:unenforced-primary-key:position";

/// Which row is meant, by table: whose it is, and its place. An identifier alone never says it: two may have taken one exported
/// file in. No two processes may both insert the same key.
pub(super) mod key {
    pub(in super::super) const DOCUMENTS: [&str; 3] = ["principal", "collection", "uri"];
    pub(in super::super) const FACTS: [&str; 3] = ["principal", "id", "version"];
    pub(in super::super) const COLLECTIONS: [&str; 2] = ["principal", "name"];
    pub(in super::super) const META: [&str; 1] = ["schema_version"];
}

impl Table {
    /// Readies the table for several processes. `key`: the columns that are unique together, which the table then remembers:
    /// two merges on exactly these that insert the same key are a conflict.
    pub(super) async fn share(mut self, key: &[&str]) -> Result<Self, StoreError> {
        self.shared = true;
        let mut attempts = Attempts::default();
        while !self.identify_by(key).await? {
            attempts.again().await?;
        }
        Ok(self)
    }

    /// Reads through a handle of its own, which [`Self::show`] moves.
    pub(super) async fn read_apart(mut self, database: &Connection, name: &str) -> Result<Self, StoreError> {
        let view = database.open_table(name).execute().await;
        self.view = view.map_err(self.failed("opened a table"))?;
        Ok(self)
    }

    /// False: another process changed the table meanwhile.
    async fn identify_by(&self, key: &[&str]) -> Result<bool, StoreError> {
        let mut dataset = newest(&self.table).await.map_err(self.failed("read its state"))?;
        let known = dataset.schema().unenforced_primary_key();
        if known.iter().map(|field| field.name.as_str()).eq(key.iter().copied()) {
            move_to(&self.table, dataset);
            return Ok(true);
        }
        let failed = |error: lance::Error| failed(&self.path, "noted its key", error.into());
        let mut update = dataset.update_field_metadata();
        for (position, column) in (1..).zip(key) {
            update = update
                .update(*column, [(KEY_POSITION, format!("{position}").as_str())])
                .map_err(failed)?;
        }
        match update.await.map(drop).map_err(failed) {
            Ok(()) => {
                move_to(&self.table, dataset);
                Ok(true)
            }
            Err(StoreError::Busy) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is noted at the table as `name`.
    pub(super) async fn noted(&self, name: &str) -> Result<Option<String>, StoreError> {
        let dataset = newest(&self.table).await.map_err(self.failed("read its state"))?;
        Ok(dataset.metadata().get(name).cloned())
    }

    /// Notes `value` at the table as `name`. `keep`: unless something is noted there by then, whichever process does it; what is
    /// noted then.
    pub(super) async fn note(&self, name: &str, value: &str, keep: bool) -> Result<String, StoreError> {
        let mut attempts = Attempts::default();
        loop {
            let mut dataset = newest(&self.table).await.map_err(self.failed("read its state"))?;
            let known = dataset.metadata().get(name).cloned();
            if let Some(known) = known.filter(|_| keep) {
                return Ok(known);
            }
            // Of two that note something at once one is told.
            let noted = dataset.update_metadata([(name, value)]).await;
            match noted.map_err(|error| failed(&self.path, "noted what it is for", error.into())) {
                Ok(_) => return Ok(value.to_owned()),
                Err(StoreError::Busy) => attempts.again().await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// The state that readers see, for a commit to be based on; `None`: there is no other process.
    ///
    /// Whoever decides by what it reads takes this first and reads then: what is read is of this state or of a newer one.
    pub(super) async fn pin(&self) -> Result<Option<Pin>, StoreError> {
        if !self.shared {
            return Ok(None);
        }
        let dataset = state(&self.view).await.map_err(self.failed("read its state"))?;
        Ok(Some(Pin::new(dataset, self.path.clone())))
    }

    /// Merges rows into the state that `pin` is of, see [`Pin::merge`].
    pub(super) async fn merge(
        &self,
        pin: &Pin,
        key: &[&str],
        rows: Vec<RecordBatch>,
        present: Present,
    ) -> Result<Outcome, StoreError> {
        let (outcome, dataset) = pin.merge(key, rows, present).await?;
        if let Some(dataset) = dataset {
            move_to(&self.table, dataset);
        }
        Ok(outcome)
    }

    /// Goes on from the newest state. A write that is told by a condition sees only rows of the state it begins at.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        if self.shared {
            self.table
                .checkout_latest()
                .await
                .map_err(self.failed("read its state"))?;
        }
        Ok(())
    }

    /// Makes readers see the newest state.
    pub(super) async fn reload(&self) -> Result<(), StoreError> {
        self.view.checkout_latest().await.map_err(self.failed("read its state"))
    }

    /// The state that is written to.
    pub(super) async fn state(&self) -> Result<Arc<Dataset>, StoreError> {
        state(&self.table).await.map_err(self.failed("read its state"))
    }

    /// The newest state, which readers do not see yet.
    pub(super) async fn newest(&self) -> Result<Dataset, StoreError> {
        newest(&self.view).await.map_err(self.failed("read its state"))
    }

    /// True when nothing was committed since.
    pub(super) async fn is_newest(&self, dataset: &Dataset) -> Result<bool, StoreError> {
        let newest = dataset.latest_version_id().await;
        let newest = newest.map_err(|error| failed(&self.path, "read its state", error.into()))?;
        Ok(newest == dataset.version().version)
    }

    /// Makes readers see a state, unless they see a newer one.
    pub(super) fn show(&self, dataset: Dataset) {
        move_to(&self.view, dataset);
    }
}

/// The state that a handle is at.
async fn state(handle: &lancedb::Table) -> Result<Arc<Dataset>, lancedb::Error> {
    match handle.dataset() {
        Some(dataset) => dataset.get().await,
        // A table of LanceDB's cloud, which is never opened.
        None => Err(lancedb::Error::Runtime {
            message: "it is no table of this process".into(),
        }),
    }
}

fn move_to(handle: &lancedb::Table, state: Dataset) {
    if let Some(dataset) = handle.dataset() {
        dataset.update(state);
    }
}

async fn newest(handle: &lancedb::Table) -> Result<Dataset, lancedb::Error> {
    let mut dataset = Arc::unwrap_or_clone(state(handle).await?);
    dataset.checkout_latest().await?;
    Ok(dataset)
}
