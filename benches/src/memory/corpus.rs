//! How much memory taking a large corpus in takes: a gigabyte of text, through the service, as clients send it.
//!
//! The vectors are as long as MiniLM's and are made by its tokenizer and a made model without layers, because the real one
//! would need seven hours for a gigabyte. What an engine takes does not depend on the corpus; the bound is about everything
//! else: what is read, cut, stored, indexed and held for searches.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use solo_proto::memory::v1::search_request::Query;
use solo_proto::memory::v1::{SearchMode, SearchRequest};
use solo_tests::Layout;

use super::retrieval::passages;
use super::service::MemorySvc;
use super::{DIMENSION, MODEL, THREADS};
use crate::percentile;
use crate::process::resident_mib;

/// Bytes of a document.
const DOCUMENT_BYTES: usize = 1_000_000;
/// Documents on their way at once.
const AT_ONCE: usize = 4;
/// Lines of the table.
const STEPS: usize = 10;
/// Searches at the end.
const SEARCHES: usize = 100;
/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// Takes `megabytes` of text in and watches the resident memory; a table.
///
/// # Panics
/// When memory-svc does not answer, or the real model is not installed.
pub async fn corpus(megabytes: usize) -> String {
    let models = tempfile::tempdir().expect("a temporary folder");
    made_model(models.path());
    let mut service = MemorySvc::start_on(Layout::new(&format!(
        "[global]\nthreads = {THREADS}\nmodels_dir = {:?}\n\
         [memory.embedding]\nengine = \"candle\"\nmodel = \"{MODEL}\"\nbatch = 8\n",
        models.path()
    )))
    .await;
    let empty = resident_mib(service.pid());
    let mut text = format!(
        "Empty, it has {empty:.0} MiB resident.\n\n\
         | text taken in, MB | pieces | kB a second | resident, most of the last tenth, MiB | on the disk, MB |\n|---:|---:|---:|---:|---:|\n"
    );
    let mut documents = Documents::new();
    let step = megabytes.div_ceil(STEPS).max(1);
    let (mut taken, mut pieces) = (0, 0);
    while taken < megabytes {
        let part = step.min(megabytes - taken);
        let started = Instant::now();
        let (more, most) = watched(&service, part, &mut documents).await;
        (taken, pieces) = (taken + part, pieces + more);
        let speed = (part * DOCUMENT_BYTES) as f64 / 1e3 / started.elapsed().as_secs_f64();
        let disk = folder_bytes(&service.data()) as f64 / 1e6;
        writeln!(text, "| {taken} | {pieces} | {speed:.0} | {most:.0} | {disk:.0} |").expect("a string");
        eprintln!("{taken} MB of {megabytes}: {most:.0} MiB");
    }
    let milliseconds = searches(&mut service).await;
    let peak = service.peak_mib();
    let (p50, p99) = (
        percentile(milliseconds.iter().copied(), 0.5),
        percentile(milliseconds.iter().copied(), 0.99),
    );
    writeln!(text, "\nThe most that it ever had: {peak:.0} MiB. Searches by meaning and words afterwards: p50 {p50:.1} ms, p99 {p99:.1} ms.")
        .expect("a string");
    text
}

/// Takes `count` documents in; how many pieces they were, and the most memory that was resident meanwhile.
async fn watched(service: &MemorySvc, count: usize, documents: &mut Documents) -> (u64, f64) {
    let mut waiting = 0..count;
    let mut running = tokio::task::JoinSet::new();
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    let (mut pieces, mut most) = (0, 0.0_f64);
    loop {
        while running.len() < AT_ONCE && waiting.next().is_some() {
            let (uri, text) = documents.next();
            let mut client = service.client().await;
            running.spawn(async move { client.put(&uri, &text).await });
        }
        tokio::select! {
            done = running.join_next() => {
                let Some(done) = done else { return (pieces, most) };
                let done = done.expect("it is taken in");
                pieces += u64::from(done.document.expect("a document").chunks);
            }
            _ = ticks.tick() => most = most.max(resident_mib(service.pid())),
        }
    }
}

/// Milliseconds that searches take.
async fn searches(service: &mut MemorySvc) -> Vec<f64> {
    let mut client = service.client().await;
    let mut milliseconds = Vec::new();
    for passage in passages().iter().cycle().take(SEARCHES) {
        let words: Vec<&str> = passage.text.split_whitespace().take(8).collect();
        let request = SearchRequest {
            query: Some(Query::Text(words.join(" "))),
            mode: SearchMode::Hybrid.into(),
            limit: 10,
            min_score: Some(-1.0),
            ..SearchRequest::default()
        };
        let started = Instant::now();
        assert!(!client.search(request).await.hits.is_empty(), "what is stored is found");
        milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds
}

/// Texts of which no two are alike, nor two passages in them: what is known already would not be embedded again.
struct Documents {
    passages: Vec<super::retrieval::Passage>,
    random: StdRng,
    count: usize,
}

impl Documents {
    fn new() -> Self {
        Self {
            passages: passages(),
            random: StdRng::seed_from_u64(13),
            count: 0,
        }
    }

    fn next(&mut self) -> (String, String) {
        let mut text = String::with_capacity(DOCUMENT_BYTES + 4096);
        while text.len() < DOCUMENT_BYTES {
            let passage = &self.passages[self.random.random_range(0..self.passages.len())];
            let number: u32 = self.random.random();
            write!(text, "{} {number}\n\n{}\n\n", passage.source, passage.text).expect("a string");
        }
        self.count += 1;
        (format!("file:///corpus/{}.txt", self.count), text)
    }
}

/// Makes a folder of models in which [`MODEL`] has its own tokenizer, and weights that only look words up.
fn made_model(folder: &Path) {
    let installed = solo_testkit::models_dir().join(MODEL);
    let made = folder.join(MODEL);
    std::fs::create_dir(&made).expect("a folder");
    std::fs::copy(installed.join("tokenizer.json"), made.join("tokenizer.json"))
        .expect("the model is installed: cargo make models");
    let (words, positions) = (30_522, 512);
    let config = json!({
        "model_type": "bert", "hidden_size": DIMENSION, "num_hidden_layers": 0, "num_attention_heads": 12,
        "intermediate_size": 4 * DIMENSION, "vocab_size": words, "max_position_embeddings": positions,
        "type_vocab_size": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "initializer_range": 0.02,
        "layer_norm_eps": 1e-12, "pad_token_id": 0, "position_embedding_type": "absolute",
    });
    std::fs::write(made.join("config.json"), config.to_string()).expect("a configuration");
    let mut random = StdRng::seed_from_u64(17);
    let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| random.random_range(-1.0..1.0)).collect() };
    let tensors = [
        (
            "embeddings.word_embeddings.weight",
            vec![words, DIMENSION],
            numbers(words * DIMENSION),
        ),
        (
            "embeddings.position_embeddings.weight",
            vec![positions, DIMENSION],
            vec![0.0; positions * DIMENSION],
        ),
        (
            "embeddings.token_type_embeddings.weight",
            vec![2, DIMENSION],
            vec![0.0; 2 * DIMENSION],
        ),
        ("embeddings.LayerNorm.weight", vec![DIMENSION], vec![1.0; DIMENSION]),
        ("embeddings.LayerNorm.bias", vec![DIMENSION], vec![0.0; DIMENSION]),
    ];
    std::fs::write(made.join("model.safetensors"), safetensors(&tensors)).expect("weights");
}

/// A safetensors file: the length of a JSON header, the header, the numbers.
fn safetensors(tensors: &[(&str, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let (mut header, mut body) = (serde_json::Map::new(), Vec::new());
    for (name, shape, numbers) in tensors {
        let begin = body.len();
        body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let offsets = [begin, body.len()];
        header.insert(
            (*name).to_owned(),
            json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets }),
        );
    }
    let header = serde_json::Value::from(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(body);
    file
}

/// Bytes of the files in a folder. What goes while it is counted does not count.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
