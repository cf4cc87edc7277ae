//! Which blocks hold a sequence's keys and values.
//!
//! Blocks of [`BLOCK`] tokens are counted: sequences with the same beginning share them, and a block that is shared is
//! copied before it is written. Whoever keeps the memory ([`super::memory`], [`super::tensors`]) copies as told here.

use crate::engine::BLOCK;

/// A block that must be copied before anything is written to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CopyBlock {
    pub(super) from: u32,
    pub(super) to: u32,
}

/// The tables say something that cannot be: whoever drives the engine keeps other books.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TableError {
    /// There is no such sequence.
    #[error("there is no slot {0}")]
    Slot(usize),
    /// A sequence has another length.
    #[error("slot {slot} has {has} tokens, not {claimed}")]
    Position {
        /// The sequence.
        slot: usize,
        /// Its tokens.
        has: usize,
        /// What the caller thinks.
        claimed: usize,
    },
    /// A sequence would be longer than it may be.
    #[error("slot {slot} would have {tokens} tokens; {most} are possible")]
    Length {
        /// The sequence.
        slot: usize,
        /// Tokens that it would have.
        tokens: usize,
        /// Tokens that it may have.
        most: usize,
    },
    /// Every block is in use.
    #[error("all {0} blocks of keys and values are in use")]
    Full(usize),
}

#[derive(Debug, Clone, Default)]
struct Sequence {
    blocks: Vec<u32>,
    tokens: usize,
}

/// The block tables of all sequences.
#[derive(Debug)]
pub(super) struct Tables {
    references: Vec<u32>,
    free: Vec<u32>,
    sequences: Vec<Sequence>,
    /// Tokens that a sequence may have.
    context: usize,
}

impl Tables {
    /// Empty tables.
    pub(super) fn new(slots: usize, blocks: usize, context: usize) -> Self {
        Self {
            references: vec![0; blocks],
            // The lowest is taken first, so that memory that was touched is used again.
            free: (0..blocks as u32).rev().collect(),
            sequences: vec![Sequence::default(); slots],
            context,
        }
    }

    /// Blocks in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.references.len() - self.free.len()
    }

    /// The blocks of a sequence, in order.
    pub(super) fn of(&self, slot: usize) -> &[u32] {
        self.sequences.get(slot).map_or(&[], |sequence| &sequence.blocks)
    }

    /// The tokens of a sequence.
    pub(super) fn tokens(&self, slot: usize) -> usize {
        self.sequences.get(slot).map_or(0, |sequence| sequence.tokens)
    }

    /// Makes room for `count` more tokens of a sequence that has `position`; says what must be copied first.
    pub(super) fn extend(
        &mut self,
        slot: usize,
        position: usize,
        count: usize,
        copies: &mut Vec<CopyBlock>,
    ) -> Result<(), TableError> {
        let sequence = self.sequences.get(slot).ok_or(TableError::Slot(slot))?;
        let (has, blocks) = (sequence.tokens, sequence.blocks.len());
        if has != position {
            let claimed = position;
            return Err(TableError::Position { slot, has, claimed });
        }
        let tokens = position.saturating_add(count);
        if tokens > self.context {
            let most = self.context;
            return Err(TableError::Length { slot, tokens, most });
        }
        // A last block that is begun and shared becomes the sequence's own.
        if !has.is_multiple_of(BLOCK)
            && let Some(&last) = self.of(slot).last()
            && self.references[last as usize] > 1
        {
            let own = self.take()?;
            copies.push(CopyBlock { from: last, to: own });
            self.release(last);
            self.sequences[slot].blocks[blocks - 1] = own;
        }
        for _ in blocks..tokens.div_ceil(BLOCK) {
            let block = self.take()?;
            self.sequences[slot].blocks.push(block);
        }
        self.sequences[slot].tokens = tokens;
        Ok(())
    }

    /// Forgets a sequence beyond its first `tokens` tokens; returns how many it has.
    pub(super) fn truncate(&mut self, slot: usize, tokens: usize) -> Result<usize, TableError> {
        let sequence = self.sequences.get_mut(slot).ok_or(TableError::Slot(slot))?;
        sequence.tokens = sequence.tokens.min(tokens);
        let left = sequence.tokens;
        let kept = left.div_ceil(BLOCK).min(sequence.blocks.len());
        for block in sequence.blocks.split_off(kept) {
            self.release(block);
        }
        Ok(left)
    }

    /// Gives `to` the first `tokens` tokens of `from` in place of what it had: whole blocks are shared, the rest is copied.
    pub(super) fn fork(&mut self, from: usize, to: usize, tokens: usize) -> Result<Option<CopyBlock>, TableError> {
        let source = self.sequences.get(from).ok_or(TableError::Slot(from))?;
        if from == to || to >= self.sequences.len() {
            return Err(TableError::Slot(to));
        }
        let tokens = tokens.min(source.tokens);
        let mut blocks = source.blocks[..tokens / BLOCK].to_vec();
        let begun = (!tokens.is_multiple_of(BLOCK)).then(|| source.blocks[tokens / BLOCK]);
        // Shared before the old ones go: they may be the same.
        for &block in &blocks {
            self.references[block as usize] += 1;
        }
        self.truncate(to, 0)?;
        let copy = match begun {
            None => None,
            Some(from) => match self.take() {
                Ok(to) => Some(CopyBlock { from, to }),
                Err(full) => {
                    blocks.into_iter().for_each(|block| self.release(block));
                    return Err(full);
                }
            },
        };
        blocks.extend(copy.map(|copy| copy.to));
        self.sequences[to] = Sequence { blocks, tokens };
        Ok(copy)
    }

    fn take(&mut self) -> Result<u32, TableError> {
        let block = self.free.pop().ok_or(TableError::Full(self.references.len()))?;
        self.references[block as usize] = 1;
        Ok(block)
    }

    fn release(&mut self, block: u32) {
        let references = &mut self.references[block as usize];
        *references -= 1;
        if *references == 0 {
            self.free.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_are_shared_and_begun_ones_copied() {
        let mut tables = Tables::new(3, 8, 128);
        let mut copies = Vec::new();
        tables.extend(0, 0, 70, &mut copies).unwrap();
        assert_eq!((tables.used(), copies.len()), (3, 0));
        let copy = tables.fork(0, 1, 70).unwrap().unwrap();
        assert_eq!((tables.used(), copy.from), (4, tables.of(0)[2]));
        assert_eq!(tables.of(0)[..2], tables.of(1)[..2]);
        assert_eq!(tables.fork(0, 2, 64).unwrap(), None);
        assert_eq!(tables.used(), 4);
        // A shared block that was cut into is copied before it is written.
        assert_eq!(tables.truncate(2, 40).unwrap(), 40);
        tables.extend(2, 40, 1, &mut copies).unwrap();
        assert_eq!(copies.len(), 1);
        assert_ne!(tables.of(2)[1], tables.of(0)[1]);
        for slot in 0..3 {
            assert_eq!(tables.truncate(slot, 0).unwrap(), 0);
        }
        assert_eq!(tables.used(), 0);
    }

    #[test]
    fn books_that_differ_are_an_error() {
        let mut tables = Tables::new(2, 3, 64);
        let mut copies = Vec::new();
        tables.extend(0, 0, 33, &mut copies).unwrap();
        let claimed = TableError::Position {
            slot: 0,
            has: 33,
            claimed: 32,
        };
        assert_eq!(tables.extend(0, 32, 1, &mut copies), Err(claimed));
        assert!(matches!(
            tables.extend(0, 33, 32, &mut copies),
            Err(TableError::Length { .. })
        ));
        assert_eq!(tables.extend(7, 0, 1, &mut copies), Err(TableError::Slot(7)));
        assert_eq!(tables.extend(1, 0, 64, &mut copies), Err(TableError::Full(3)));
        // What was taken before it failed goes back with the sequence.
        tables.truncate(1, 0).unwrap();
        tables.truncate(0, 0).unwrap();
        assert_eq!(tables.used(), 0);
    }
}
