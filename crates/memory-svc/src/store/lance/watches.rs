//! Watched folders.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use url::Url;
use uuid::Uuid;

use super::Inner;
use super::document_rows::read_collection;
use super::predicate::Predicate;
use super::rows::{batch, corrupt, rows};
use super::schema;
use crate::document::{DocumentDraft, Put};
use crate::names::Principal;
use crate::store::StoreError;
use crate::watch::Watch;

const COLUMNS: [&str; 5] = ["id", "principal", "collection", "path", "created_at"];

impl Inner {
    pub(super) async fn read_watches(&self) -> Result<Vec<Watch>, StoreError> {
        let batches = self.watches.collect(self.watches.scan(None, &COLUMNS).await?).await?;
        let watches = rows(&batches).map(|row| {
            let path: Url = row.parsed("path")?;
            Ok(Watch {
                id: row.id("id")?,
                principal: Principal::new(row.text("principal")?).map_err(|error| corrupt(error.to_string()))?,
                collection: read_collection(row)?,
                // Without the URL's slash at its end.
                path: path
                    .to_file_path()
                    .map_err(|()| corrupt(format!("column path holds `{path}`")))?
                    .components()
                    .collect(),
                created_at: row.time("created_at")?,
            })
        });
        watches.collect()
    }

    pub(super) async fn add_watch(&self, watch: &Watch) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        self.follow().await?;
        self.ensure_collection(&watch.principal, &watch.collection).await?;
        let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
        let columns = vec![
            text(&watch.id.to_string()),
            text(watch.principal.as_str()),
            text(watch.collection.as_str()),
            text(&watch.uri()),
            Arc::new(Int64Array::from(vec![watch.created_at.as_microsecond()])),
        ];
        self.watches.append(vec![batch(schema::watches(), columns)?]).await?;
        self.note_write(false);
        Ok(())
    }

    /// Puts documents of a watched folder. Of a store with one owner watching does not end meanwhile, for that is a write. In
    /// another process it may: whoever ends it deletes what there is afterwards, and what came still later goes once it was put
    /// ([`super::settle`]).
    pub(super) async fn put_watched(&self, watch: &Watch, drafts: Vec<DocumentDraft>) -> Result<Vec<Put>, StoreError> {
        let _writing = self.writing.lock().await;
        self.ensure_watched(watch).await?;
        if self.shared.is_some() {
            self.put_shared(&watch.principal, drafts, Some(watch)).await
        } else {
            self.put_locked(&watch.principal, drafts).await
        }
    }

    /// Refuses a folder that is not watched, in the store's newest state.
    pub(super) async fn ensure_watched(&self, watch: &Watch) -> Result<(), StoreError> {
        if self.shared.is_some() {
            self.watches.reload().await?;
        }
        let which = Predicate::of(&watch.principal).is("id", &watch.id.to_string());
        let batches = self.watches.read(&which, &["id"]).await?;
        match rows(&batches).next() {
            Some(_) => Ok(()),
            None => Err(StoreError::NotFound {
                what: "watch",
                name: watch.id.to_string(),
            }),
        }
    }

    pub(super) async fn remove_watch(&self, principal: &Principal, id: Uuid) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let which = Predicate::of(principal).is("id", &id.to_string());
        if self.watches.delete(&which).await? == 0 {
            return Err(StoreError::NotFound {
                what: "watch",
                name: id.to_string(),
            });
        }
        self.note_write(true);
        Ok(())
    }
}
