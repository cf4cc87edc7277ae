//! LanceDB's own API over clustered vectors, with each kind of index: how fast it answers, how much it finds, how long it takes
//! to build. What `store/lance/index.rs` chose its index by.
//!
//!     cargo run --release --example index_kinds -- [ROWS [KIND…]]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt64Type};
use arrow_array::{ArrayRef, FixedSizeListArray, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use futures::TryStreamExt;
use lancedb::index::Index;
use lancedb::index::scalar::BitmapIndexBuilder;
use lancedb::index::vector::{IvfHnswSqIndexBuilder, IvfPqIndexBuilder, IvfRqIndexBuilder, IvfSqIndexBuilder};
use lancedb::query::{ExecutableQuery, QueryBase, Select};
use lancedb::{DistanceType, Table};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const DIMENSION: usize = 384;
const CLUSTERS: usize = 1000;
/// Deviation of a component from its cluster's centre.
const SPREAD: f32 = 0.04;
const QUERIES: usize = 500;
/// Queries that are compared with what looking at every vector finds.
const COMPARED: usize = 200;
const WANTED: usize = 10;
/// Rows of each append.
const BATCH: usize = 16_384;
/// (partitions looked at, candidates of the graph, refinement); 0: the default.
const EFFORTS: [(usize, usize, u32); 6] = [(1, 0, 0), (8, 0, 0), (20, 0, 0), (8, 0, 3), (20, 0, 3), (8, 100, 3)];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let rows = arguments.next().map_or(Ok(100_000), |rows| rows.parse())?;
    let named: Vec<String> = arguments.collect();
    let mut random = StdRng::seed_from_u64(7);
    let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| unit(normals(&mut random, 1.0))).collect();
    let mut vector = || {
        let centre = &centres[random.random_range(0..CLUSTERS)];
        let noise = normals(&mut random, SPREAD);
        unit(centre.iter().zip(noise).map(|(centre, noise)| centre + noise).collect())
    };
    let vectors: Vec<Vec<f32>> = (0..rows).map(|_| vector()).collect();
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| vector()).collect();
    let exact: Vec<Vec<u64>> = queries
        .iter()
        .take(COMPARED)
        .map(|query| nearest(&vectors, query))
        .collect();
    let folder = tempfile::tempdir()?;
    let table = filled(folder.path().to_str().ok_or("the folder is not UTF-8")?, &vectors).await?;
    println!("kind | built in s | probes | ef | refine | p50 ms | p99 ms | recall@{WANTED}");
    for (kind, index) in kinds() {
        if !named.is_empty() && !named.iter().any(|name| name == kind) {
            continue;
        }
        let (started, indexed) = (Instant::now(), index.is_some());
        if let Some(index) = index {
            table.create_index(&["vector"], index).replace(true).execute().await?;
            table.prewarm_index("vector_idx").await?;
        }
        let built = started.elapsed().as_secs_f64();
        let efforts = if indexed { &EFFORTS[..] } else { &EFFORTS[..1] };
        for effort in efforts.iter().filter(|(_, ef, _)| *ef == 0 || kind.starts_with("hnsw")) {
            let (mut took, mut hits) = (Vec::new(), 0);
            for (index, query) in queries.iter().enumerate() {
                let started = Instant::now();
                let found = search(&table, query, indexed.then_some(*effort)).await?;
                took.push(started.elapsed());
                if let Some(exact) = exact.get(index) {
                    hits += found.iter().filter(|id| exact.contains(id)).count();
                }
            }
            took.sort();
            let ms = |share: usize| took[took.len() * share / 100].as_secs_f64() * 1e3;
            let recall = hits as f64 / (COMPARED * WANTED) as f64;
            let (probes, ef, refine) = effort;
            println!(
                "{kind} | {built:.1} | {probes} | {ef} | {refine} | {:.2} | {:.2} | {recall:.3}",
                ms(50),
                ms(99)
            );
        }
    }
    Ok(())
}

fn kinds() -> Vec<(&'static str, Option<Index>)> {
    let by = DistanceType::Cosine;
    vec![
        ("flat", None),
        ("sq", Some(Index::IvfSq(IvfSqIndexBuilder::default().distance_type(by)))),
        ("pq", Some(Index::IvfPq(IvfPqIndexBuilder::default().distance_type(by)))),
        ("rq", Some(Index::IvfRq(IvfRqIndexBuilder::default().distance_type(by)))),
        (
            "hnsw_sq",
            Some(Index::IvfHnswSq(IvfHnswSqIndexBuilder::default().distance_type(by))),
        ),
    ]
}

/// A table of `vectors`, all of one principal, whose filter is part of every search.
async fn filled(folder: &str, vectors: &[Vec<f32>]) -> Outcome<Table> {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let width = i32::try_from(DIMENSION)?;
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("principal", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("vector", DataType::FixedSizeList(item, width), false),
    ]));
    let batch = |first: usize, some: &[Vec<f32>]| -> Result<RecordBatch, ArrowError> {
        let values = some
            .iter()
            .map(|vector| Some(vector.iter().map(|x| Some(*x)).collect::<Vec<_>>()));
        let columns: Vec<ArrayRef> = vec![
            Arc::new((first as u64..).take(some.len()).collect::<UInt64Array>()),
            Arc::new(some.iter().map(|_| Some("local")).collect::<StringArray>()),
            Arc::new(some.iter().map(|_| Some("x".repeat(400))).collect::<StringArray>()),
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
                values, width,
            )),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns)
    };
    let database = lancedb::connect(folder).execute().await?;
    let table = database
        .create_empty_table("vectors", Arc::clone(&schema))
        .execute()
        .await?;
    for (index, some) in vectors.chunks(BATCH).enumerate() {
        table.add(batch(index * BATCH, some)?).execute().await?;
    }
    let by_principal = Index::Bitmap(BitmapIndexBuilder::default());
    table.create_index(&["principal"], by_principal).execute().await?;
    Ok(table)
}

async fn search(table: &Table, vector: &[f32], effort: Option<(usize, usize, u32)>) -> Outcome<Vec<u64>> {
    let query = table.query().select(Select::columns(&["id", "text", "_distance"]));
    let query = query.only_if("principal = 'local'").limit(WANTED);
    let mut query = query.nearest_to(vector)?.distance_type(DistanceType::Cosine);
    if let Some((probes, ef, refine)) = effort {
        query = query.nprobes(probes)?;
        if ef > 0 {
            query = query.ef(ef);
        }
        if refine > 0 {
            query = query.refine_factor(refine);
        }
    }
    let batches: Vec<RecordBatch> = query.execute().await?.try_collect().await?;
    let ids = batches.iter().filter_map(|batch| batch.column_by_name("id"));
    Ok(ids
        .flat_map(|ids| ids.as_primitive::<UInt64Type>().values().to_vec())
        .collect())
}

/// What looking at every vector finds.
fn nearest(vectors: &[Vec<f32>], query: &[f32]) -> Vec<u64> {
    let distance = |vector: &[f32]| -vector.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
    let mut ranked: Vec<(f32, u64)> = vectors
        .iter()
        .zip(0..)
        .map(|(vector, id)| (distance(vector), id))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked.into_iter().take(WANTED).map(|(_, id)| id).collect()
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
