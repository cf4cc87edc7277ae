//! Where embeddings are computed, in what numbers and how many at once: what configuration may say of it, and what comes of it.

use std::sync::{Arc, Mutex};

use memory_svc::config::{EmbeddingConfig, Precision};
use memory_svc::embedding::{Embedder, EmbeddingError, Loader};
use solo_service::CancelToken;

use crate::engine::{configured, dot, embed, tiny_with};
use crate::support::*;

#[test]
fn vectors_in_f16_are_those_of_f32_but_for_rounding() {
    let in_precision = |precision| {
        let config = EmbeddingConfig {
            precision,
            ..configured(64)
        };
        let loader = tiny_with(&config).unwrap();
        assert_eq!(
            loader.identity,
            tiny_with(&configured(64)).unwrap().identity,
            "a store holds both"
        );
        (loader.load)().unwrap()
    };
    let (mut full, mut half) = (in_precision(Precision::F32), in_precision(Precision::F16));
    // Short ones are padded beside the long one.
    let texts = ["the cat", "the cat sat down . the cats sat down .", "cat", ""];
    let (a, b) = (embed(&mut full, &texts), embed(&mut half, &texts));
    for (text, (a, b)) in texts.iter().zip(a.iter().zip(&b)) {
        assert!(dot(a, b) > 0.999, "{text}: {}", dot(a, b));
        assert!((dot(b, b) - 1.0).abs() < 1e-5, "{text}: means are taken in f32");
        let alone = embed(&mut half, &[text]).remove(0);
        assert!(dot(&alone, b) > 0.999, "padding must not change a vector: {text}");
    }
    assert_ne!(a, b, "it was f16");
}

#[test]
fn the_processor_is_taken_where_no_gpu_is_asked_for() {
    let loader = tiny_with(&configured(64)).unwrap();
    assert_eq!(
        (loader.engine, loader.device.as_str(), loader.batch),
        ("candle", "cpu", 1)
    );
    assert!(!(loader.load)().unwrap().for_documents().is_empty());
}

#[cfg(not(feature = "cuda"))]
#[test]
fn builds_without_cuda_say_so() {
    use memory_svc::embedding::device::DeviceSetting;

    let on = |device| {
        tiny_with(&EmbeddingConfig {
            device,
            ..configured(64)
        })
    };
    assert_eq!(on(DeviceSetting::Auto).unwrap().device, "cpu");
    let error = on(DeviceSetting::Gpu(0)).err().expect("it is refused");
    assert_eq!(error.exit_code(), 64);
    for part in ["memory.embedding.device", "--features cuda", "\"cpu\""] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_cannot_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    for (lines, parts) in [
        (
            "device = \"cuda\"",
            ["memory.embedding.device", "\"onnx\"", "found \"cuda:0\"", "\"candle\""],
        ),
        (
            "precision = \"f16\"",
            ["memory.embedding.precision", "\"onnx\"", "\"f32\"", "\"candle\""],
        ),
        (
            "engine = \"candle\"\ndevice = \"gpu\"",
            ["memory.embedding.device", "`gpu`", "cpu", "cuda:N is wanted"],
        ),
        (
            "engine = \"candle\"\nprecision = \"int8\"",
            ["memory.embedding.precision", "int8", "f32", "f16"],
        ),
        (
            "batch = 257",
            ["memory.embedding.batch", "0 to 256", "is wanted", "257"],
        ),
    ] {
        let overrides = format!("[memory.embedding]\n{lines}\n");
        let error = start_in(folder.path(), &overrides, loader()).await.err();
        let error = error.unwrap_or_else(|| panic!("it is refused: {lines}"));
        assert_eq!(error.exit_code(), 64, "{lines}");
        for part in parts {
            assert!(error.to_string().contains(part), "{lines}: {part}: {error}");
        }
    }
}

/// Embeds as [`WordVectors`] and notes how many texts came in one go.
struct Counting(Arc<Mutex<Vec<usize>>>);

impl Embedder for Counting {
    fn embed(&mut self, texts: &[String], cancel: &CancelToken) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        self.0.lock().unwrap().push(texts.len());
        WordVectors.embed(texts, cancel)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_as_large_as_configured_or_as_suits_the_engine() {
    for (configured, expected) in [(0, 3), (2, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
        let loader = Loader {
            device: "cuda:0".into(),
            batch: 3,
            ..loader_with("words", Counting(Arc::clone(&sizes)))
        };
        let overrides = format!("[memory.embedding]\nbatch = {configured}\n");
        let harness = start_in(folder.path(), &overrides, loader).await.unwrap();
        let put = Client::new(harness.channel().await)
            .put("file:///a.txt", &words("w", 1500))
            .await;
        let sizes = sizes.lock().unwrap().clone();
        assert!(put.embedded > 3, "{}", put.embedded);
        assert_eq!(sizes.iter().max(), Some(&expected), "{sizes:?}");
        assert_eq!(harness.context().status.snapshot().device, "cuda:0");
    }
}
