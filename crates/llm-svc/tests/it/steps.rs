//! candle's steps over many sequences: the same scores to the last bit, however a prompt is cut up, whatever else is in a
//! step, and whichever blocks hold it.

use std::sync::Arc;

use llm_svc::catalogue::ModelFile;
use llm_svc::device::Device;
use llm_svc::engine::{BLOCK, Candle, EngineOptions, KvType, Logits, Run, Slot, StepEngine, Weights};

use crate::tiny::{Tiny, vocabulary};

fn options(slots: usize) -> EngineOptions {
    EngineOptions {
        context_length: 256,
        batch: 512,
        slots,
        kv_cache_bytes: 1 << 30,
        kv_type: KvType::F16,
        weights: Weights::Auto,
        threads: 2,
        device: Device::Cpu,
    }
}

fn load(file: &ModelFile, slots: usize) -> Candle {
    Candle::load(file, &options(slots), &(Arc::new(|_| true) as _)).unwrap()
}

fn run(slot: usize, position: usize, tokens: &[u32]) -> Run<'_> {
    Run {
        slot: Slot(slot),
        position,
        tokens,
        scored: true,
    }
}

/// Appends `tokens`; the bits of the scores after each piece's last one.
fn append(engine: &mut Candle, slot: usize, from: usize, tokens: &[u32], piece: usize) -> Vec<u32> {
    let mut logits = Logits::default();
    let mut position = from;
    for tokens in tokens.chunks(piece) {
        engine.step(&[run(slot, position, tokens)], &mut logits).unwrap();
        position += tokens.len();
    }
    bits(logits.row_mut(0))
}

fn bits(scores: &[f32]) -> Vec<u32> {
    scores.iter().map(|score| score.to_bits()).collect()
}

fn check_invariance(file: &ModelFile, prompt: &[u32], words: u32) {
    let mut engine = load(file, 10);
    assert!(engine.capabilities().batch_invariant);
    let alone = append(&mut engine, 0, 0, prompt, prompt.len());
    assert!(alone.iter().any(|&score| f32::from_bits(score) != 0.0));
    for piece in [1, 7, 32] {
        engine.truncate(Slot(0), 0).unwrap();
        assert_eq!(alone, append(&mut engine, 0, 0, prompt, piece), "in pieces of {piece}");
    }
    // Seven others of other lengths, in other places of the step, some of them decoding.
    let others: Vec<Vec<u32>> = (1..8)
        .map(|slot| {
            (0..9 * slot as usize)
                .map(|index| (index as u32 * 13 + slot * 101) % words)
                .collect()
        })
        .collect();
    for (index, other) in others.iter().enumerate() {
        append(&mut engine, index + 1, 0, &other[..other.len() / 2], 64);
    }
    engine.truncate(Slot(0), 0).unwrap();
    let mut logits = Logits::default();
    let mut runs: Vec<_> = (0..7)
        .map(|index| {
            run(
                index + 1,
                others[index].len() / 2,
                &others[index][others[index].len() / 2..],
            )
        })
        .collect();
    runs.insert(3, run(0, 0, prompt));
    engine.step(&runs, &mut logits).unwrap();
    assert_eq!(logits.rows(), 8);
    assert_eq!(alone, bits(logits.row_mut(3)), "among others");
    // From a fork that shares its beginning, after the original was cut and went another way.
    let shared = prompt.len() * 2 / 3;
    assert_eq!(engine.fork(Slot(0), Slot(8), shared).unwrap(), shared);
    engine.truncate(Slot(0), shared - 5).unwrap();
    append(&mut engine, 0, shared - 5, &others[6], 16);
    assert_eq!(
        alone,
        append(&mut engine, 8, shared, &prompt[shared..], 3),
        "after a fork"
    );
    // Written again over blocks that others have used.
    for slot in 0..9 {
        engine.truncate(Slot(slot), 0).unwrap();
    }
    append(&mut engine, 9, 0, &others[4], 5);
    assert_eq!(alone, append(&mut engine, 0, 0, prompt, 20), "after eviction");
    engine.truncate(Slot(0), shared + 1).unwrap();
    assert_eq!(
        alone,
        append(&mut engine, 0, shared + 1, &prompt[shared + 1..], 9),
        "after a cut"
    );
}

#[test]
fn scores_do_not_depend_on_the_batch() {
    let words = vocabulary().len() as u32;
    let prompt: Vec<u32> = (0..90).map(|index| (index * 97 + index * index * 31) % words).collect();
    for architecture in ["llama", "qwen2", "qwen3", "gemma3", "phi3"] {
        let folder = tempfile::tempdir().unwrap();
        let file = Tiny::of(architecture).open(folder.path());
        check_invariance(&file, &prompt, words);
    }
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_scores_do_not_depend_on_the_batch() {
    let path = solo_testkit::require_model("smollm2-135m", "model.gguf");
    let file = ModelFile::open("smollm2-135m", &path).unwrap();
    let prompt: Vec<u32> = (0..90).map(|index| 500 + index * 97 % 9000).collect();
    check_invariance(&file, &prompt, 9000);
}

#[test]
fn a_fork_shares_whole_blocks_and_room_is_finite() {
    let folder = tempfile::tempdir().unwrap();
    let file = Tiny::default().open(folder.path());
    let options = EngineOptions {
        kv_cache_bytes: 0,
        ..options(4)
    };
    let mut engine = Candle::load(&file, &options, &(Arc::new(|_| true) as _)).unwrap();
    let capabilities = engine.capabilities();
    assert_eq!(
        (capabilities.slots, capabilities.blocks),
        (4, 256 / BLOCK),
        "one whole sequence"
    );
    let prompt = vec![7; 200];
    append(&mut engine, 0, 0, &prompt, 200);
    // Seven blocks are in use; six of them can be shared, and one is left for the rest.
    assert_eq!(engine.fork(Slot(0), Slot(1), 200).unwrap(), 200);
    let mut logits = Logits::default();
    let full = engine.fork(Slot(0), Slot(2), 199).unwrap_err();
    assert!(full.to_string().contains("sharing"), "{full}");
    assert_eq!(engine.fork(Slot(0), Slot(2), 192).unwrap(), 192);
    assert!(
        engine.step(&[run(2, 192, &[1])], &mut logits).is_err(),
        "all blocks are in use"
    );
    engine.truncate(Slot(1), 0).unwrap();
    engine.step(&[run(2, 192, &[1])], &mut logits).unwrap();
    assert!(
        engine.step(&[run(2, 200, &[1])], &mut logits).is_err(),
        "at another position"
    );
    assert!(engine.step(&[run(9, 0, &[1])], &mut logits).is_err(), "no such slot");
    assert!(
        engine.step(&[run(3, 0, &[1 << 20])], &mut logits).is_err(),
        "no such token"
    );
}
