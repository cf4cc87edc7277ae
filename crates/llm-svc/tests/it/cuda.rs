//! Both engines on an NVIDIA GPU, held against the processor. `gpu_…` need one, and a build with it: `cargo make test-cuda`.
//! With SOLO_TEST_DEVICE=cuda:0 the `model_…` tests run on it, too.

use candle_core::{DType, Device as CandleDevice, Tensor};
use llm_svc::catalogue::ModelFile;
use llm_svc::device::{Device, WatchedGpus};
use llm_svc::engine::{BuiltEngines, Candle, EngineKind, EngineOptions, Engines, KvType, Slot, StepEngine, Weights};
use solo_models::fit::{GPU_RESERVE, Needs};
use solo_service::gpu::Watched;

use crate::drive::unwatched;
use crate::engines::{assert_near, scores, tokens};
use crate::steps::{ARCHITECTURES, append, check_invariance, identical, prompt};
use crate::tiny::{Tiny, vocabulary};

const KINDS: [EngineKind; 2] = [EngineKind::LlamaCpp, EngineKind::Candle];

fn options(device: Device) -> EngineOptions {
    EngineOptions {
        context_length: 256,
        batch: 512,
        slots: 10,
        kv_cache_bytes: 1 << 30,
        kv_type: KvType::F16,
        weights: Weights::Auto,
        threads: 2,
        device,
    }
}

fn load(kind: EngineKind, file: &ModelFile, device: Device) -> Box<dyn StepEngine> {
    let loaded = BuiltEngines(options(device)).load(kind, file, &unwatched());
    loaded.unwrap_or_else(|error| panic!("{kind}: {error}"))
}

fn gpu() -> Device {
    Device::Cuda(vec![0])
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_scores_are_the_processors() {
    for architecture in ARCHITECTURES {
        // Over f32 weights the two differ by sums and by f16; over quantised ones each rounds activations its own way.
        for (exact, tolerance) in [(true, 0.01), (false, 0.05)] {
            let tiny = Tiny {
                exact,
                ..Tiny::of(architecture)
            };
            let folder = tempfile::tempdir().unwrap();
            let file = tiny.open(folder.path());
            for kind in KINDS {
                let mut here = load(kind, &file, Device::Cpu);
                let mut there = load(kind, &file, gpu());
                for count in [1, 2, 75] {
                    let tokens = tokens(count);
                    let (a, b) = (scores(here.as_mut(), &tokens, 16), scores(there.as_mut(), &tokens, 16));
                    let what = format!("{architecture} on {kind} after {count} tokens, exact: {exact}");
                    assert_near(&a, &b, tolerance, &what);
                }
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_scores_depend_on_the_batch_by_rounding_only() {
    for architecture in ARCHITECTURES {
        let folder = tempfile::tempdir().unwrap();
        let file = Tiny::exact(architecture).open(folder.path());
        for kind in KINDS {
            let near = |a: &[f32], b: &[f32], what: &str| {
                assert_near(a, b, 0.01, &format!("{architecture} on {kind}: {what}"));
            };
            let mut engine = load(kind, &file, gpu());
            check_invariance(engine.as_mut(), &prompt(), vocabulary().len() as u32, near);
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_twins_give_the_same_scores_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let file = Tiny::of("qwen2").open(folder.path());
    for kind in KINDS {
        let mut engine = load(kind, &file, gpu());
        let mut twin = engine.exact_twin(16).unwrap();
        let alone = append(twin.as_mut(), 0, 0, &prompt(), 16);
        for slot in 0..8 {
            append(engine.as_mut(), slot, 0, &prompt()[slot..], 30);
            twin.truncate(Slot(0), 0).unwrap();
            identical(&alone, &append(twin.as_mut(), 0, 0, &prompt(), 16), kind.as_str());
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_watch_hears_from_those_that_are_there() {
    let mut watched = WatchedGpus::of(&gpu()).unwrap().unwrap();
    watched.check().unwrap();
    let Err(error) = WatchedGpus::of(&Device::Cuda(vec![99])) else {
        panic!("there are no hundred GPUs");
    };
    assert!(error.to_string().contains("cuda:99 does not answer"), "{error}");
}

/// Most of the GPU's memory is taken, so that part of the model stays with the processor.
#[test]
#[ignore = "needs a GPU and models"]
fn gpu_what_does_not_fit_stays_with_the_processor() {
    let path = solo_testkit::require_model("smollm2-135m", "model.gguf");
    let file = ModelFile::open("smollm2-135m", &path).unwrap();
    let needs = |kind| Needs::of(&file.header, &file.facts, &options(gpu()).demand(kind, &file.facts));
    let device = CandleDevice::new_cuda(0).unwrap();
    let free = || {
        let context = device.as_cuda_device().unwrap().cuda_stream().context().clone();
        context.mem_get_info().unwrap().0 as u64
    };
    let whole = needs(EngineKind::LlamaCpp);
    let left = GPU_RESERVE + whole.compute + (whole.total() - whole.compute) / 2;
    let mut taken = Vec::new();
    while free() > left + (64 << 20) {
        // In pieces: a tensor counts its numbers in 32 bits in some kernels.
        let bytes = (free() - left).min(1 << 30) as usize;
        taken.push(Tensor::zeros(bytes, DType::U8, &device).unwrap());
    }
    let tokens: Vec<u32> = (0..90).map(|index| 500 + index * 97 % 9000).collect();
    let mut partly = load(EngineKind::LlamaCpp, &file, gpu());
    let Err(refusal) = Candle::load(&file, &options(gpu()), &unwatched()) else {
        panic!("candle has no place for it");
    };
    assert!(refusal.to_string().contains("does not fit on one GPU"), "{refusal}");
    let mut whole = load(EngineKind::LlamaCpp, &file, Device::Cpu);
    let (a, b) = (
        scores(whole.as_mut(), &tokens, 64),
        scores(partly.as_mut(), &tokens, 64),
    );
    assert_near(&a, &b, 0.1, "partly on the GPU");
    drop(taken);
}

#[test]
#[ignore = "needs a GPU and models"]
fn gpu_real_weights_say_the_same_there() {
    let path = solo_testkit::require_model("smollm2-135m", "model.gguf");
    let file = ModelFile::open("smollm2-135m", &path).unwrap();
    let prompt: Vec<u32> = (0..90).map(|index| 500 + index * 97 % 9000).collect();
    for kind in KINDS {
        let [a, b] = [Device::Cpu, gpu()].map(|device| scores(load(kind, &file, device).as_mut(), &prompt, 64));
        assert_near(&a, &b, 0.1, kind.as_str());
        let best_of = |scores: &[f32]| {
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map(|(token, _)| token)
        };
        println!(
            "{kind}: the best token is {:?} here and {:?} there",
            best_of(&a),
            best_of(&b)
        );
    }
}
