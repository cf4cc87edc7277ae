//! An engine that follows a script, so that what is around engines can be looked at.
//!
//! It reads the dialogue out of the tokens that it was given, as a model would, and answers the last question:
//! "forever" gets "ab" without end, "fail" a failure, "nothing" scores that are no numbers, "wait" waits for
//! [`Scripted::open_gate`], anything else is repeated.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use llm_svc::catalogue::ModelFile;
use llm_svc::engine::{
    Capabilities, EngineError, EngineKind, EngineOptions, Engines, Logits, Progress, Run, Slot, StepEngine,
};
use llm_svc::tokenizer::{BpeTokenizer, Tokenizer};

use crate::tiny::{token, vocabulary};

/// Makes scripted engines and sees what they do.
#[derive(Default)]
pub(crate) struct Scripted {
    options: Mutex<Option<EngineOptions>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    steps: AtomicUsize,
    largest_step: AtomicUsize,
    alive: AtomicUsize,
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Scripted {
    pub(crate) fn with(self: &Arc<Self>, options: EngineOptions) -> Arc<dyn Engines> {
        *self.options.lock().unwrap() = Some(options);
        Arc::clone(self) as Arc<dyn Engines>
    }

    /// Lets every "wait" go on.
    pub(crate) fn open_gate(&self) {
        *self.shared.gate.lock().unwrap() = true;
        self.shared.opened.notify_all();
    }

    /// Steps computed so far.
    pub(crate) fn steps(&self) -> usize {
        self.shared.steps.load(Ordering::SeqCst)
    }

    /// Most tokens of one step.
    pub(crate) fn largest_step(&self) -> usize {
        self.shared.largest_step.load(Ordering::SeqCst)
    }

    /// Models in memory.
    pub(crate) fn alive(&self) -> usize {
        self.shared.alive.load(Ordering::SeqCst)
    }
}

impl Engines for Scripted {
    fn load(&self, _: EngineKind, file: &ModelFile, progress: &Progress) -> Result<Box<dyn StepEngine>, EngineError> {
        let options = self.options.lock().unwrap().clone().unwrap();
        for share in [0.0, 0.5, 1.0] {
            if !progress(share) {
                return Err(EngineError::Abandoned);
            }
        }
        self.shared.alive.fetch_add(1, Ordering::SeqCst);
        let vocabulary = vocabulary();
        Ok(Box::new(Actor {
            tokenizer: Arc::new(BpeTokenizer::of(&file.header)?),
            capabilities: Capabilities {
                context_length: options.context_for(&file.facts),
                slots: options.slots,
                blocks: options.kv_blocks(EngineKind::LlamaCpp, &file.facts),
                step_tokens: options.batch,
                vocabulary: vocabulary.len(),
                batch_invariant: true,
            },
            sequences: HashMap::new(),
            vocabulary,
            shared: Arc::clone(&self.shared),
        }))
    }

    fn fastest(&self, _: &ModelFile) -> (EngineKind, String) {
        (EngineKind::LlamaCpp, "llama-cpp, as the script has it".to_owned())
    }

    fn tokenizer(&self, _: EngineKind, file: &ModelFile) -> Result<Arc<dyn Tokenizer>, EngineError> {
        Ok(Arc::new(BpeTokenizer::of(&file.header)?))
    }
}

struct Actor {
    tokenizer: Arc<dyn Tokenizer>,
    capabilities: Capabilities,
    sequences: HashMap<Slot, Vec<u32>>,
    vocabulary: Vec<String>,
    shared: Arc<Shared>,
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.shared.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Actor {
    /// A sequence as bytes of text, control tokens included.
    fn bytes(&self, slot: Slot) -> Vec<u8> {
        let bytes = self.sequences[&slot]
            .iter()
            .map(|&token| match self.tokenizer.piece(token) {
                piece if piece.is_empty() => self.vocabulary[token as usize].clone().into_bytes(),
                piece => piece,
            });
        bytes.collect::<Vec<_>>().concat()
    }

    /// The next byte of the answer; `None`: it is complete.
    fn next(&self, slot: Slot) -> Result<Option<u8>, EngineError> {
        let bytes = self.bytes(slot);
        let after = |marker: &str| {
            let at = bytes
                .windows(marker.len())
                .rposition(|window| window == marker.as_bytes());
            at.map_or(&[][..], |at| &bytes[at + marker.len()..])
        };
        let said = after("<|im_start|>assistant\n").len();
        let question = String::from_utf8_lossy(after("<|im_start|>user\n")).into_owned();
        let question = question
            .split_once("<|im_end|>")
            .map_or(question.as_str(), |(question, _)| question);
        if question == "fail" {
            let cause = "scripted".into();
            return Err(EngineError::Failed {
                engine: EngineKind::LlamaCpp,
                what: "computing",
                cause,
            });
        }
        if question == "forever" {
            return Ok(Some(b"ab"[said % 2]));
        }
        if question == "wait" {
            let mut open = self.shared.gate.lock().unwrap();
            while !*open {
                open = self.shared.opened.wait(open).unwrap();
            }
        }
        Ok(question.as_bytes().get(said).copied())
    }
}

impl StepEngine for Actor {
    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::clone(&self.tokenizer)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn step(&mut self, runs: &[Run<'_>], logits: &mut Logits) -> Result<(), EngineError> {
        logits.clear(self.vocabulary.len());
        let tokens: usize = runs.iter().map(|run| run.tokens.len()).sum();
        assert!((1..=self.capabilities.step_tokens).contains(&tokens));
        self.shared.steps.fetch_add(1, Ordering::SeqCst);
        self.shared.largest_step.fetch_max(tokens, Ordering::SeqCst);
        for run in runs {
            assert!(run.slot.0 < self.capabilities.slots);
            let sequence = self.sequences.entry(run.slot).or_default();
            assert_eq!(run.position, sequence.len(), "the books know what the engine knows");
            sequence.extend_from_slice(run.tokens);
            assert!(sequence.len() <= self.capabilities.context_length);
        }
        for run in runs.iter().filter(|run| run.scored) {
            let mut row = vec![0.0; self.vocabulary.len()];
            // The alphabet's numbers are the bytes themselves.
            let next = self.next(run.slot)?.map_or(token("<|im_end|>"), u32::from);
            row[next as usize] = 20.0;
            let nothing = b"user\nnothing<|im_end|>\n<|im_start|>assistant\n";
            if self.bytes(run.slot).ends_with(nothing) {
                row.fill(f32::NAN);
            }
            logits.push(&row);
        }
        Ok(())
    }

    fn fork(&mut self, from: Slot, to: Slot, tokens: usize) -> Result<usize, EngineError> {
        let begun = self.sequences[&from][..tokens].to_vec();
        let before = self.sequences.insert(to, begun);
        assert!(before.is_none_or(|tokens| tokens.is_empty()), "a fork's slot is empty");
        Ok(tokens)
    }

    fn truncate(&mut self, slot: Slot, tokens: usize) -> Result<usize, EngineError> {
        self.sequences.entry(slot).or_default().truncate(tokens);
        Ok(tokens)
    }

    fn exact_twin(&self, _: usize) -> Result<Box<dyn StepEngine>, EngineError> {
        unreachable!("it is batch-invariant")
    }
}
