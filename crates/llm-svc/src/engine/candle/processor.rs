//! The llama family on the processor: one step over the tokens of many sequences.
//!
//! The tokens of all runs stand one below the other, so that each layer's weights are read once for all of them. Only
//! attention looks at sequences. Between two products a token's numbers are rounded to eight bits once, for all layers
//! that they go into.

use super::attention::{Attention, Row};
use super::buffers::{Buffers, Chunks, each_row};
use super::kernels::Isa;
use super::kernels::activation::{Gate, NormInPlace, Rotate};
use super::kernels::attention::Kept;
use super::kv::{CopyBlock, Tables};
use super::linear::{self, Linear, Rows, Task};
use super::memory::{Memory, padded};
use super::spec::Spec;
use super::threads::Threads;
use super::weights::{Stored, Weights};
use super::{EngineError, Model, failed, unsupported};
use crate::engine::{BLOCK, Logits, Progress, Run};

/// A model in the processor's memory, with the keys and values of all sequences kept as `T`.
pub(super) struct Processor<T> {
    spec: Spec,
    embedding: Stored,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    output: Linear,
    memory: Memory<T>,
    threads: Threads,
    isa: Isa,
    buffers: Buffers,
}

struct Layer {
    attention_norm: Vec<f32>,
    /// Query, key and value, each with where its results stand in a row: three layers, or one that gives all.
    mix: Vec<(Linear, usize)>,
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    attention_output: Linear,
    attention_post_norm: Option<Vec<f32>>,
    feed_norm: Vec<f32>,
    /// Gate and up, likewise.
    gates: Vec<(Linear, usize)>,
    down: Linear,
    feed_post_norm: Option<Vec<f32>>,
}

impl<T: Kept> Processor<T> {
    /// Takes a model's weights, with room for `blocks` blocks of keys and values.
    pub(super) fn load(
        weights: &Weights<'_>,
        spec: Spec,
        blocks: usize,
        threads: usize,
        progress: &Progress,
    ) -> Result<Self, EngineError> {
        let mut threads = Threads::new(threads).map_err(failed("starting threads"))?;
        let embedding = weights.required("token_embd.weight", spec.vocabulary, spec.width)?;
        let norm = weights.norm("output_norm", spec.width)?;
        let output = weights.matrix("output.weight", spec.vocabulary, spec.width)?;
        // Small models use their embedding both ways.
        let output = Linear::new(output.unwrap_or_else(|| embedding.clone()), None, &mut threads)?;
        let mut layers = Vec::with_capacity(spec.layers);
        for index in 0..spec.layers {
            if !progress(index as f32 / spec.layers as f32) {
                return Err(EngineError::Abandoned);
            }
            layers.push(Layer::load(weights, index, &spec, &mut threads)?);
            // What is packed is in memory once, not twice.
            weights.release();
        }
        Ok(Self {
            memory: Memory::new(&spec, blocks),
            spec,
            embedding,
            layers,
            norm,
            output,
            threads,
            isa: Isa::best(),
            buffers: Buffers::default(),
        })
    }
}

impl Layer {
    fn load(weights: &Weights<'_>, index: usize, spec: &Spec, threads: &mut Threads) -> Result<Self, EngineError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let (width, inner, head) = (spec.width, spec.inner, spec.head);
        let (queries, kv) = (spec.heads * head, spec.kv_heads * head);
        let norm = |part: &str, width, wanted: bool| wanted.then(|| weights.norm(&name(part), width)).transpose();
        let mut linear = |part: &str, inputs, outputs| Linear::load(weights, &name(part), inputs, outputs, threads);
        let (mix, gates) = if spec.fused {
            (
                vec![(linear("attn_qkv", width, queries + 2 * kv)?, 0)],
                vec![(linear("ffn_up", width, 2 * inner)?, 0)],
            )
        } else {
            (
                vec![
                    (linear("attn_q", width, queries)?, 0),
                    (linear("attn_k", width, kv)?, queries),
                    (linear("attn_v", width, kv)?, queries + kv),
                ],
                vec![
                    (linear("ffn_gate", width, inner)?, 0),
                    (linear("ffn_up", width, inner)?, inner),
                ],
            )
        };
        Ok(Self {
            attention_norm: weights.norm(&name("attn_norm"), width)?,
            mix,
            query_norm: norm("attn_q_norm", head, spec.head_norms)?,
            key_norm: norm("attn_k_norm", head, spec.head_norms)?,
            attention_output: linear("attn_output", queries, width)?,
            attention_post_norm: norm("post_attention_norm", width, spec.post_norms)?,
            feed_norm: weights.norm(&name("ffn_norm"), width)?,
            gates,
            down: linear("ffn_down", inner, width)?,
            feed_post_norm: norm("post_ffw_norm", width, spec.post_norms)?,
        })
    }
}

impl<T: Kept> Model for Processor<T> {
    fn take(&mut self, block: u32) {
        self.memory.take(block);
    }

    fn copy(&mut self, copy: CopyBlock) -> Result<(), EngineError> {
        self.memory.copy(copy);
        Ok(())
    }

    fn step(&mut self, tables: &Tables, runs: &[Run<'_>], logits: &mut Logits) -> Result<(), EngineError> {
        let mut rows = Vec::new();
        for run in runs {
            for index in 0..run.tokens.len() {
                let position = run.position + index;
                rows.push(Row {
                    slot: run.slot.0,
                    position,
                    block: tables.of(run.slot.0)[position / BLOCK],
                    scored: run.scored && index + 1 == run.tokens.len(),
                });
            }
        }
        self.buffers.resize(&self.spec, rows.len());
        self.embed(runs)?;
        let window = self.spec.window.as_ref().map(|window| &window.rope);
        self.buffers.turn([Some(&self.spec.rope), window], &rows);
        for index in 0..self.layers.len() {
            self.mix(index, &rows);
            if index + 1 == self.layers.len() {
                // Nothing looks at the last layer's results but scores.
                rows = self.buffers.keep_scored(&self.spec, &rows);
                if rows.is_empty() {
                    return Ok(());
                }
            }
            self.attend(index, tables, &rows);
            self.feed(index, rows.len());
        }
        self.score(rows.len(), logits);
        Ok(())
    }
}

impl<T: Kept> Processor<T> {
    /// Fills the stream with the embeddings of all tokens.
    fn embed(&mut self, runs: &[Run<'_>]) -> Result<(), EngineError> {
        let tokens = runs.iter().flat_map(|run| run.tokens);
        for (&token, row) in tokens.zip(self.buffers.stream.chunks_exact_mut(self.spec.width)) {
            let token = token as usize;
            if token >= self.spec.vocabulary {
                return Err(unsupported(format!("there is no token {token}")));
            }
            for (number, embedded) in row.iter_mut().zip(self.embedding.numbers(token, 1)?) {
                *number = embedded * self.spec.embedding_scale;
            }
        }
        Ok(())
    }

    /// Makes queries, and puts keys and values where they are kept.
    fn mix(&mut self, index: usize, rows: &[Row]) {
        let (spec, layer, memory) = (&self.spec, &self.layers[index], &self.memory);
        let (isa, count) = (self.isa, rows.len());
        let (heads, kv_heads, head) = (spec.heads, spec.kv_heads, spec.head);
        let buffers = &mut self.buffers;
        buffers.norm(&layer.attention_norm, spec, count, &mut self.threads, isa);
        let mixed = Rows::of(&mut buffers.mixed, (heads + 2 * kv_heads) * head, count);
        linear::run(&tasks(&layer.mix, &mixed), buffers.input(count), &mut self.threads, isa);
        let room = padded(head);
        let queries = Rows::of(&mut buffers.queries, heads * room, count);
        let (cos, sin) = &buffers.angles[usize::from(spec.local(index))];
        let pairs = spec.rope.pairs();
        each_row(count, &mut self.threads, &|row| {
            // SAFETY: a row is one piece's; the buffers live until this returns.
            let (mixed, queries) = unsafe { (mixed.row(row), queries.row(row)) };
            let (query, rest) = mixed.split_at_mut(heads * head);
            let (key, value) = rest.split_at_mut(kv_heads * head);
            let (cos, sin) = (&cos[row * pairs..][..pairs], &sin[row * pairs..][..pairs]);
            let turn = |head: &mut [f32], norm: Option<&[f32]>| {
                let (epsilon, halves) = (spec.epsilon, spec.halves);
                // SAFETY: `isa` is available; slices are what they say.
                unsafe {
                    if let Some(weights) = norm {
                        let row = &mut *head;
                        isa.run(NormInPlace { row, weights, epsilon });
                    }
                    isa.run(Rotate { head, cos, sin, halves });
                }
            };
            for (from, to) in query.chunks_exact_mut(head).zip(queries.chunks_exact_mut(room)) {
                turn(from, layer.query_norm.as_deref());
                for (to, from) in to.iter_mut().zip(from) {
                    *to = *from * spec.attention_scale;
                }
            }
            let (block, token) = (rows[row].block, rows[row].position % BLOCK);
            let heads = key.chunks_exact_mut(head).zip(value.chunks_exact(head));
            for (kv_head, (key, value)) in heads.enumerate() {
                turn(key, layer.key_norm.as_deref());
                // SAFETY: each row is another token, in a block that only its sequence has.
                unsafe { memory.put(block, index, kv_head, token, key, value) };
            }
        });
    }

    /// Adds attention to the stream.
    fn attend(&mut self, index: usize, tables: &Tables, rows: &[Row]) {
        let (spec, layer) = (&self.spec, &self.layers[index]);
        let (isa, count, buffers) = (self.isa, rows.len(), &mut self.buffers);
        let attention = Attention {
            spec,
            memory: &self.memory,
            tables,
            layer: index,
            rows,
            queries: &mut buffers.queries,
            out: &mut buffers.attended,
        };
        attention.run(&mut self.threads, isa);
        let (head, room) = (spec.head, padded(spec.head));
        let attended = Rows::of(&mut buffers.attended, spec.heads * room, count);
        let floats = Rows::of(&mut buffers.floats, spec.heads * head, count);
        let chunks = Chunks::of(&mut buffers.chunks, spec.heads * head, count);
        each_row(count, &mut self.threads, &|row| {
            // SAFETY: a row is one piece's; the buffers live until this returns; `isa` is available.
            unsafe {
                let (attended, floats) = (attended.row(row), floats.row(row));
                for (to, from) in floats.chunks_exact_mut(head).zip(attended.chunks_exact(room)) {
                    to.copy_from_slice(&from[..head]);
                }
                chunks.quantise(row, floats, isa);
            }
        });
        let norm = layer.attention_post_norm.as_deref();
        buffers.add(&layer.attention_output, norm, spec, count, &mut self.threads, isa);
    }

    /// Adds the feed-forward to the stream.
    fn feed(&mut self, index: usize, count: usize) {
        let (spec, layer) = (&self.spec, &self.layers[index]);
        let (isa, inner, curve, buffers) = (self.isa, spec.inner, spec.curve, &mut self.buffers);
        buffers.norm(&layer.feed_norm, spec, count, &mut self.threads, isa);
        let gates = Rows::of(&mut buffers.gates, 2 * inner, count);
        linear::run(
            &tasks(&layer.gates, &gates),
            buffers.input(count),
            &mut self.threads,
            isa,
        );
        let floats = Rows::of(&mut buffers.floats, inner, count);
        let chunks = Chunks::of(&mut buffers.chunks, inner, count);
        each_row(count, &mut self.threads, &|row| {
            // SAFETY: a row is one piece's; the buffers live until this returns; `isa` is available.
            unsafe {
                let (gate, up) = gates.row(row).split_at(inner);
                let out = floats.row(row);
                isa.run(Gate { gate, up, curve, out });
                chunks.quantise(row, out, isa);
            }
        });
        let norm = layer.feed_post_norm.as_deref();
        buffers.add(&layer.down, norm, spec, count, &mut self.threads, isa);
    }

    /// The scores of what may follow each row.
    fn score(&mut self, count: usize, logits: &mut Logits) {
        let (vocabulary, buffers) = (self.spec.vocabulary, &mut self.buffers);
        buffers.norm(&self.norm, &self.spec, count, &mut self.threads, self.isa);
        buffers.scores.resize(count * vocabulary, 0.0);
        let scores = Rows::of(&mut buffers.scores, vocabulary, count);
        let task = Task {
            linear: &self.output,
            out: &scores,
            column: 0,
            add: false,
        };
        linear::run(&[task], buffers.input(count), &mut self.threads, self.isa);
        buffers.scores.chunks_exact(vocabulary).for_each(|row| logits.push(row));
    }
}

/// Layers whose results stand side by side.
fn tasks<'a>(layers: &'a [(Linear, usize)], out: &'a Rows) -> Vec<Task<'a>> {
    let task = |(linear, column): &'a (Linear, usize)| Task {
        linear,
        out,
        column: *column,
        add: false,
    };
    layers.iter().map(task).collect()
}
