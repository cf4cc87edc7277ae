//! The real MiniLM: agreement with a reference, meaning, the service as a whole, its speed.
//!
//! The reference values were computed in float64 with NumPy from the same weights and tokenizer, straight from the
//! published architecture.

use std::time::{Duration, Instant};

use memory_svc::config::{EmbeddingConfig, EngineKind};
use memory_svc::embedding::{Embedder, TokenCounter, candle, onnx};
use solo_proto::memory::v1::*;
use solo_service::testing::Harness;
use solo_testkit::{models_dir, require_model};

use crate::engine::{configured, dot, embed};
use crate::support::{Client, Fixture, query};

type Loaded = (Box<dyn Embedder>, std::sync::Arc<dyn TokenCounter>);

fn minilm() -> Loaded {
    minilm_with(&configured(256))
}

/// MiniLM on candle, on whatever is configured.
pub fn minilm_with(config: &EmbeddingConfig) -> Loaded {
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        require_model("minilm-l6-v2", file);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let loader = candle::loader(&models_dir(), config, threads).unwrap();
    ((loader.load)().unwrap(), loader.counter)
}

fn int8() -> Loaded {
    require_model("minilm-l6-v2", "tokenizer.json");
    require_model("minilm-l6-v2-int8", "model.onnx");
    require_model("onnxruntime", "libonnxruntime.so");
    let config = EmbeddingConfig {
        engine: EngineKind::Onnx,
        ..configured(256)
    };
    let loader = onnx::loader(&models_dir(), &config, 2).unwrap();
    ((loader.load)().unwrap(), loader.counter)
}

/// A quarter of the texts that retrieval is measured with.
pub fn passages() -> Vec<String> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/retrieval/passages.jsonl"
    );
    let lines = std::fs::read_to_string(file).unwrap();
    let text = |line: &str| {
        let passage: serde_json::Value = serde_json::from_str(line).unwrap();
        passage["text"].as_str().unwrap().to_owned()
    };
    lines.lines().step_by(4).map(text).collect()
}

/// A store may hold both: what is near in one is near in the other.
#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_int8_vectors_are_those_of_f32() {
    let (mut full, counter) = minilm();
    let (mut small, small_counter) = int8();
    let passages = passages();
    let texts: Vec<&str> = passages.iter().map(String::as_str).collect();
    assert!(texts.len() > 50);
    let (full_vectors, small_vectors) = (embed(&mut full, &texts), embed(&mut small, &texts));
    let mut least = 1.0_f32;
    for (text, (a, b)) in texts.iter().zip(full_vectors.iter().zip(&small_vectors)) {
        assert_eq!(counter.count(text), small_counter.count(text));
        assert!((dot(b, b) - 1.0).abs() < 1e-4);
        least = least.min(dot(a, b));
    }
    assert!(least > 0.99, "a cosine of {least}");
    let others = small.for_documents();
    assert_eq!(others.len(), 2, "a thread each");
    for load in others {
        assert_eq!(embed(&mut load().unwrap(), &texts[..3]), small_vectors[..3]);
    }
    let together: Vec<f32> = embed(&mut small, &texts[..8]).concat();
    let alone: Vec<f32> = small_vectors[..8].concat();
    assert!(dot(&together, &alone) / 8.0 > 0.99, "padding must not change a vector");
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_vectors_agree_with_the_reference() {
    let (mut embedder, counter) = minilm();
    let reference: [(&str, usize, [f32; 6], f32); 3] = [
        (
            "That is a happy person",
            5,
            [-0.033877, 0.091942, 0.048701, -0.034884, -0.064829, -0.026686],
            0.45568,
        ),
        (
            "My sister's birthday is on the fourth of May.",
            12,
            [0.027884, 0.005553, 0.026379, -0.033433, -0.025181, 0.006471],
            -0.1353,
        ),
        (
            "Wie spät ist es? 東京 \u{1F600}",
            9,
            [0.073751, 0.047656, 0.110158, -0.018942, -0.043066, 0.025273],
            0.01082,
        ),
    ];
    let texts = reference.map(|(text, ..)| text);
    for ((text, tokens, first, sum), vector) in reference.iter().zip(embed(&mut embedder, &texts)) {
        assert_eq!(counter.count(text), *tokens, "{text}");
        assert_eq!(vector.len(), 384);
        for (expected, found) in first.iter().zip(&vector) {
            assert!((expected - found).abs() < 2e-6, "{text}: {expected} {found}");
        }
        assert!((vector.iter().sum::<f32>() - sum).abs() < 1e-4, "{text}");
    }
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_paraphrases_are_nearer_than_unrelated_texts() {
    let (mut embedder, _) = minilm();
    let texts = [
        "That is a happy person",
        "That is a very happy person",
        "Today is a sunny day",
    ];
    let vectors = embed(&mut embedder, &texts);
    assert!((dot(&vectors[0], &vectors[1]) - 0.94291).abs() < 1e-4);
    assert!((dot(&vectors[0], &vectors[2]) - 0.25688).abs() < 1e-4);
    assert_eq!(
        embed(&mut embedder, &texts),
        vectors,
        "the same texts give the same vectors"
    );
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_text_beyond_256_tokens_does_not_count() {
    let (mut embedder, counter) = minilm();
    let cut = "tomato ".repeat(254);
    let long = format!("{cut}and a violin concerto");
    assert_eq!(counter.count(&cut), 254);
    let vectors = embed(&mut embedder, &[&cut, &long, "tomato"]);
    assert!((dot(&vectors[0], &vectors[1]) - 1.0).abs() < 1e-5);
    assert!(dot(&vectors[0], &vectors[2]) < 0.9999);
}

const NOTES: [&str; 12] = [
    "My sister's birthday is on the fourth of May.",
    "The spare key is under the blue flower pot behind the shed.",
    "Our wifi password is correct horse battery staple.",
    "Dr. Meyer's practice is open on Mondays and Thursdays from eight to noon.",
    "The recipe for sourdough needs 500 g of flour, 350 g of water and 10 g of salt.",
    "The car must go to its inspection in October.",
    "The Treaty of Westphalia ended the Thirty Years' War in 1648.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "We saw puffins on the cliffs near Vik in Iceland last summer.",
    "The dishwasher shows error E15 when water is in the base pan.",
    "Anna is allergic to peanuts and to cats.",
    "The meeting about the budget was moved to Friday at three.",
];

/// A question for each note.
const QUESTIONS: [&str; 12] = [
    "When is my sister's birthday?",
    "where did I put the spare key",
    "what is the wireless password",
    "when can I see the doctor?",
    "how much water goes into the bread?",
    "when is the car due for inspection",
    "which peace ended the war in 1648?",
    "how do plants make sugar?",
    "which birds did we see in Iceland",
    "dishwasher error E15",
    "can Anna eat peanut butter?",
    "when is the budget meeting?",
];

/// Questions that no note answers.
const UNRELATED: [&str; 6] = [
    "tell me a joke",
    "set a timer for ten minutes",
    "who won the world cup in 2014?",
    "how tall is the Eiffel tower?",
    "play some jazz",
    "what is seven times eight",
];

async fn start_for_real() -> Fixture {
    require_model("minilm-l6-v2", "model.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let overrides = format!(
        "[global]\nmodels_dir = {:?}\n[memory]\npath = {:?}\n",
        models_dir(),
        folder.path()
    );
    let harness = Harness::start(memory_svc::DEFINITION, &overrides, memory_svc::build)
        .await
        .unwrap();
    let client = Client::new(harness.channel().await);
    Fixture {
        harness,
        folder,
        client,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs models: cargo make test-models"]
async fn model_questions_find_their_notes_and_nothing_else_finds_any() {
    let fixture = start_for_real().await;
    for note in NOTES {
        fixture.client.put("", note).await;
    }
    // As a dialogue would ask: with the configured floor.
    let ask = async |text: &str| {
        fixture
            .client
            .search(SearchRequest {
                min_score: None,
                limit: 3,
                ..query(text)
            })
            .await
            .unwrap()
            .hits
    };
    for (question, note) in QUESTIONS.iter().zip(NOTES) {
        let hits = ask(question).await;
        println!("{:.3} {question}", hits[0].score);
        assert_eq!(hits[0].text, note, "{question}");
    }
    for question in UNRELATED {
        let hits = ask(question).await;
        assert!(hits.is_empty(), "{question}: {hits:?}");
    }
    let status = fixture.harness.context().status.snapshot();
    assert_eq!(
        (status.engine.as_str(), status.model.as_str(), status.device.as_str()),
        ("onnx", "minilm-l6-v2", "cpu")
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs models: cargo make test-models"]
async fn model_chunks_keep_the_budget_and_a_query_does_not_wait_for_a_long_document() {
    let fixture = start_for_real().await;
    let (_, counter) = minilm();
    let text: String = (0..400)
        .map(|n| format!("{} This is note number {n}. \n\n", NOTES[n % NOTES.len()]))
        .collect();
    let alone = median_search(&fixture.client, 20).await;
    let client = fixture.client.clone();
    let content = text.clone();
    let started = Instant::now();
    let putting = tokio::spawn(async move { client.put("file:///long.txt", &content).await });
    let mut beside = Vec::new();
    while !putting.is_finished() {
        let started = Instant::now();
        fixture.client.find("where is the spare key?").await;
        beside.push(started.elapsed());
    }
    let document = putting.await.unwrap().document;
    let took = started.elapsed();
    beside.sort();
    let (p50, longest) = (beside[beside.len() / 2], beside[beside.len() - 1]);
    println!(
        "{} chunks in {took:?} beside searches; search alone {alone:?}, beside it p50 {p50:?}, longest {longest:?}; {} chunks/s",
        document.chunks,
        fixture.gauge("embedding_rate")
    );
    assert!(longest < took / 2, "a query waited {longest:?} of {took:?}");
    let hits = fixture.client.find("spare key").await;
    for hit in &hits {
        assert!(counter.count(&hit.text) <= 200, "{}", counter.count(&hit.text));
    }
    assert_eq!(fixture.client.text_of(&document.id).await.unwrap(), text);
}

async fn median_search(client: &Client, count: usize) -> Duration {
    let mut times = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        client.find("where is the spare key?").await;
        times.push(started.elapsed());
    }
    times.sort();
    times[count / 2]
}
