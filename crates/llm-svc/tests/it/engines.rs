//! Both real engines on tiny random models: they agree with each other and with candle-transformers, use prefixes again,
//! stop when told to, and refuse what they cannot run.

use std::fs::File;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device as CandleDevice, Tensor};
use candle_transformers::models::{quantized_llama, quantized_phi3, quantized_qwen2, quantized_qwen3};
use llm_svc::answer::{Event, Finished, Interrupted, Job, Reason};
use llm_svc::catalogue::ModelFile;
use llm_svc::device::Device;
use llm_svc::engine::{
    BuiltEngines, Candle, EngineKind, EngineOptions, Engines, KvType, Logits, Run, Slot, StepEngine, Weights,
};
use llm_svc::sampling::Sampling;
use solo_service::CancelToken;

use crate::drive::{Session, unwatched};
use crate::model::CORPUS;
use crate::tiny::{Tiny, token, vocabulary};

const KINDS: [EngineKind; 2] = [EngineKind::LlamaCpp, EngineKind::Candle];
const BATCH: usize = 16;

fn qwen2() -> Tiny {
    Tiny::of("qwen2")
}

fn engines() -> BuiltEngines {
    BuiltEngines(EngineOptions {
        context_length: 256,
        batch: BATCH,
        slots: 8,
        kv_cache_bytes: 1 << 20,
        kv_type: KvType::F16,
        weights: Weights::Auto,
        threads: 2,
        device: Device::Cpu,
    })
}

fn load(kind: EngineKind, file: &ModelFile) -> Box<dyn StepEngine> {
    let loaded = engines().load(kind, file, &unwatched());
    loaded.unwrap_or_else(|error| panic!("{kind}: {error}"))
}

fn refusal(kind: EngineKind, tiny: &Tiny) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = tiny.open(folder.path());
    match engines().load(kind, &file, &unwatched()) {
        Ok(_) => panic!("{kind} should refuse this"),
        Err(error) => error.to_string(),
    }
}

/// Tokens that are all different from their neighbours.
pub(crate) fn tokens(count: usize) -> Vec<u32> {
    (0..count)
        .map(|index| ((index * 97 + index * index * 31) % (vocabulary().len() - 8)) as u32)
        .collect()
}

/// Appends tokens to a sequence; the scores after the last.
fn forward(engine: &mut dyn StepEngine, slot: Slot, tokens: &[u32], position: usize) -> Vec<f32> {
    let mut logits = Logits::default();
    let run = Run {
        slot,
        position,
        tokens,
        scored: true,
    };
    engine.step(&[run], &mut logits).unwrap();
    assert_eq!(logits.rows(), 1);
    logits.row_mut(0).to_vec()
}

/// Scores after `tokens`, computed `step` at a time.
pub(crate) fn scores(engine: &mut dyn StepEngine, tokens: &[u32], step: usize) -> Vec<f32> {
    engine.truncate(Slot(0), 0).unwrap();
    let mut logits = Vec::new();
    let mut position = 0;
    for chunk in tokens.chunks(step) {
        logits = forward(engine, Slot(0), chunk, position);
        position += chunk.len();
    }
    logits
}

pub(crate) fn assert_near(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let spread = a.iter().fold(0.0_f32, |spread, x| spread.max(x.abs()));
    let worst = a.iter().zip(b).fold(0.0_f32, |worst, (x, y)| worst.max((x - y).abs()));
    assert!(worst <= tolerance * spread, "{what}: off by {worst} of {spread}");
}

#[test]
fn the_engines_agree_on_random_weights() {
    let stretched = Tiny {
        metadata_of_its_own: &[
            ("rope.scaling.type", || Value::String("yarn".into())),
            ("rope.scaling.factor", || Value::F32(4.0)),
            ("rope.scaling.original_context_length", || Value::U32(64)),
        ],
        ..qwen2()
    };
    let longer = Tiny {
        metadata_of_its_own: &[("rope.scaling.factor", || Value::F32(2.0))],
        ..Tiny::default()
    };
    let all = ["llama", "qwen2", "qwen3", "gemma3", "phi3"].map(Tiny::of);
    for tiny in all.into_iter().chain([stretched, longer]) {
        let folder = tempfile::tempdir().unwrap();
        let file = tiny.open(folder.path());
        let [mut ours, mut theirs] = [EngineKind::Candle, EngineKind::LlamaCpp].map(|kind| load(kind, &file));
        for count in [1, 2, BATCH, 75] {
            let tokens = tokens(count);
            let (a, b) = (
                scores(ours.as_mut(), &tokens, BATCH),
                scores(theirs.as_mut(), &tokens, BATCH),
            );
            // Both round activations to 8 bits before each product, so a last bit elsewhere moves the scores.
            assert_near(&a, &b, 0.04, &format!("{} after {count} tokens", tiny.architecture));
        }
    }
}

/// Scores by candle's own kernels, as on CUDA.
fn reference(file: &ModelFile, tokens: &[u32], piece: usize) -> Vec<f32> {
    let mut engine = Candle::reference(file, &engines().0, &unwatched()).unwrap();
    let mut logits = Logits::default();
    let mut position = 0;
    for tokens in tokens.chunks(piece) {
        let run = Run {
            slot: Slot(0),
            position,
            tokens,
            scored: true,
        };
        engine.step(&[run], &mut logits).unwrap();
        position += tokens.len();
    }
    logits.row_mut(0).to_vec()
}

#[test]
fn candle_agrees_with_candle_transformers() {
    // Gemma 3 is not among them: candle-transformers gates it with SiLU, llama.cpp and its makers with GELU.
    for tiny in ["llama", "qwen2", "qwen3", "phi3"].map(Tiny::of) {
        let folder = tempfile::tempdir().unwrap();
        let file = tiny.open(folder.path());
        let tokens = tokens(40);
        let ours = reference(&file, &tokens, BATCH);
        let mut reader = File::open(&file.path).unwrap();
        let (content, cpu) = (Content::read(&mut reader).unwrap(), CandleDevice::Cpu);
        let input = Tensor::new(tokens.as_slice(), &cpu).unwrap().unsqueeze(0).unwrap();
        let theirs = match tiny.architecture {
            "qwen2" => {
                let model = quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, &cpu);
                model.unwrap().forward(&input, 0)
            }
            "qwen3" => {
                let model = quantized_qwen3::ModelWeights::from_gguf(content, &mut reader, &cpu);
                model.unwrap().forward(&input, 0)
            }
            "phi3" => {
                let model = quantized_phi3::ModelWeights::from_gguf(false, content, &mut reader, &cpu);
                model.unwrap().forward(&input, 0)
            }
            _ => {
                let model = quantized_llama::ModelWeights::from_gguf(content, &mut reader, &cpu);
                model.unwrap().forward(&input, 0)
            }
        };
        let theirs: Vec<f32> = theirs.unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_near(&ours, &theirs, 0.001, tiny.architecture);
    }
}

#[test]
fn our_kernels_agree_with_candles() {
    for architecture in ["llama", "qwen2", "qwen3", "gemma3", "phi3"] {
        // Over f32 weights both compute in f32, and differ by keys and values that ours keeps in f16. Over quantised weights
        // each rounds activations to eight bits, with scales in f32 here and in f16 there, and a number that is rounded the
        // other way moves all that follow, as between candle and llama.cpp.
        for (exact, tolerance) in [(true, 0.004), (false, 0.04)] {
            let tiny = Tiny {
                exact,
                ..Tiny::of(architecture)
            };
            let folder = tempfile::tempdir().unwrap();
            let file = tiny.open(folder.path());
            let tokens = tokens(75);
            let ours = scores(load(EngineKind::Candle, &file).as_mut(), &tokens, BATCH);
            assert_near(&ours, &reference(&file, &tokens, 7), tolerance, architecture);
        }
    }
}

#[test]
fn steps_of_any_size_give_the_same_scores() {
    let folder = tempfile::tempdir().unwrap();
    let file = qwen2().open(folder.path());
    for kind in KINDS {
        let mut engine = load(kind, &file);
        let tokens = tokens(50);
        let whole = scores(engine.as_mut(), &tokens, BATCH);
        for step in [1, 3, 7] {
            assert_near(
                &whole,
                &scores(engine.as_mut(), &tokens, step),
                0.02,
                &format!("{kind} in steps of {step}"),
            );
        }
    }
}

#[test]
fn a_sequence_can_be_taken_up_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let file = Tiny::default().open(folder.path());
    for kind in KINDS {
        let mut engine = load(kind, &file);
        let (long, mut other) = (tokens(48), tokens(48));
        other[20..].reverse();
        let fresh = scores(engine.as_mut(), &other, BATCH);
        scores(engine.as_mut(), &long, BATCH);
        assert_eq!(engine.truncate(Slot(0), 20).unwrap(), 20);
        forward(engine.as_mut(), Slot(0), &other[20..34], 20);
        let logits = forward(engine.as_mut(), Slot(0), &other[34..], 34);
        assert_near(&fresh, &logits, 0.02, kind.as_str());
    }
}

fn job(prompt: &[u32], seed: Option<u64>) -> Job {
    Job {
        prompt: prompt.to_vec(),
        sampling: Sampling {
            temperature: 1.0,
            top_p: 0.95,
            seed,
            ..Sampling::default()
        },
        constraint: None,
        stop: Vec::new(),
        max_tokens: 40,
        logprobs: Some(2),
    }
}

fn answer(session: &mut Session, job: &Job) -> (Vec<Event>, Finished) {
    let mut events = Vec::new();
    let mut show = |event| events.push(event);
    let finished = session.answer(job, &mut show, &CancelToken::new()).unwrap();
    (events, finished)
}

#[test]
fn the_same_seed_gives_the_same_answer_whatever_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = Tiny::default().open(folder.path());
    for kind in KINDS {
        let mut session = Session::new(load(kind, &file), BATCH);
        let prompt = tokens(70);
        let (first, _) = answer(&mut session, &job(&prompt, Some(42)));
        assert!(first.len() > 2, "{first:?}");
        // Another dialogue with the same beginning, and one without a seed that takes over an odd number of tokens.
        let mut other = tokens(70);
        other[37..].reverse();
        answer(&mut session, &job(&other, Some(1)));
        answer(&mut session, &job(&prompt[..59], None));
        answer(&mut session, &job(&prompt, None));
        let (again, finished) = answer(&mut session, &job(&prompt, Some(42)));
        assert_eq!(first[1..], again[1..], "{kind}");
        // llama.cpp rounds otherwise in other steps, so only whole pieces that were computed as such are used again;
        // candle's results do not depend on steps, so it uses every token.
        let exact = kind == EngineKind::LlamaCpp;
        assert!(
            !exact || finished.cached_tokens % BATCH == 0,
            "{kind}: whole pieces only"
        );
        let (third, finished) = answer(&mut session, &job(&prompt, Some(42)));
        assert_eq!(first[1..], third[1..], "{kind}");
        assert_eq!(finished.cached_tokens, if exact { 64 } else { 69 }, "{kind}");
    }
}

#[test]
fn a_dialogue_is_taken_up_where_it_differs() {
    let folder = tempfile::tempdir().unwrap();
    let file = Tiny::default().open(folder.path());
    for kind in KINDS {
        let mut session = Session::new(load(kind, &file), BATCH);
        let prompt = tokens(60);
        let (_, finished) = answer(&mut session, &job(&prompt, None));
        assert_eq!((finished.prompt_tokens, finished.cached_tokens), (60, 0));
        let (_, finished) = answer(&mut session, &job(&prompt, None));
        assert_eq!(finished.cached_tokens, 59, "{kind}: the last token is always computed");
        let longer: Vec<u32> = prompt[..50].iter().copied().chain([7, 8, 9]).collect();
        let (_, finished) = answer(&mut session, &job(&longer, None));
        assert_eq!(finished.cached_tokens, 50, "{kind}");
    }
}

#[test]
fn cancelling_stops_within_a_step_and_leaves_the_model_usable() {
    let folder = tempfile::tempdir().unwrap();
    let file = Tiny::default().open(folder.path());
    for kind in KINDS {
        let mut session = Session::new(load(kind, &file), BATCH);
        let (whole, _) = answer(&mut session, &job(&tokens(30), Some(3)));
        for after in [1, 3] {
            let cancel = CancelToken::new();
            let mut shown = 0;
            let mut show = |_| {
                shown += 1;
                if shown == after {
                    cancel.cancel();
                }
            };
            let stopped = session.answer(&job(&tokens(30), Some(3)), &mut show, &cancel);
            assert!(matches!(stopped, Err(Interrupted::Cancelled)), "{kind}");
            assert_eq!(shown, after, "{kind}: nothing is shown afterwards");
        }
        assert_eq!(
            answer(&mut session, &job(&tokens(30), Some(3))).0[1..],
            whole[1..],
            "{kind}"
        );
    }
}

#[test]
fn the_answer_ends_with_the_context() {
    let folder = tempfile::tempdir().unwrap();
    let file = Tiny::default().open(folder.path());
    for kind in KINDS {
        let mut session = Session::new(load(kind, &file), BATCH);
        let mut job = job(&tokens(250), Some(5));
        job.max_tokens = 1000;
        // Keep the model from ending its turn.
        job.sampling.logit_bias = vec![(token("<|im_end|>"), -100.0), (token("<|endoftext|>"), -100.0)];
        let (_, finished) = answer(&mut session, &job);
        assert_eq!(
            (finished.reason, finished.completion_tokens),
            (Reason::Length, 6),
            "{kind}"
        );
    }
}

#[test]
fn what_cannot_run_is_refused_by_name() {
    let extra = Tiny {
        extra: &["blk.0.attn_sinks.weight"],
        ..Tiny::default()
    };
    assert!(refusal(EngineKind::Candle, &extra).contains("blk.0.attn_sinks.weight"));
    refusal(EngineKind::LlamaCpp, &extra);
    let missing = Tiny {
        without: &["blk.1.ffn_up.weight"],
        ..Tiny::default()
    };
    assert!(refusal(EngineKind::Candle, &missing).contains("blk.1.ffn_up.weight"));
    refusal(EngineKind::LlamaCpp, &missing);
    let unknown = Tiny {
        architecture: "gemma99",
        ..Tiny::default()
    };
    for kind in KINDS {
        let refusal = refusal(kind, &unknown);
        assert!(
            refusal.contains("gemma99") && refusal.contains(kind.as_str()),
            "{refusal}"
        );
    }
    let strange = Tiny {
        pre: "never-heard-of",
        ..Tiny::default()
    };
    assert!(refusal(EngineKind::Candle, &strange).contains("never-heard-of"));
}

#[test]
fn both_engines_split_text_alike() {
    for pre in ["smollm", "gpt-2", "qwen2", "llama-bpe"] {
        let folder = tempfile::tempdir().unwrap();
        let file = Tiny { pre, ..Tiny::default() }.open(folder.path());
        let [ours, theirs] =
            [EngineKind::Candle, EngineKind::LlamaCpp].map(|kind| engines().tokenizer(kind, &file).unwrap());
        for text in CORPUS {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            ours.encode(text, &mut a).unwrap();
            theirs.encode(text, &mut b).unwrap();
            assert_eq!(a, b, "{pre}: {text:?}");
            let bytes: Vec<u8> = a.iter().flat_map(|&token| ours.piece(token)).collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), *text, "{pre}");
        }
        for token in 0..vocabulary().len() as u32 + 3 {
            assert_eq!(ours.piece(token), theirs.piece(token), "{pre}: token {token}");
            assert_eq!(ours.is_end(token), theirs.is_end(token), "{pre}: token {token}");
        }
    }
}
