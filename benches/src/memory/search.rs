//! How fast the nearest of many vectors are found: memory-svc over gRPC and its parts, Chroma over HTTP, in turn.

use std::path::Path;
use std::time::Instant;

use memory_svc::document::{ChunkDraft, DocumentDraft};
use memory_svc::embedding::Identity;
use memory_svc::names::{CollectionName, DocumentUri, Principal};
use memory_svc::query::{By, Filter, Query};
use memory_svc::store::Store;
use memory_svc::store::lance::{Indexing, LanceStore};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use solo_proto::memory::v1::search_request::Query as Wanted;
use solo_proto::memory::v1::{SearchMode, SearchRequest, Vector};

use super::peer::{Chroma, Python};
use super::report::Samples;
use super::service::{Client, MemorySvc};
use super::{DIMENSION, MODEL, Who};
use crate::percentile;

/// Points that the vectors lie around, as texts lie around subjects.
const CLUSTERS: usize = 1000;
/// Deviation of a component from its cluster's centre.
const SPREAD: f32 = 0.04;
/// Searches of one contender in one round.
const QUERIES: usize = 500;
/// Hits of a search.
const WANTED: usize = 10;
/// Characters of each piece's text.
const TEXT: usize = 400;
/// Memory for the store that is held in it.
const RESIDENT_BYTES: u64 = 4 << 30;

/// Everything that is asked.
struct Contenders {
    ours: Client,
    store: LanceStore,
    lance: LanceStore,
    chroma: Chroma,
    collection: String,
}

/// Measures `count` vectors, `rounds` times.
///
/// # Panics
/// When a contender does not answer.
pub async fn search(count: usize, rounds: u32, samples: &mut Samples) {
    let (all, queries) = vectors(count);
    let exact: Vec<Vec<usize>> = queries.iter().map(|query| nearest(&all, query)).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (served, held, indexed) = (
        folder.path().join("served"),
        folder.path().join("held"),
        folder.path().join("indexed"),
    );

    let lance = filled(&indexed, &all).await;
    copy(&indexed, &served);
    copy(&indexed, &held);
    lance.index().await.expect("the index is built");
    lance.warm().await.expect("the index is read");
    let store = open(&held, RESIDENT_BYTES).await;
    let started = Instant::now();
    store.warm().await.expect("the store is read");
    samples.record("held after", Who::Store, started.elapsed().as_secs_f64());
    let service = MemorySvc::start(Some(&served)).await;

    let raw = folder.path().join("vectors.f32");
    let bytes: Vec<u8> = all.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(&raw, bytes).expect("a file of vectors");
    drop(all);
    let chroma = Chroma::start(&folder.path().join("chroma")).await;
    let collection = Python::start().fill(&raw, count, chroma.port());
    let mut contenders = Contenders {
        ours: service.client().await,
        store,
        lance,
        chroma,
        collection,
    };
    for round in 0..=rounds {
        for who in [Who::Ours, Who::Store, Who::Lance, Who::Chroma] {
            let (mut took, mut hits) = (Vec::new(), 0);
            for (query, exact) in queries.iter().zip(&exact) {
                let started = Instant::now();
                let found = contenders.ask(who, query).await;
                took.push(started.elapsed().as_secs_f64() * 1e3);
                hits += found.iter().filter(|row| exact.contains(row)).count();
            }
            // The first round warms everybody up.
            if round > 0 {
                samples.record("p50", who, percentile(took.iter().copied(), 0.5));
                samples.record("p99", who, percentile(took, 0.99));
                samples.record("recall", who, hits as f64 / (QUERIES * WANTED) as f64);
            }
        }
    }
    for (above, below) in samples.pairs(("p50", Who::Ours), ("p50", Who::Store)) {
        samples.record("grpc", Who::Ours, above - below);
    }
    samples.record("resident", Who::Ours, service.peak_mib());
    samples.record("resident", Who::Chroma, contenders.chroma.peak_mib());
}

/// A store of `count` vectors in a folder, and what is asked of it.
pub(crate) async fn store(folder: &Path, count: usize) -> Vec<Vec<f32>> {
    let (all, queries) = vectors(count);
    filled(folder, &all).await;
    queries
}

/// `count` vectors, and those that are searched with.
fn vectors(count: usize) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let mut random = StdRng::seed_from_u64(7);
    let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| unit(normals(&mut random, 1.0))).collect();
    let mut vectors = |count: usize| -> Vec<Vec<f32>> {
        let near = |_| {
            let centre = &centres[random.random_range(0..CLUSTERS)];
            let noise = normals(&mut random, SPREAD);
            unit(centre.iter().zip(noise).map(|(centre, noise)| centre + noise).collect())
        };
        (0..count).map(near).collect()
    };
    (vectors(count), vectors(QUERIES))
}

impl Contenders {
    async fn ask(&mut self, who: Who, vector: &[f32]) -> Vec<usize> {
        match who {
            Who::Ours => {
                let hits = self.ours.search(request(vector)).await.hits.into_iter();
                let start = |hit: solo_proto::memory::v1::Hit| hit.citation?.range.map(|range| range.start);
                hits.filter_map(start).map(row).collect()
            }
            Who::Store => in_process(&self.store, vector).await,
            Who::Lance => in_process(&self.lance, vector).await,
            Who::Chroma => self.chroma.search(&self.collection, vector, WANTED).await,
        }
    }
}

/// The pieces whose vectors are nearest to this one.
pub(crate) fn request(vector: &[f32]) -> SearchRequest {
    SearchRequest {
        query: Some(Wanted::Vector(Vector {
            values: vector.to_vec(),
        })),
        mode: SearchMode::Dense.into(),
        limit: WANTED as u32,
        min_score: Some(-1.0),
        ..SearchRequest::default()
    }
}

async fn in_process(store: &LanceStore, vector: &[f32]) -> Vec<usize> {
    let query = Query {
        by: By::Vector(vector.to_vec()),
        filter: Filter::default(),
        limit: WANTED,
        vectors: false,
    };
    let found = store.search(&local(), &query).await.expect("an answer");
    found.hits.iter().map(|hit| row(hit.citation.range.start)).collect()
}

/// Which vector the piece that starts there has.
fn row(start: u64) -> usize {
    start as usize / TEXT
}

fn local() -> Principal {
    Principal::new("local").expect("a name")
}

async fn open(folder: &Path, resident_bytes: u64) -> LanceStore {
    let identity = Identity {
        model: MODEL.into(),
        dimension: DIMENSION,
    };
    let indexing = Indexing {
        language: "English".into(),
        vectors_from: 20_000,
        resident_bytes,
        cache_bytes: 512 << 20,
    };
    LanceStore::open(folder, &identity, indexing).await.expect("a store")
}

/// A store of one document, whose pieces have the vectors.
async fn filled(folder: &Path, vectors: &[Vec<f32>]) -> LanceStore {
    let store = open(folder, 0).await;
    let chunks = vectors.iter().enumerate().map(|(index, vector)| ChunkDraft {
        span: (index * TEXT) as u64..((index + 1) * TEXT) as u64,
        // No two pieces are alike: those that are would be shown once.
        text: format!("{index:0TEXT$}"),
        heading: String::new(),
        page: 0,
        vector: vector.clone(),
    });
    let draft = DocumentDraft {
        collection: CollectionName::or_default("", "collection").expect("a name"),
        uri: DocumentUri::or_note("file:///vectors.txt").expect("a URI"),
        title: "vectors".into(),
        media_type: "text/plain".into(),
        bytes: (vectors.len() * TEXT) as u64,
        content_sha256: [7; 32],
        metadata: serde_json::Map::new(),
        chunks: chunks.collect(),
        history: None,
    };
    store.put_documents(&local(), vec![draft]).await.expect("it is stored");
    store.compact().await.expect("it is tidied");
    store
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a file");
        let (kind, to) = (entry.file_type().expect("a kind"), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// What looking at every vector finds.
fn nearest(vectors: &[Vec<f32>], query: &[f32]) -> Vec<usize> {
    let near = |vector: &Vec<f32>| vector.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
    let mut ranked: Vec<(f32, usize)> = vectors.iter().map(near).zip(0..).collect();
    ranked.select_nth_unstable_by(WANTED, |a, b| b.0.total_cmp(&a.0));
    ranked.into_iter().take(WANTED).map(|(_, row)| row).collect()
}

/// Normally distributed components (Box and Muller).
fn normals(random: &mut StdRng, deviation: f32) -> Vec<f32> {
    let mut normal = || {
        let (a, b): (f32, f32) = (random.random(), random.random());
        deviation * (-2.0 * a.max(f32::MIN_POSITIVE).ln()).sqrt() * (std::f32::consts::TAU * b).cos()
    };
    (0..DIMENSION).map(|_| normal()).collect()
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}
