//! A table's state that a write was decided by, and commits on it: done if nobody was faster, else lost.
//!
//! Lance compares a commit with all that were made since the state that it is based on. So what was read of that state, or of a
//! newer one, still holds when the commit is done: compare and swap, on rows. LanceDB's own merges read again by themselves and
//! overwrite what they find, hence Lance's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow_array::{RecordBatch, RecordBatchIterator};
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::{MergeInsertBuilder, WhenMatched, WhenNotMatched};

use super::failure::{failed, is_conflict, is_unknown};
use super::predicate::Predicate;
use crate::store::StoreError;

/// A write is not based on a state older than this. What has been removed of the states in between cannot be compared, so it is
/// much less than states are kept ([`super::sharing::KEPT`]); a machine that slept over it decides again.
const FRESH: Duration = Duration::from_secs(600);

/// A state of a table.
pub(super) struct Pin {
    dataset: Arc<Dataset>,
    path: PathBuf,
    taken: (Instant, SystemTime),
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is there.
    Done,
    /// Another one came first: nothing was changed.
    Lost,
    /// The store did not say.
    Unknown,
}

/// What a merge does with a row that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Present {
    /// Replaces it.
    Replaced,
    /// Leaves it.
    Kept,
}

impl Pin {
    pub(super) fn new(dataset: Arc<Dataset>, path: PathBuf) -> Self {
        Self {
            dataset,
            path,
            taken: (Instant::now(), SystemTime::now()),
        }
    }

    /// Number of the state.
    pub(super) fn version(&self) -> u64 {
        self.dataset.version().version
    }

    /// Rows of this state.
    pub(super) async fn read(&self, which: &Predicate, columns: &[&str]) -> Result<Vec<RecordBatch>, StoreError> {
        let failed = |error: lance::Error| failed(&self.path, "read rows", error.into());
        let mut scan = self.dataset.scan();
        scan.project(columns).map_err(failed)?;
        scan.filter_expr(which.expr().clone());
        let rows = scan.try_into_stream().await.map_err(failed)?;
        rows.try_collect().await.map_err(failed)
    }

    /// Puts rows, of which there are some, where `key` says, unless somebody changed a row with such a key since.
    pub(super) async fn merge(
        &self,
        key: &[&str],
        rows: Vec<RecordBatch>,
        present: Present,
    ) -> Result<(Outcome, Option<Dataset>), StoreError> {
        if !self.is_fresh() {
            return Ok((Outcome::Lost, None));
        }
        let Some(schema) = rows.first().map(RecordBatch::schema) else {
            return Ok((Outcome::Done, None));
        };
        let failed = |error: lance::Error| failed(&self.path, "replaced rows", error.into());
        let key = key.iter().map(ToString::to_string).collect();
        let mut merge = MergeInsertBuilder::try_new(Arc::clone(&self.dataset), key).map_err(failed)?;
        merge
            .when_matched(match present {
                Present::Replaced => WhenMatched::UpdateAll,
                Present::Kept => WhenMatched::DoNothing,
            })
            .when_not_matched(WhenNotMatched::InsertAll)
            // Read again by itself, it would overwrite what it was not decided by.
            .conflict_retries(0)
            // An index of the key's columns would make Lance write down no keys, and two could insert the same.
            .use_index(false);
        let rows = RecordBatchIterator::new(rows.into_iter().map(Ok), schema);
        match merge
            .try_build()
            .map_err(failed)?
            .execute_reader(Box::new(rows) as Box<dyn arrow_array::RecordBatchReader + Send>)
            .await
        {
            Ok((dataset, _)) => Ok((Outcome::Done, Some(Arc::unwrap_or_clone(dataset)))),
            Err(error) => {
                let error = lancedb::Error::from(error);
                if is_conflict(&error) {
                    Ok((Outcome::Lost, None))
                } else if is_unknown(&error) {
                    Ok((Outcome::Unknown, None))
                } else {
                    Err(super::failure::failed(&self.path, "replaced rows", error))
                }
            }
        }
    }

    /// By both clocks: one stands still while the machine sleeps, the other may be set.
    fn is_fresh(&self) -> bool {
        let (monotonic, wall) = self.taken;
        monotonic.elapsed() < FRESH && wall.elapsed().is_ok_and(|elapsed| elapsed < FRESH)
    }
}
