//! Where the processor keeps keys and values: blocks whose memory is taken when a token is first written to them.

use std::cell::UnsafeCell;

use super::kernels::attention::Kept;
use super::kv::CopyBlock;
use super::spec::Spec;
use crate::engine::BLOCK;

/// Blocks of keys and values. In a block, layer by layer and head by head, stand the keys (`[head][32 tokens]`) and the
/// values (`[32 tokens][head]`).
pub(super) struct Memory<T> {
    blocks: Vec<Option<Box<[UnsafeCell<T>]>>>,
    kv_heads: usize,
    /// Numbers of a head, made a multiple of 16.
    head: usize,
    /// Numbers of a block.
    size: usize,
}

// SAFETY: threads share it only in `put` and `at`, whose callers see to it that nobody reads what another writes.
unsafe impl<T: Send> Sync for Memory<T> {}

impl<T: Kept> Memory<T> {
    /// Room for `blocks` blocks, none taken yet.
    pub(super) fn new(spec: &Spec, blocks: usize) -> Self {
        let head = padded(spec.head);
        Self {
            blocks: (0..blocks).map(|_| None).collect(),
            kv_heads: spec.kv_heads,
            head,
            size: spec.layers * spec.kv_heads * head * BLOCK * 2,
        }
    }

    /// Takes the memory of a block, where it has none.
    pub(super) fn take(&mut self, block: u32) {
        self.blocks[block as usize]
            .get_or_insert_with(|| (0..self.size).map(|_| UnsafeCell::new(T::of(0.0))).collect());
    }

    /// Copies a block.
    pub(super) fn copy(&mut self, copy: CopyBlock) {
        self.take(copy.to);
        let Some(source) = self.blocks[copy.from as usize].take() else {
            return;
        };
        if let Some(target) = &mut self.blocks[copy.to as usize] {
            // SAFETY: two boxes of the same size, both held exclusively.
            unsafe {
                let (from, to) = (source.as_ptr().cast::<T>(), target.as_mut_ptr().cast::<T>());
                std::ptr::copy_nonoverlapping(from, to, self.size);
            }
        }
        self.blocks[copy.from as usize] = Some(source);
    }

    /// Where a block keeps a head's keys, and then its values; null where its memory is not taken.
    pub(super) fn at(&self, block: u32, layer: usize, head: usize) -> *const T {
        let offset = (layer * self.kv_heads + head) * self.head * BLOCK * 2;
        match &self.blocks[block as usize] {
            Some(numbers) => numbers[offset..].as_ptr().cast::<T>(),
            None => std::ptr::null(),
        }
    }

    /// Writes a token's key and value of a head.
    ///
    /// # Safety
    /// Nobody else reads or writes this token's numbers of this head meanwhile.
    pub(super) unsafe fn put(&self, block: u32, layer: usize, head: usize, token: usize, key: &[f32], value: &[f32]) {
        let offset = (layer * self.kv_heads + head) * self.head * BLOCK * 2;
        let Some(numbers) = &self.blocks[block as usize] else {
            return;
        };
        let (keys, values) = numbers[offset..][..self.head * BLOCK * 2].split_at(self.head * BLOCK);
        let values = &values[token * self.head..][..self.head];
        for ((dimension, &key), &value) in key.iter().enumerate().zip(value) {
            // SAFETY: the caller's promise; the cells allow it.
            unsafe {
                *keys[dimension * BLOCK + token].get() = T::of(key);
                *values[dimension].get() = T::of(value);
            }
        }
    }
}

/// A head's numbers, filled up to a multiple of 16.
pub(super) fn padded(head: usize) -> usize {
    head.next_multiple_of(16)
}
