//! candle's steps over many sequences: the same scores, however a prompt is cut up, whatever else is in a step, and whichever
//! blocks hold it. To the last bit from our own kernels, but for rounding from candle's.

use std::sync::Arc;

use llm_svc::catalogue::ModelFile;
use llm_svc::device::Device;
use llm_svc::engine::{BLOCK, Candle, EngineOptions, KvType, LlamaCpp, Logits, Run, Slot, StepEngine, Weights};

use crate::drive::unwatched;
use crate::engines::assert_near;
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

/// Appends `tokens`; the scores after the last one.
pub(crate) fn append(engine: &mut dyn StepEngine, slot: usize, from: usize, tokens: &[u32], piece: usize) -> Vec<f32> {
    let mut logits = Logits::default();
    let mut position = from;
    for tokens in tokens.chunks(piece) {
        engine.step(&[run(slot, position, tokens)], &mut logits).unwrap();
        position += tokens.len();
    }
    logits.row_mut(0).to_vec()
}

/// Cuts a sequence, which held the beginning of `tokens`, to the first `count` of them. An engine may have to forget more, and
/// computes that anew: how many.
fn cut(engine: &mut dyn StepEngine, slot: usize, tokens: &[u32], count: usize) -> usize {
    let kept = engine.truncate(Slot(slot), count).unwrap();
    append(engine, slot, kept, &tokens[kept..count], 64);
    count - kept
}

/// The same to the last bit.
pub(crate) fn identical(a: &[f32], b: &[f32], what: &str) {
    let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
    assert!(bits(a) == bits(b), "{what}");
}

/// Holds scores after `prompt` against each other: in pieces, among others, after forks, evictions and cuts. `same` compares
/// two and is told when. How many tokens were computed anew because the engine could not keep or share them.
pub(crate) fn check_invariance(
    engine: &mut dyn StepEngine,
    prompt: &[u32],
    words: u32,
    same: impl Fn(&[f32], &[f32], &str),
) -> usize {
    let mut anew = 0;
    let alone = append(engine, 0, 0, prompt, prompt.len());
    assert!(alone.iter().all(|score| score.is_finite()) && alone.iter().any(|&score| score != 0.0));
    for piece in [1, 7, 32] {
        engine.truncate(Slot(0), 0).unwrap();
        same(
            &alone,
            &append(engine, 0, 0, prompt, piece),
            &format!("in pieces of {piece}"),
        );
    }
    // Eight others of other lengths, in other places of the step, some of them decoding.
    let others: Vec<Vec<u32>> = (1..9)
        .map(|slot| {
            (0..9 * slot as usize)
                .map(|index| (index as u32 * 13 + slot * 101) % words)
                .collect()
        })
        .collect();
    let known = |index: usize| match index {
        3..6 => others[index].len() - 1,
        _ => others[index].len() / 2,
    };
    for (index, other) in others.iter().enumerate() {
        append(engine, index + 1, 0, &other[..known(index)], 64);
    }
    let mut logits = Logits::default();
    for last in [prompt.len() - 1, 0] {
        engine.truncate(Slot(0), 0).unwrap();
        if last > 0 {
            append(engine, 0, 0, &prompt[..last], 64);
        }
        let mut runs: Vec<_> = (0..8)
            .map(|index| run(index + 1, known(index), &others[index][known(index)..]))
            .collect();
        runs.insert(3, run(0, last, &prompt[last..]));
        engine.step(&runs, &mut logits).unwrap();
        assert_eq!(logits.rows(), 9);
        same(&alone, logits.row_mut(3), &format!("among others, from {last}"));
        for (index, other) in others.iter().enumerate() {
            engine.truncate(Slot(9), 0).unwrap();
            let row = logits.row_mut(if index < 3 { index } else { index + 1 });
            same(
                &append(engine, 9, 0, other, 64),
                row,
                &format!("other {index}, from {last}"),
            );
            anew += cut(engine, index + 1, other, known(index));
        }
    }
    // From a fork that shares its beginning, after the original was cut and went another way.
    engine.truncate(Slot(9), 0).unwrap();
    let shared = prompt.len() * 2 / 3;
    let kept = engine.fork(Slot(0), Slot(9), shared).unwrap();
    append(engine, 9, kept, &prompt[kept..shared], 64);
    anew += shared - kept + cut(engine, 0, prompt, shared - 5);
    append(engine, 0, shared - 5, &others[6], 16);
    same(&alone, &append(engine, 9, shared, &prompt[shared..], 3), "after a fork");
    // Written again over blocks that others have used.
    for slot in 0..10 {
        engine.truncate(Slot(slot), 0).unwrap();
    }
    append(engine, 9, 0, &others[4], 5);
    same(&alone, &append(engine, 0, 0, prompt, 20), "after eviction");
    anew += cut(engine, 0, prompt, shared + 1);
    same(
        &alone,
        &append(engine, 0, shared + 1, &prompt[shared + 1..], 9),
        "after a cut",
    );
    anew
}

pub(crate) const ARCHITECTURES: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma3", "phi3"];

/// A prompt in the tiny models' vocabulary.
pub(crate) fn prompt() -> Vec<u32> {
    let words = vocabulary().len() as u32;
    (0..90).map(|index| (index * 97 + index * index * 31) % words).collect()
}

#[test]
fn scores_do_not_depend_on_the_batch() {
    for architecture in ARCHITECTURES {
        let folder = tempfile::tempdir().unwrap();
        let file = Tiny::of(architecture).open(folder.path());
        let mut engine = load(&file, 10);
        assert!(engine.capabilities().batch_invariant);
        let anew = check_invariance(&mut engine, &prompt(), vocabulary().len() as u32, identical);
        assert_eq!(anew, 0, "{architecture}");
    }
}

/// What runs on CUDA, here on the processor.
#[test]
fn on_candles_kernels_they_depend_on_it_by_rounding_only() {
    for architecture in ARCHITECTURES {
        let folder = tempfile::tempdir().unwrap();
        let file = Tiny::exact(architecture).open(folder.path());
        let mut engine = Candle::reference(&file, &options(10), &unwatched()).unwrap();
        assert!(!engine.capabilities().batch_invariant);
        let words = vocabulary().len() as u32;
        let near = |a: &[f32], b: &[f32], what: &str| assert_near(a, b, 1e-4, &format!("{architecture}: {what}"));
        assert_eq!(check_invariance(&mut engine, &prompt(), words, near), 0);
        let mut twin = engine.exact_twin(16).unwrap();
        let alone = append(twin.as_mut(), 0, 0, &prompt(), 16);
        append(&mut engine, 1, 0, &prompt()[30..], 7);
        twin.truncate(Slot(0), 0).unwrap();
        identical(&alone, &append(twin.as_mut(), 0, 0, &prompt(), 16), "in the twin");
    }
}

#[test]
fn on_llama_cpp_they_depend_on_it_by_rounding_only() {
    for architecture in ARCHITECTURES {
        let folder = tempfile::tempdir().unwrap();
        let file = Tiny::exact(architecture).open(folder.path());
        let mut engine = LlamaCpp::load(&file, &options(10), &unwatched()).unwrap();
        let near = |a: &[f32], b: &[f32], what: &str| assert_near(a, b, 0.01, &format!("{architecture}: {what}"));
        let anew = check_invariance(&mut engine, &prompt(), vocabulary().len() as u32, near);
        // Gemma 3 has layers with a window, of which llama.cpp keeps no more than the end of a sequence sees.
        assert_eq!(anew > 0, architecture == "gemma3", "{architecture}: {anew}");
    }
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_scores_do_not_depend_on_the_batch() {
    let path = solo_testkit::require_model("smollm2-135m", "model.gguf");
    let file = ModelFile::open("smollm2-135m", &path).unwrap();
    let prompt: Vec<u32> = (0..90).map(|index| 500 + index * 97 % 9000).collect();
    assert_eq!(check_invariance(&mut load(&file, 10), &prompt, 9000, identical), 0);
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
