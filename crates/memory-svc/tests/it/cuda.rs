//! Embeddings on an NVIDIA GPU, held against the processor. `gpu_…` need one, and a build with it: `cargo make test-cuda`.

use memory_svc::config::{EmbeddingConfig, Precision};
use memory_svc::embedding::device::DeviceSetting;

use crate::engine::{configured, dot, embed, tiny_with};
use crate::model::{minilm_with, passages};

/// In what numbers, and how near to the processor's f32 at least.
const NEAR: [(Precision, f32); 2] = [(Precision::F32, 0.9999), (Precision::F16, 0.999)];

fn on_gpu(precision: Precision, max_tokens: usize) -> EmbeddingConfig {
    EmbeddingConfig {
        device: DeviceSetting::Gpu(0),
        precision,
        ..configured(max_tokens)
    }
}

fn assert_near(here: &[Vec<f32>], there: &[Vec<f32>], least: f32, what: &str) {
    assert_eq!(here.len(), there.len());
    let nearness = here.iter().zip(there).map(|(a, b)| dot(a, b));
    let found = nearness.fold(1.0, f32::min);
    println!("{what}: a cosine of {found} at least");
    // No number is least of all.
    assert!(there.iter().flatten().all(|x| x.is_finite()), "{what}");
    assert!(found >= least, "{what}: a cosine of {found}");
    for vector in there {
        assert!(
            (dot(vector, vector) - 1.0).abs() < 1e-5,
            "{what}: means are taken in f32"
        );
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_vectors_are_the_processors() {
    let texts = ["the cat", "the cat sat down . the cats sat down .", "cat", ""];
    let here = embed(&mut (tiny_with(&configured(64)).unwrap().load)().unwrap(), &texts);
    for (precision, least) in NEAR {
        let loader = tiny_with(&on_gpu(precision, 64)).unwrap();
        assert_eq!((loader.device.as_str(), loader.batch), ("cuda:0", 32));
        let mut engine = (loader.load)().unwrap();
        assert!(
            engine.for_documents().is_empty(),
            "one engine for queries and documents"
        );
        let what = format!("{precision:?}");
        let there = embed(&mut engine, &texts);
        assert_near(&here, &there, least, &what);
        let alone: Vec<Vec<f32>> = texts.iter().map(|text| embed(&mut engine, &[text]).remove(0)).collect();
        assert_near(&there, &alone, least, &format!("{what}, each alone"));
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_auto_takes_the_first_that_answers_and_a_missing_one_is_refused() {
    let on = |device| {
        tiny_with(&EmbeddingConfig {
            device,
            ..configured(64)
        })
    };
    assert_eq!(on(DeviceSetting::Auto).unwrap().device, "cuda:0");
    let error = on(DeviceSetting::Gpu(99)).err().expect("there are no hundred GPUs");
    assert_eq!(error.exit_code(), 64);
    assert!(error.to_string().contains("cuda:99 does not answer"), "{error}");
}

#[test]
#[ignore = "needs a GPU and models"]
fn gpu_real_weights_give_the_same_vectors_there() {
    let passages = passages();
    let texts: Vec<&str> = passages.iter().map(String::as_str).collect();
    let (mut here, _) = minilm_with(&configured(256));
    let here = embed(&mut here, &texts);
    for (precision, least) in NEAR {
        let (mut there, _) = minilm_with(&on_gpu(precision, 256));
        let there: Vec<Vec<f32>> = texts.chunks(32).flat_map(|texts| embed(&mut there, texts)).collect();
        assert_near(&here, &there, least, &format!("{precision:?}"));
    }
}
