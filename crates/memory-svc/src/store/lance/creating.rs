//! Making a table that another process may be making, too.
//!
//! LanceDB looks whether there is one, and if there is none when it looked writes over whatever is there when it commits: the
//! slower of two would empty the table of the faster one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatchIterator;
use arrow_schema::SchemaRef;
use lance::dataset::{CommitBuilder, InsertBuilder, WriteParams};
use lance::io::{ObjectStoreParams, StorageOptionsAccessor};

use super::failure::failed;
use crate::store::StoreError;

/// Makes an empty table in the store at `path`, unless there is one by then. `options`: of the bucket.
///
/// # Errors
/// Whatever kept it from being made, that there is one included.
pub(super) async fn create(
    path: &Path,
    name: &str,
    schema: SchemaRef,
    options: &[(String, String)],
) -> Result<(), StoreError> {
    let failed = |error: lance::Error| failed(path, "made a table", error.into());
    let uri = format!("{}/{name}.lance", path.display().to_string().trim_end_matches('/'));
    let options: HashMap<String, String> = options.iter().cloned().collect();
    let store = ObjectStoreParams {
        storage_options_accessor: Some(Arc::new(StorageOptionsAccessor::with_static_options(options))),
        ..ObjectStoreParams::default()
    };
    let params = WriteParams {
        store_params: Some(store.clone()),
        ..WriteParams::default()
    };
    let nothing = RecordBatchIterator::new(Vec::new(), schema);
    let nothing = Box::new(nothing) as Box<dyn arrow_array::RecordBatchReader + Send>;
    let transaction = InsertBuilder::new(uri.as_str())
        .with_params(&params)
        .execute_uncommitted_stream(nothing)
        .await
        .map_err(failed)?;
    // Without retries it is not applied to a table that has come about meanwhile.
    let made = CommitBuilder::new(uri.as_str())
        .with_store_params(store)
        .with_max_retries(0)
        .execute(transaction)
        .await;
    made.map(drop).map_err(failed)
}
