//! What a fake remembers of the calls made to it.

use std::sync::{Arc, Mutex, MutexGuard};

use tonic::metadata::MetadataMap;

/// A message and the metadata that came with its call.
#[derive(Debug, Clone)]
pub struct Recorded<T> {
    /// The message.
    pub message: T,
    /// The call's metadata: `solo-principal`, `grpc-timeout`, `traceparent` and so on.
    pub metadata: MetadataMap,
}

impl<T> Recorded<T> {
    /// A metadata value as text; `None` when it is missing or not ASCII.
    pub fn header(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).and_then(|value| value.to_str().ok())
    }

    /// The principal that the call was made for.
    pub fn principal(&self) -> Option<&str> {
        self.header("solo-principal")
    }
}

/// A shared list that only grows.
#[derive(Debug)]
pub struct Journal<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Journal<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Journal<T> {
    /// Adds an entry.
    pub fn push(&self, entry: T) {
        self.entries().push(entry);
    }

    /// All entries, oldest first.
    pub fn all(&self) -> Vec<T> {
        self.entries().clone()
    }

    /// The newest entry.
    pub fn last(&self) -> Option<T> {
        self.entries().last().cloned()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// True when nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entries(&self) -> MutexGuard<'_, Vec<T>> {
        locked(&self.0)
    }
}

/// Locks a fake's state; a test that panicked while holding it has failed already, so its state may be used.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
