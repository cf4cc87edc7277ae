//! Which engine `auto` means: candle on a processor that it has kernels for, where it runs the model as configured.

use candle_core::quantized::gguf_file::Value;
use llm_svc::device::Device;
use llm_svc::engine::{BuiltEngines, EngineKind, EngineOptions, Engines, KvType, Weights};

use crate::tiny::Tiny;

fn options() -> EngineOptions {
    EngineOptions {
        context_length: 256,
        batch: 16,
        slots: 2,
        kv_cache_bytes: 1 << 20,
        kv_type: KvType::F16,
        weights: Weights::Auto,
        threads: 1,
        device: Device::Cpu,
    }
}

/// The engine, and why.
fn fastest(tiny: &Tiny, options: EngineOptions) -> (EngineKind, String) {
    let folder = tempfile::tempdir().unwrap();
    BuiltEngines(options).fastest(&tiny.open(folder.path()))
}

/// Whether candle has kernels for the processor that this runs on.
fn has_kernels() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

#[test]
fn the_processor_has_candle_for_the_models_that_it_knows() {
    for architecture in ["llama", "qwen2", "qwen3", "gemma3", "phi3"] {
        let (engine, why) = fastest(&Tiny::of(architecture), options());
        if has_kernels() {
            assert_eq!(engine, EngineKind::Candle, "{architecture}: {why}");
            assert_eq!(why, "candle, the faster one on this processor");
        } else {
            assert_eq!(engine, EngineKind::LlamaCpp, "{architecture}");
            assert!(why.contains("no kernels for this processor"), "{architecture}: {why}");
        }
    }
}

#[test]
fn what_candle_does_not_do_is_llama_cpps_and_the_reason_names_it() {
    let odd = |metadata_of_its_own| Tiny {
        metadata_of_its_own,
        ..Tiny::of("phi3")
    };
    let cases: [(Tiny, EngineOptions, &str); 7] = [
        (Tiny::exact("llama"), options(), "not quantised"),
        (
            Tiny {
                architecture: "gemma99",
                ..Tiny::default()
            },
            options(),
            "`gemma99`",
        ),
        (
            Tiny {
                extra: &["blk.0.attn_sinks.weight"],
                ..Tiny::default()
            },
            options(),
            "blk.0.attn_sinks.weight",
        ),
        (
            odd(&[("attention.sliding_window", || Value::U32(64))]),
            options(),
            "64 tokens of context for this model, of 256",
        ),
        (
            odd(&[("rope.scaling.type", || Value::String("longrope".into()))]),
            options(),
            "`longrope`",
        ),
        (
            Tiny::default(),
            EngineOptions {
                kv_type: KvType::Q8,
                ..options()
            },
            "q8_0",
        ),
        (
            Tiny::default(),
            EngineOptions {
                weights: Weights::Mapped,
                ..options()
            },
            "mapped",
        ),
    ];
    for (tiny, options, named) in cases {
        let (engine, why) = fastest(&tiny, options);
        assert_eq!(engine, EngineKind::LlamaCpp, "{named}");
        assert!(why.starts_with("llama-cpp, because "), "{why}");
        assert!(why.contains(named) || !has_kernels(), "{named}: {why}");
    }
}

#[test]
fn gpus_have_llama_cpp() {
    let on_gpus = EngineOptions {
        device: Device::Cuda(vec![0, 1]),
        ..options()
    };
    let said = (EngineKind::LlamaCpp, "llama-cpp, the faster one on cuda:0,1".to_owned());
    assert_eq!(fastest(&Tiny::default(), on_gpus), said);
}
