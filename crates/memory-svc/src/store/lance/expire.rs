//! What leaves by itself.

use std::collections::HashSet;

use uuid::Uuid;

use super::Inner;
use super::predicate::Predicate;
use super::rows::rows;
use crate::fact::Forgotten;
use crate::names::{NOTE_SCHEME, Principal};
use crate::retention::Limits;
use crate::store::StoreError;

/// Facts that leave in one step: a long list makes a slow filter.
const AT_ONCE: usize = 1000;

impl Inner {
    pub(super) async fn expire(&self, limits: &Limits) -> Result<Forgotten, StoreError> {
        let mut forgotten = Forgotten::default();
        self.follow().await?;
        for principal in self.principals().await? {
            let _writing = self.writing.lock().await;
            let everything = || Predicate::of(&principal);
            if let Some(before) = limits.past_facts {
                let before = before.as_microsecond();
                forgotten.facts += self
                    .drop_facts(&principal, &everything().earlier("ended_at", before))
                    .await?;
                let expired = everything().not_ended().earlier("valid_to", before);
                forgotten.facts += self.drop_facts(&principal, &expired).await?;
            }
            if let Some(before) = limits.facts {
                let old = everything().not_ended().earlier("created_at", before.as_microsecond());
                let batches = self.facts.read(&old, &["id"]).await?;
                let ids: Result<Vec<Uuid>, _> = rows(&batches).map(|row| row.id("id")).collect();
                for some in ids?.chunks(AT_ONCE) {
                    let mut versions = everything().any_of("id", some.iter().map(Uuid::to_string));
                    if self.shared.is_some() {
                        // Told again by another process meanwhile, it stays.
                        versions = versions.earlier("created_at", before.as_microsecond());
                    }
                    forgotten.facts += self.drop_facts(&principal, &versions).await?;
                }
            }
            if let Some(before) = limits.notes {
                let old = everything()
                    .starts_with("uri", NOTE_SCHEME)
                    .earlier("updated_at", before.as_microsecond());
                let documents = self.document_rows(&old).await?;
                forgotten.documents += self.drop_documents(&principal, &old, &documents).await?;
            }
        }
        Ok(forgotten)
    }

    /// Deletes versions of facts for good; says of how many facts. The caller holds the write lock.
    async fn drop_facts(&self, principal: &Principal, which: &Predicate) -> Result<u64, StoreError> {
        let batches = self.facts.read(which, &["row", "id"]).await?;
        let (mut gone, mut facts) = (Vec::new(), HashSet::new());
        for row in rows(&batches) {
            gone.push(row.id("row")?);
            facts.insert(row.id("id")?);
        }
        if gone.is_empty() {
            return Ok(0);
        }
        self.facts.delete(which).await?;
        self.change_held(|held| {
            self.resident.remove_fact_rows(held, principal, gone.into_iter());
            true
        });
        self.note_write(true);
        Ok(facts.len() as u64)
    }
}
