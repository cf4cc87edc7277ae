//! One answer under its grammar: which tokens may come, which must, and how to end in time.
//!
//! **Winding down.** A schema with free strings or open arrays lets a model go on forever, and small models do. Cut off at
//! its last token, such an answer is no JSON. So a constraint is told how many tokens may still come, and always knows an
//! ending: tokens that complete the text from where it stands ([`super::ending`]). A token is taken only if, after it, an
//! ending is known that fits what is left; otherwise the first token of the ending known before is taken in its place.
//! By induction an answer that may have as many tokens as [`Constraint::reserve`] says at its beginning is complete.
//! Endings are looked for only when fewer than [`WATCH`] tokens are left; a grammar in which one token can make more than
//! that necessary is beyond this promise.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use llguidance::api::StopReason;
use llguidance::toktrie::{SimpleVob, TokEnv};
use llguidance::{TokenParser, panic_utils};

use super::ending::{self, MAX_ENDING};
use super::{ConstraintError, first_line};

/// Endings are kept track of when at most this many tokens may still come.
pub const WATCH: usize = 512;

/// Where no ending is found, the next search is this many tokens later: a search in vain is a long one.
const PATIENCE: usize = 32;

/// A known way to complete the text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ending {
    /// Its tokens, without the one that ends the turn.
    tokens: Vec<u32>,
    /// Their bytes.
    bytes: Vec<u8>,
}

/// What is known of the ending from where the text stands.
#[derive(Debug, Clone)]
enum Known {
    NotAsked,
    None,
    Some(Ending),
}

/// Holds one answer to its grammar.
pub struct Constraint {
    parser: TokenParser,
    environment: TokEnv,
    ends: Arc<[u32]>,
    ending: Known,
    /// Tokens until an ending is sought again after none was found.
    patience: usize,
}

impl Clone for Constraint {
    /// A copy at the same place of the text that shares nothing: it may run on another thread.
    fn clone(&self) -> Self {
        Self {
            parser: self.parser.deep_clone(),
            environment: self.environment.clone(),
            ends: self.ends.clone(),
            ending: self.ending.clone(),
            patience: self.patience,
        }
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint")
            .field("tokens", &self.parser.num_tokens())
            .finish_non_exhaustive()
    }
}

impl Constraint {
    pub(super) fn new(mut parser: TokenParser, environment: TokEnv, ends: Arc<[u32]>) -> Result<Self, ConstraintError> {
        parser.start_without_prompt();
        let mut constraint = Self {
            parser,
            environment,
            ends,
            ending: Known::NotAsked,
            patience: 0,
        };
        // A grammar of the empty text alone is complete before it begins.
        constraint.guarded(|parser| parser.check_stop().map(drop).map_err(|error| stuck(&error)))?;
        Ok(constraint)
    }

    /// Sets the logits of all tokens that may not come next to −∞. `logits` may be longer than the vocabulary. `left`
    /// tokens may still come, this one included; when they are just enough for the ending, it begins.
    ///
    /// # Errors
    /// [`ConstraintError::Stuck`].
    pub fn restrict(&mut self, logits: &mut [f32], left: usize) -> Result<(), ConstraintError> {
        if let Some(token) = self.due(left) {
            let kept = logits.get(token as usize).copied();
            logits.fill(f32::NEG_INFINITY);
            if let (Some(kept), Some(logit)) = (kept, logits.get_mut(token as usize)) {
                // Whatever the model thinks of it, there is nothing else.
                *logit = if kept.is_finite() { kept } else { 0.0 };
            }
            return Ok(());
        }
        let mask = if self.is_complete() {
            self.environment.tok_trie().eos_token_set()
        } else {
            self.guarded(|parser| parser.compute_mask().map_err(|error| stuck(&error)))?
        };
        apply(&mask, logits);
        if logits.iter().all(|&logit| logit == f32::NEG_INFINITY) {
            return Err(ConstraintError::Stuck("no token is allowed".to_owned()));
        }
        Ok(())
    }

    /// Takes the next token, and says which one it took: `token`, or the one that an answer of `left` more tokens, this
    /// one included, needs in its place in order to be complete.
    ///
    /// # Errors
    /// [`ConstraintError::NotAllowed`] when the grammar does not allow the token, [`ConstraintError::Stuck`]. Nothing can
    /// be done with the constraint after either.
    pub fn accept(&mut self, token: u32, left: usize) -> Result<u32, ConstraintError> {
        if self.is_complete() {
            return match self.ends.contains(&token) {
                true => Ok(token),
                false => Err(ConstraintError::NotAllowed(token)),
            };
        }
        let after = left.saturating_sub(1);
        if self.ends.contains(&token) || after > WATCH {
            self.take(token)?;
            return Ok(token);
        }
        let known = self.ending()?.filter(|ending| ending.tokens.len() <= left);
        let Some(known) = known else {
            self.take(token)?;
            return Ok(token);
        };
        if known.tokens.first() == Some(&token) {
            self.take(token)?;
            return Ok(token);
        }
        match self.ending_after(token, &known.bytes, after)? {
            Some(next) => {
                self.take(token)?;
                self.ending = Known::Some(next);
                Ok(token)
            }
            None => {
                // One end is as good as another, and there is always one.
                let instead = known.tokens.first().or(self.ends.first()).copied().unwrap_or(token);
                self.take(instead)?;
                Ok(instead)
            }
        }
    }

    /// Tokens that must follow, at most `left`: no other can. They are not taken yet; give them to
    /// [`Constraint::accept`], which takes them as they are. Empty when the model has a choice.
    pub fn forced(&mut self, left: usize) -> Vec<u32> {
        if self.is_complete() || left == 0 {
            return Vec::new();
        }
        let known = if left <= WATCH + 1 {
            self.ending().ok().flatten()
        } else {
            None
        };
        if let Some(known) = known.as_ref().filter(|known| known.tokens.len() == left) {
            return known.tokens.clone();
        }
        let forced = self
            .guarded(|parser| Ok(parser.compute_ff_tokens()))
            .unwrap_or_default();
        if let Some(known) = known {
            // Split into other tokens than these, the ending could become longer than what is left.
            let fits = known.tokens.starts_with(&forced) || known.bytes.len() + forced.len() <= left;
            if !fits {
                return Vec::new();
            }
        }
        forced.into_iter().take(left).collect()
    }

    /// True when the text is complete and only the end may follow.
    pub fn is_complete(&self) -> bool {
        matches!(
            self.parser.stop_reason(),
            StopReason::NoExtension | StopReason::EndOfSentence
        )
    }

    /// True when the text is complete; more may follow.
    pub fn may_end(&mut self) -> bool {
        self.is_complete() || self.guarded(|parser| Ok(parser.is_accepting())).unwrap_or(false)
    }

    /// How many tokens complete the text from here: an answer that may have as many will be complete. `None` when no
    /// ending was found, or none within reach.
    pub fn reserve(&mut self) -> Option<usize> {
        if self.is_complete() {
            return Some(0);
        }
        let ending = self.ending().ok().flatten()?;
        Some(ending.tokens.len())
    }

    /// The token that must come because the ending takes all that is left.
    fn due(&mut self, left: usize) -> Option<u32> {
        if left > WATCH || self.is_complete() {
            return None;
        }
        let ending = self.ending().ok().flatten()?;
        (ending.tokens.len() == left).then(|| ending.tokens.first().copied())?
    }

    fn take(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.ending = match std::mem::replace(&mut self.ending, Known::NotAsked) {
            Known::Some(mut ending) if ending.tokens.first() == Some(&token) => {
                let length = self.environment.tok_trie().token(token).len().min(ending.bytes.len());
                ending.tokens.remove(0);
                ending.bytes.drain(..length);
                Known::Some(ending)
            }
            _ => Known::NotAsked,
        };
        self.patience = self.patience.saturating_sub(1);
        let end = self.ends.contains(&token);
        let allowed = self.guarded(|parser| {
            let fits = if end {
                parser.is_accepting()
            } else {
                parser.validate_token(token).map_err(|error| stuck(&error))?
            };
            if fits {
                parser.consume_token(token).map_err(|error| stuck(&error))?;
                parser.check_stop().map_err(|error| stuck(&error))?;
            }
            Ok(fits)
        })?;
        if allowed {
            Ok(())
        } else {
            Err(ConstraintError::NotAllowed(token))
        }
    }

    /// The ending from here.
    fn ending(&mut self) -> Result<Option<Ending>, ConstraintError> {
        if matches!(self.ending, Known::NotAsked) && self.patience == 0 {
            let found = self.guarded(|parser| Ok(ending::find(parser.parser.clone(), None, MAX_ENDING)))?;
            if found.is_none() {
                self.patience = PATIENCE;
            }
            self.ending = found.map_or(Known::None, |bytes| Known::Some(self.split(bytes)));
        }
        Ok(match &self.ending {
            Known::Some(ending) => Some(ending.clone()),
            _ => None,
        })
    }

    /// An ending of at most `left` tokens from where the text would stand after `token`; `hint` is the ending from here.
    fn ending_after(&mut self, token: u32, hint: &[u8], left: usize) -> Result<Option<Ending>, ConstraintError> {
        let bytes = self.environment.tok_trie().token(token).to_vec();
        let found = self.guarded(|parser| {
            let mut parser = parser.parser.clone();
            if parser.apply_token(&bytes, token).is_err() {
                return Ok(None);
            }
            // The bytes of a token are rarely more than one: the ending is sought as long as it could be.
            Ok(ending::find(
                parser,
                Some((hint, &bytes)),
                left.saturating_mul(16).min(MAX_ENDING),
            ))
        })?;
        let ending = found.map(|bytes| self.split(bytes));
        Ok(ending.filter(|ending| ending.tokens.len() <= left))
    }

    fn split(&self, bytes: Vec<u8>) -> Ending {
        let tokens = self.environment.tokenize_bytes(&bytes);
        Ending { tokens, bytes }
    }

    /// Runs the parser; what it throws becomes an error.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut TokenParser) -> Result<T, ConstraintError>,
    ) -> Result<T, ConstraintError> {
        let parser = &mut self.parser;
        match panic_utils::catch_unwind(AssertUnwindSafe(|| Ok(work(parser)))) {
            Ok(result) => result,
            Err(panic) => Err(stuck(&panic)),
        }
    }
}

fn stuck(error: &impl std::fmt::Display) -> ConstraintError {
    ConstraintError::Stuck(first_line(error))
}

/// Sets what `mask` leaves out to −∞: whole words of the mask at once, since most allow all or nothing.
fn apply(mask: &SimpleVob, logits: &mut [f32]) {
    let words = mask.as_slice();
    let (logits, beyond) = logits.split_at_mut(logits.len().min(mask.len()));
    beyond.fill(f32::NEG_INFINITY);
    for (index, chunk) in logits.chunks_mut(32).enumerate() {
        match words.get(index).copied().unwrap_or(0) {
            u32::MAX => {}
            0 => chunk.fill(f32::NEG_INFINITY),
            word => {
                for (bit, logit) in chunk.iter_mut().enumerate() {
                    if word & (1 << bit) == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}
