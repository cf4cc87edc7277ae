//! What is in memory, for those who must not wait for the thread that computes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Key;
use crate::catalogue::ModelFile;
use crate::prompt::Prompter;
use crate::tokenizer::Tokenizer;

/// What is in memory, for everybody to see, and the prompters made of it.
#[derive(Clone, Default)]
pub struct Loaded(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    tokenizers: HashMap<Key, Arc<dyn Tokenizer>>,
    /// A prompter may hold a model in memory through its tokenizer, so it goes when the model goes.
    prompters: HashMap<Key, (Arc<ModelFile>, Arc<Prompter>)>,
}

impl Loaded {
    /// True when the model is in memory.
    pub fn contains(&self, key: &Key) -> bool {
        self.lock().tokenizers.contains_key(key)
    }

    /// The tokenizer of a model in memory.
    pub fn tokenizer(&self, key: &Key) -> Option<Arc<dyn Tokenizer>> {
        self.lock().tokenizers.get(key).cloned()
    }

    /// The prompter of a model, if there is one for this very file.
    pub fn prompter(&self, key: &Key, file: &Arc<ModelFile>) -> Option<Arc<Prompter>> {
        let shelf = self.lock();
        let (of, prompter) = shelf.prompters.get(key)?;
        Arc::ptr_eq(of, file).then(|| Arc::clone(prompter))
    }

    /// Keeps a prompter for later.
    pub fn keep(&self, key: Key, file: &Arc<ModelFile>, prompter: &Arc<Prompter>) {
        self.lock()
            .prompters
            .insert(key, (Arc::clone(file), Arc::clone(prompter)));
    }

    pub(super) fn add(&self, key: Key, tokenizer: Arc<dyn Tokenizer>) {
        let mut shelf = self.lock();
        // One that was made before the model was there has a vocabulary of its own.
        shelf.prompters.remove(&key);
        shelf.tokenizers.insert(key, tokenizer);
    }

    pub(super) fn remove(&self, key: &Key) {
        let mut shelf = self.lock();
        shelf.prompters.remove(key);
        shelf.tokenizers.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Entries are whole or absent: a panic elsewhere cannot leave one half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
