//! What the store is: which version of its tables, and whose vectors are in it. Written once, checked at every start. Once it is
//! shared, the language of its indexes by words is noted there, too.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray, UInt32Array};
use jiff::Timestamp;
use lancedb::Connection;
use solo_service::StartupError;

use super::pin::Present;
use super::rows::{batch, rows};
use super::schema;
use super::shared_table::key;
use super::sharing::Sharing;
use super::table::Table;
use crate::embedding::Identity;
use crate::store::StoreError;

const TABLE: &str = "meta";
/// What the language is noted as.
const LANGUAGE: &str = "solo:search.language";

/// Refuses a store that this process must not open; false: it is new, and [`record`] is to be called.
pub(super) async fn check(database: &Connection, path: &Path, embedding: &Identity) -> Result<bool, StartupError> {
    let Some((version, found)) = read(database, path).await.map_err(StartupError::other)? else {
        // Tables without the record are a first start that did not end, and empty: the record comes before any data.
        return Ok(false);
    };
    if version != schema::VERSION {
        return Err(StartupError::Config(format!(
            "the store in {} has version {version} and this program reads version {}: use the program that wrote it, \
             or set memory.path to another folder to begin anew",
            path.display(),
            schema::VERSION
        )));
    }
    if found != *embedding {
        return Err(StartupError::Config(format!(
            "the store in {} was made with the embedding model {found}, but memory.embedding.model is {embedding}: set \
             it back to \"{}\"; `solo memory reembed {}` then makes all vectors anew while the service runs",
            path.display(),
            found.model,
            embedding.model
        )));
    }
    Ok(true)
}

/// Writes the record of a new store, after all its tables were made and before any data is.
/// `sharing`: with other processes, of which one records it.
pub(super) async fn record(
    database: &Connection,
    path: &Path,
    embedding: &Identity,
    sharing: Option<&Sharing>,
) -> Result<(), StoreError> {
    let dimension = u32::try_from(embedding.dimension).unwrap_or(u32::MAX);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(vec![schema::VERSION])),
        Arc::new(StringArray::from(vec![embedding.model.as_str()])),
        Arc::new(UInt32Array::from(vec![dimension])),
        Arc::new(StringArray::from(vec![concat!(
            "memory-svc ",
            env!("CARGO_PKG_VERSION")
        )])),
        Arc::new(Int64Array::from(vec![Timestamp::now().as_microsecond()])),
    ];
    let table = Table::open(database, path, TABLE, schema::meta(), sharing).await?;
    let rows = vec![batch(schema::meta(), columns)?];
    if sharing.is_none() {
        return table.append(rows).await;
    }
    let table = table.share(&key::META).await?;
    if let Some(pin) = table.pin().await? {
        // Lost: another process recorded it.
        table.merge(&pin, &key::META, rows, Present::Kept).await?;
    }
    Ok(())
}

/// Refuses another language than that of those who share the store; the first one notes it. Each would make the indexes by words
/// anew for its own. Whoever has the store alone may change it.
pub(super) async fn agree(
    database: &Connection,
    path: &Path,
    language: &str,
    shared: bool,
) -> Result<(), StartupError> {
    let failed = |error: StoreError| StartupError::other(error);
    let Some(table) = Table::existing(database, path, TABLE).await.map_err(failed)? else {
        return Ok(());
    };
    if !shared {
        // A store that was never shared has no need of it, nor room perhaps.
        let noted = table.noted(LANGUAGE).await.map_err(failed)?;
        if noted.is_some_and(|noted| noted != language) {
            table.note(LANGUAGE, language, false).await.map_err(failed)?;
        }
        return Ok(());
    }
    let agreed = table.note(LANGUAGE, language, true).await.map_err(failed)?;
    if agreed == language {
        return Ok(());
    }
    let (agreed, language) = (agreed.to_lowercase(), language.to_lowercase());
    Err(StartupError::Config(format!(
        "the store in {} is shared with memory.search.language = \"{agreed}\", but here that is \"{language}\": set it to \
         \"{agreed}\"; for another language stop all that share the store and start one with memory.shared = false; of a store \
         in a bucket, `solo memory export` and import into a new one",
        path.display()
    )))
}

/// The record, if it was written. Asks for no more columns than it needs: a newer version may have others.
async fn read(database: &Connection, path: &Path) -> Result<Option<(u32, Identity)>, StoreError> {
    let Some(table) = Table::existing(database, path, TABLE).await? else {
        return Ok(None);
    };
    let batches = table
        .collect(table.scan(None, &["schema_version", "model", "dimension"]).await?)
        .await?;
    let mut rows = rows(&batches);
    let Some(row) = rows.next() else { return Ok(None) };
    let identity = Identity {
        model: row.text("model")?.to_owned(),
        dimension: row.number("dimension")? as usize,
    };
    Ok(Some((row.number("schema_version")?, identity)))
}
