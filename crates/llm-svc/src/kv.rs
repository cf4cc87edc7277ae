//! The books on keys and values: which tokens each slot of an engine knows, what they share, and who must go.
//!
//! A sequence that has ended stays in its slot until somebody needs the room: its tokens are the prefix cache. A new prompt
//! takes over the slot that knows most of it, or forks from it where too much else would be lost. Room is counted in
//! blocks of [`BLOCK`] tokens; whole blocks are shared by reference count, as engines share them
//! (cf. vLLM's block tables, <https://arxiv.org/abs/2309.06180>). Slots are searched one by one: there are dozens, and
//! comparing a prompt with all of them takes microseconds.
//!
//! Pure: what an engine must do to agree with the books comes out as [`KvOp`]s, in order.

use crate::engine::{BLOCK, Slot};

/// Something that the engine must do before the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvOp {
    /// Forget a sequence beyond its first `tokens` tokens.
    Truncate {
        /// The sequence.
        slot: Slot,
        /// Tokens that stay.
        tokens: usize,
    },
    /// Give an empty slot the beginning of another.
    Fork {
        /// The sequence that is known.
        from: Slot,
        /// The empty slot.
        to: Slot,
        /// Tokens that both have then.
        tokens: usize,
    },
}

/// There is no room: everything is held by running sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

/// The books on one engine's slots.
#[derive(Debug)]
pub struct KvBooks {
    slots: Vec<Option<Entry>>,
    /// How many slots hold each block.
    holders: Vec<u32>,
    free: Vec<usize>,
    /// Counts what happens, to know what was used longest ago.
    clock: u64,
    /// Set where results must not depend on how a prompt was cut: prefixes are used again in pieces of this many tokens
    /// that were computed as such pieces.
    exact: Option<usize>,
    ops: Vec<KvOp>,
}

/// A slot in use.
#[derive(Debug)]
struct Entry {
    tokens: Vec<u32>,
    blocks: Vec<usize>,
    running: bool,
    used: u64,
    /// Tokens at the beginning that were computed in whole pieces.
    whole: usize,
}

impl KvBooks {
    /// Empty books on `slots` slots that share `blocks` blocks. With `exact`, prefixes are used again in whole pieces of
    /// that many tokens only.
    pub fn new(slots: usize, blocks: usize, exact: Option<usize>) -> Self {
        Self {
            slots: (0..slots).map(|_| None).collect(),
            holders: vec![0; blocks],
            free: (0..blocks).rev().collect(),
            clock: 0,
            exact,
            ops: Vec::new(),
        }
    }

    /// What the engine has to do since the last call, in order.
    pub fn take_ops(&mut self) -> Vec<KvOp> {
        std::mem::take(&mut self.ops)
    }

    /// Tokens that a slot knows.
    pub fn length(&self, slot: Slot) -> usize {
        self.slots[slot.0].as_ref().map_or(0, |entry| entry.tokens.len())
    }

    /// Blocks that running sequences hold.
    pub fn blocks_in_use(&self) -> usize {
        self.distinct(true)
    }

    /// Blocks that only ended sequences hold: they go when room is needed.
    pub fn blocks_kept(&self) -> usize {
        self.holders.len() - self.free.len() - self.blocks_in_use()
    }

    /// Tokens that all slots know, shared ones counted once for each.
    pub fn tokens(&self) -> usize {
        self.slots.iter().flatten().map(|entry| entry.tokens.len()).sum()
    }

    /// Blocks that a new sequence could have.
    pub fn available(&self) -> usize {
        self.holders.len() - self.blocks_in_use()
    }

    /// Tokens of `prompt` that are known somewhere. The last token is always computed: its scores are where the answer
    /// begins.
    pub fn known(&self, prompt: &[u32]) -> usize {
        self.best(prompt).map_or(0, |(_, shared)| shared)
    }

    /// Opens a slot for a sequence that begins with `prompt`, with as much of it as is known.
    ///
    /// # Errors
    /// [`NoRoom`] when every slot runs.
    pub fn claim(&mut self, prompt: &[u32]) -> Result<Slot, NoRoom> {
        self.clock += 1;
        let best = self.best(prompt).filter(|&(_, shared)| shared > 0);
        if let Some((slot, shared)) = best
            && self.may_take_over(slot, shared)
        {
            self.truncate(slot, shared);
            let clock = self.clock;
            if let Some(entry) = &mut self.slots[slot.0] {
                (entry.running, entry.used) = (true, clock);
            }
            return Ok(slot);
        }
        let source = best.map(|(slot, _)| slot);
        let to = self.empty_slot(source)?;
        let mut entry = Entry {
            tokens: Vec::new(),
            blocks: Vec::new(),
            running: true,
            used: self.clock,
            whole: 0,
        };
        if let Some((from, shared)) = best
            && let Some(known) = &mut self.slots[from.0]
        {
            known.used = self.clock;
            entry.tokens.extend_from_slice(&known.tokens[..shared]);
            entry.blocks.extend_from_slice(&known.blocks[..shared / BLOCK]);
            entry.whole = known.whole.min(shared);
            for &block in &entry.blocks {
                self.holders[block] += 1;
            }
            self.ops.push(KvOp::Fork {
                from,
                to,
                tokens: shared,
            });
        }
        self.slots[to.0] = Some(entry);
        // The last block of a fork is the fork's own; where there is none left, it starts at a whole block.
        if self.reserve(to, 0).is_err() {
            let whole = self.length(to) / BLOCK * BLOCK;
            self.truncate(to, whole);
        }
        Ok(to)
    }

    /// Makes room for `count` more tokens.
    ///
    /// # Errors
    /// [`NoRoom`] when running sequences hold too much.
    pub fn reserve(&mut self, slot: Slot, count: usize) -> Result<(), NoRoom> {
        loop {
            let Some(entry) = &self.slots[slot.0] else {
                return Err(NoRoom);
            };
            let wanted = (entry.tokens.len() + count).div_ceil(BLOCK);
            if entry.blocks.len() >= wanted {
                return Ok(());
            }
            match self.free.pop() {
                Some(block) => {
                    self.holders[block] = 1;
                    if let Some(entry) = &mut self.slots[slot.0] {
                        entry.blocks.push(block);
                    }
                }
                None => self.evict(None)?,
            }
        }
    }

    /// Notes that the engine has appended `tokens` in one piece.
    pub fn append(&mut self, slot: Slot, tokens: &[u32]) {
        self.clock += 1;
        let (clock, exact) = (self.clock, self.exact);
        if let Some(entry) = &mut self.slots[slot.0] {
            if exact == Some(tokens.len()) && entry.whole == entry.tokens.len() {
                entry.whole += tokens.len();
            }
            entry.tokens.extend_from_slice(tokens);
            entry.used = clock;
        }
    }

    /// The sequence has ended: its tokens stay until the room is needed.
    pub fn keep(&mut self, slot: Slot) {
        self.clock += 1;
        let clock = self.clock;
        match &mut self.slots[slot.0] {
            Some(entry) if entry.tokens.is_empty() => self.forget(slot),
            Some(entry) => {
                (entry.running, entry.used) = (false, clock);
                // Room that was made and not used.
                let length = entry.tokens.len();
                self.release_beyond(slot, length);
            }
            None => {}
        }
    }

    /// Gives a slot's room back.
    pub fn forget(&mut self, slot: Slot) {
        self.release_beyond(slot, 0);
        if self.slots[slot.0].take().is_some() {
            self.ops.push(KvOp::Truncate { slot, tokens: 0 });
        }
    }

    /// Gives the room of all ended sequences back.
    pub fn forget_kept(&mut self) {
        while self.evict(None).is_ok() {}
    }

    /// The engine knows less of a slot than it was asked to: the books follow.
    pub fn correct(&mut self, slot: Slot, tokens: usize) {
        self.release_beyond(slot, tokens);
        if let Some(entry) = &mut self.slots[slot.0] {
            entry.tokens.truncate(tokens);
            entry.whole = entry.whole.min(tokens);
        }
    }

    fn truncate(&mut self, slot: Slot, tokens: usize) {
        if self.length(slot) > tokens {
            self.ops.push(KvOp::Truncate { slot, tokens });
        }
        self.correct(slot, tokens);
        // Another slot may hold the last block, too: what follows is written to one's own.
        let Some(entry) = &self.slots[slot.0] else { return };
        if !tokens.is_multiple_of(BLOCK)
            && let Some(&last) = entry.blocks.last()
            && self.holders[last] > 1
        {
            match self.free.pop() {
                Some(block) => {
                    self.holders[last] -= 1;
                    self.holders[block] = 1;
                    if let Some(entry) = &mut self.slots[slot.0] {
                        entry.blocks.pop();
                        entry.blocks.push(block);
                    }
                }
                None => self.truncate(slot, tokens / BLOCK * BLOCK),
            }
        }
    }

    fn release_beyond(&mut self, slot: Slot, tokens: usize) {
        let Some(entry) = &mut self.slots[slot.0] else { return };
        for block in entry.blocks.drain(tokens.div_ceil(BLOCK).min(entry.blocks.len())..) {
            self.holders[block] -= 1;
            if self.holders[block] == 0 {
                self.free.push(block);
            }
        }
    }

    /// The slot that knows most of a prompt, ended ones first, and how much.
    fn best(&self, prompt: &[u32]) -> Option<(Slot, usize)> {
        let most = prompt.len().saturating_sub(1);
        let slots = self.slots.iter().enumerate();
        let shared = slots.filter_map(|(index, entry)| {
            let entry = entry.as_ref()?;
            let same = prompt.iter().zip(&entry.tokens).take_while(|(a, b)| a == b).count();
            let shared = match self.exact {
                None => same.min(most),
                Some(piece) => same.min(most).min(entry.whole) / piece * piece,
            };
            Some((shared, !entry.running, entry.used, index))
        });
        let (shared, _, _, index) = shared.max()?;
        Some((Slot(index), shared))
    }

    /// Whether a slot may be cut back to `shared` tokens: nobody runs in it and little is lost, or there is no other.
    fn may_take_over(&self, slot: Slot, shared: usize) -> bool {
        let Some(entry) = self.slots[slot.0].as_ref().filter(|entry| !entry.running) else {
            return false;
        };
        let lost = entry.tokens.len() - shared;
        lost <= (2 * BLOCK).max(entry.tokens.len() / 4) || self.slots.len() == 1
    }

    /// A slot that is empty, or emptied now; not `source`.
    fn empty_slot(&mut self, source: Option<Slot>) -> Result<Slot, NoRoom> {
        loop {
            if let Some(index) = self.slots.iter().position(Option::is_none) {
                return Ok(Slot(index));
            }
            self.evict(source)?;
        }
    }

    /// Forgets the ended sequence that was used longest ago, but not `spared`.
    fn evict(&mut self, spared: Option<Slot>) -> Result<(), NoRoom> {
        let slots = self.slots.iter().enumerate();
        let ended = slots.filter_map(|(index, entry)| Some((Slot(index), entry.as_ref()?)));
        let ended = ended.filter(|(slot, entry)| !entry.running && Some(*slot) != spared);
        let oldest = ended.min_by_key(|(_, entry)| entry.used).map(|(slot, _)| slot);
        self.forget(oldest.ok_or(NoRoom)?);
        Ok(())
    }

    fn distinct(&self, running: bool) -> usize {
        let mut seen = vec![false; self.holders.len()];
        let entries = self.slots.iter().flatten().filter(|entry| entry.running == running);
        entries
            .flat_map(|entry| &entry.blocks)
            .filter(|&&block| !std::mem::replace(&mut seen[block], true))
            .count()
    }
}

#[cfg(test)]
mod tests;
