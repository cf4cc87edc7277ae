//! One Lance table, opened once and kept: the few operations that the store needs, with its errors.

use std::path::{Path, PathBuf};

use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::SchemaRef;
use futures::TryStreamExt;
use lancedb::index::scalar::FullTextSearchQuery;
use lancedb::query::{ColumnOrdering, ExecutableQuery, Query, QueryBase, Select};
use lancedb::table::{CompactionOptions, OptimizeAction};
use lancedb::{Connection, DistanceType};

use super::creating;
use super::failure::{broken, failed};
use super::predicate::Predicate;
use super::sharing::Sharing;
use crate::query::By;
use crate::store::StoreError;

/// Rows that a file should have: enough to read fast, few enough that joining small files rewrites little.
const ROWS_PER_FILE: usize = 16_384;
/// Partitions of an index by vector that are looked at, at least; more where they hold too few rows that a filter lets through.
const PROBES: usize = 20;
/// Candidates of an index by vector for each row wanted, which their vectors themselves then rank.
const REFINE: u32 = 3;
/// Where a filter lets fewer rows through, each is looked at: an index would find some of them.
pub(super) const FLAT_BELOW: u64 = 10_000;
/// The column that a nearest-neighbour search adds: cosine distance, 0 to 2.
pub(super) const DISTANCE: &str = "_distance";
/// The column that a search by words adds: BM25.
pub(super) const SCORE: &str = "_score";

/// A table.
pub(super) struct Table {
    /// Written through.
    pub(super) table: lancedb::Table,
    /// Read through: the same, but where it must not run ahead of another table ([`super::shared_table`]).
    pub(super) view: lancedb::Table,
    pub(super) path: PathBuf,
    /// Other processes write to it, too.
    pub(super) shared: bool,
}

/// Rows on their way, of the state that the table had when it was asked.
pub(super) type Rows = lancedb::arrow::SendableRecordBatchStream;

impl Table {
    fn of(table: lancedb::Table, path: &Path) -> Self {
        Self {
            view: table.clone(),
            table,
            path: path.to_owned(),
            shared: false,
        }
    }

    /// Opens a table as it is, if there is one.
    pub(super) async fn existing(database: &Connection, path: &Path, name: &str) -> Result<Option<Self>, StoreError> {
        match database.open_table(name).execute().await {
            Ok(table) => Ok(Some(Self::of(table, path))),
            Err(lancedb::Error::TableNotFound { .. }) => Ok(None),
            Err(error) => Err(failed(path, "opened a table", error)),
        }
    }

    /// Opens a table, or makes an empty one. `sharing`: other processes may be making it, too.
    pub(super) async fn open(
        database: &Connection,
        path: &Path,
        name: &str,
        schema: SchemaRef,
        sharing: Option<&Sharing>,
    ) -> Result<Self, StoreError> {
        // Opened first: creating what exists would write a little, which a full disk refuses.
        let table = match Self::existing(database, path, name).await? {
            Some(table) => table,
            None => match sharing {
                None => {
                    let made = database.create_empty_table(name, schema.clone()).execute().await;
                    Self::of(made.map_err(|error| failed(path, "made a table", error))?, path)
                }
                Some(sharing) => {
                    let options = sharing.bucket.as_deref().unwrap_or_default();
                    let made = creating::create(path, name, schema.clone(), options).await;
                    match (Self::existing(database, path, name).await?, made) {
                        (Some(table), _) => table,
                        (None, Err(error)) => return Err(error),
                        (None, Ok(())) => return Err(StoreError::Busy),
                    }
                }
            },
        };
        let found = table
            .table
            .schema()
            .await
            .map_err(table.failed("read a table's columns"))?;
        let same = found.fields().len() == schema.fields().len()
            && found
                .fields()
                .iter()
                .zip(schema.fields())
                .all(|(found, wanted)| found.name() == wanted.name() && found.data_type() == wanted.data_type());
        if !same {
            let problem = format!(
                "table {name} in {} has other columns than this version wrote",
                path.display()
            );
            return Err(StoreError::Corrupt { problem });
        }
        Ok(table)
    }

    /// The table itself, for its indexes.
    pub(super) fn table(&self) -> &lancedb::Table {
        &self.table
    }

    pub(super) fn failed(&self, doing: &'static str) -> impl FnOnce(lancedb::Error) -> StoreError {
        let as_ours = if self.shared { failed } else { broken };
        move |error| as_ours(&self.path, doing, error)
    }

    /// Number of rows.
    pub(super) async fn len(&self) -> Result<u64, StoreError> {
        Ok(self.view.count_rows(None).await.map_err(self.failed("counted rows"))? as u64)
    }

    /// Number of the table's state.
    pub(super) async fn version(&self) -> Result<u64, StoreError> {
        self.view.version().await.map_err(self.failed("read a table's version"))
    }

    /// Appends rows, of which there are some: one commit.
    pub(super) async fn append(&self, rows: Vec<RecordBatch>) -> Result<(), StoreError> {
        self.table
            .add(rows)
            .execute()
            .await
            .map_err(self.failed("appended rows"))?;
        Ok(())
    }

    /// Replaces rows with the same `key` and appends the others: one commit.
    pub(super) async fn upsert(&self, key: &[&str], rows: Vec<RecordBatch>) -> Result<(), StoreError> {
        let Some(schema) = rows.first().map(RecordBatch::schema) else {
            return Ok(());
        };
        let mut merge = self.table.merge_insert(key);
        merge.when_matched_update_all(None).when_not_matched_insert_all();
        merge
            .execute(Box::new(RecordBatchIterator::new(rows.into_iter().map(Ok), schema)))
            .await
            .map_err(self.failed("replaced rows"))?;
        Ok(())
    }

    /// Deletes rows: one commit. Says how many.
    pub(super) async fn delete(&self, which: &Predicate) -> Result<u64, StoreError> {
        self.catch_up().await?;
        Ok(self
            .table
            .delete(which.expr())
            .await
            .map_err(self.failed("deleted rows"))?
            .num_deleted_rows)
    }

    /// Asks for rows; the answer is of the table's present state, however long reading it takes.
    pub(super) async fn scan(&self, which: Option<&Predicate>, columns: &[&str]) -> Result<Rows, StoreError> {
        self.start(self.query(which, columns)).await
    }

    /// Rows in the order of a column; `limit`: at most so many.
    pub(super) async fn ordered(
        &self,
        which: &Predicate,
        columns: &[&str],
        by: &str,
        ascending: bool,
        limit: Option<usize>,
    ) -> Result<Vec<RecordBatch>, StoreError> {
        let order = if ascending {
            ColumnOrdering::asc_nulls_last
        } else {
            ColumnOrdering::desc_nulls_last
        };
        let mut query = self
            .query(Some(which), columns)
            .order_by(Some(vec![order(by.to_owned())]));
        if let Some(limit) = limit {
            query = query.limit(limit);
        }
        self.collect(self.start(query).await?).await
    }

    /// Asks for the rows that fit best: nearest to a vector by cosine distance, which [`DISTANCE`] says, or best by words,
    /// which [`SCORE`] says. `few`: so few rows match (less than [`FLAT_BELOW`]) that each is to be looked at.
    pub(super) async fn best(
        &self,
        which: &Predicate,
        columns: &[&str],
        by: &By,
        limit: usize,
        few: bool,
    ) -> Result<Rows, StoreError> {
        let added = match by {
            By::Vector(_) => DISTANCE,
            By::Words(_) => SCORE,
        };
        let columns: Vec<&str> = columns.iter().copied().chain([added]).collect();
        let query = self.query(Some(which), &columns).limit(limit);
        match by {
            By::Vector(vector) => {
                let query = query
                    .nearest_to(vector.as_slice())
                    .map_err(self.failed("read a query vector"))?;
                let mut query = query.distance_type(DistanceType::Cosine).refine_factor(REFINE);
                query = query.minimum_nprobes(PROBES).map_err(self.failed("set its effort"))?;
                query = query.maximum_nprobes(None).map_err(self.failed("set its effort"))?;
                if few {
                    query = query.bypass_vector_index();
                }
                self.start(query).await
            }
            By::Words(text) => {
                let words = FullTextSearchQuery::new(text.clone());
                self.start(query.full_text_search(words)).await
            }
        }
    }

    fn query(&self, which: Option<&Predicate>, columns: &[&str]) -> Query {
        let query = self.view.query().select(Select::columns(columns));
        match which {
            Some(which) => query.only_if_expr(which.expr().clone()),
            None => query,
        }
    }

    async fn start(&self, query: impl ExecutableQuery) -> Result<Rows, StoreError> {
        query.execute().await.map_err(self.failed("started a query"))
    }

    /// All rows of an answer.
    pub(super) async fn collect(&self, rows: Rows) -> Result<Vec<RecordBatch>, StoreError> {
        rows.try_collect().await.map_err(self.failed("read rows"))
    }

    /// All rows that match.
    pub(super) async fn read(&self, which: &Predicate, columns: &[&str]) -> Result<Vec<RecordBatch>, StoreError> {
        self.collect(self.scan(Some(which), columns).await?).await
    }

    /// Joins small files; `erase`: writes every deleted row out, even where there are few.
    pub(super) async fn compact(&self, erase: bool) -> Result<(), StoreError> {
        self.catch_up().await?;
        let options = CompactionOptions {
            target_rows_per_fragment: ROWS_PER_FILE,
            materialize_deletions_threshold: if erase { 0.0 } else { 0.1 },
            num_threads: Some(1),
            ..CompactionOptions::default()
        };
        let action = OptimizeAction::Compact {
            options,
            remap_options: None,
        };
        self.table
            .optimize(action)
            .await
            .map_err(self.failed("joined small files"))?;
        Ok(())
    }

    /// Removes the files of states older than `retain`, and those that no state refers to. No write may run meanwhile, in no
    /// process: where there are others, files that no state refers to are left until they are a week old.
    pub(super) async fn prune(&self, retain: std::time::Duration) -> Result<(), StoreError> {
        self.catch_up().await?;
        let older_than = lancedb::table::Duration::from_std(retain).ok();
        // Where the folder has one owner and the caller holds the write lock, what no state refers to is a crash's leavings.
        // Otherwise it may be what a commit is about to refer to.
        let action = OptimizeAction::Prune {
            older_than,
            delete_unverified: Some(!self.shared),
            error_if_tagged_old_versions: None,
        };
        self.table
            .optimize(action)
            .await
            .map_err(self.failed("removed old files"))?;
        Ok(())
    }
}
