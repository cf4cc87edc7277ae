//! Which GPUs a model goes on.

use llm_svc::catalogue::ModelFile;
use llm_svc::device::Device;
use llm_svc::engine::placement::{Placed, place};
use llm_svc::engine::{EngineKind, EngineOptions, KvType, Weights};
use solo_models::fit::{GPU_RESERVE, Needs};

use crate::tiny::Tiny;

const LARGE: u64 = 8 << 30;
const SMALL: u64 = 1 << 20;

fn options() -> EngineOptions {
    EngineOptions {
        context_length: 64,
        batch: 16,
        slots: 2,
        kv_cache_bytes: 0,
        kv_type: KvType::F16,
        weights: Weights::Auto,
        threads: 1,
        device: Device::Cuda(vec![0, 1]),
    }
}

fn model() -> (tempfile::TempDir, ModelFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = Tiny::of("llama").open(folder.path());
    (folder, file)
}

#[test]
fn a_model_goes_on_the_first_gpu_that_it_fits_on() {
    let (_folder, file) = model();
    let placed = |free: &[(usize, u64)]| place(EngineKind::Candle, &file, &options(), free, false);
    let layers = file.facts.blocks + 1;
    let on = |gpu| Placed {
        gpus: vec![gpu],
        layers,
    };
    assert_eq!(placed(&[(0, LARGE), (1, LARGE)]).unwrap(), on(0));
    assert_eq!(placed(&[(0, SMALL), (3, LARGE)]).unwrap(), on(3));
    let error = placed(&[(0, SMALL)]).unwrap_err().to_string();
    assert!(
        error.contains("does not fit on one GPU") && error.contains("llama-cpp"),
        "{error}"
    );
}

#[test]
fn one_that_is_too_large_for_each_is_laid_over_all() {
    let (_folder, file) = model();
    let demand = options().demand(EngineKind::LlamaCpp, &file.facts);
    let needs = Needs::of(&file.header, &file.facts, &demand);
    let free = |share: u64| GPU_RESERVE + needs.compute + share;
    let placed = |free: &[(usize, u64)]| place(EngineKind::LlamaCpp, &file, &options(), free, true).unwrap();
    // The most memory in which the model does not fit whole.
    let (mut low, mut high) = (0, needs.total() * 2);
    let whole = |share| placed(&[(0, free(share))]).layers == file.facts.blocks + 1;
    while low + 1 < high {
        let middle = low.midpoint(high);
        if whole(middle) { high = middle } else { low = middle }
    }
    let both = placed(&[(0, free(low)), (1, free(low))]);
    assert_eq!((both.gpus, both.layers), (vec![0, 1], file.facts.blocks + 1));
    let part = placed(&[(0, free(low))]);
    assert_eq!((part.gpus, part.layers), (vec![0], file.facts.blocks));
}
