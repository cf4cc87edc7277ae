//! Searches that a reranker puts in order.

use std::sync::{Arc, Mutex};

use memory_svc::Engines;
use memory_svc::rerank::{Loader, RerankError, Reranker};
use solo_proto::memory::v1::*;
use solo_service::testing::Harness;
use solo_service::{CancelToken, ErrorCode};

use crate::support::*;

const TEXTS: [(&str, &str); 4] = [
    ("file:///long.txt", "water flour salt and yeast make bread"),
    ("file:///middle.txt", "water flour salt"),
    ("file:///short.txt", "salt"),
    ("file:///other.txt", "the tram of Lisbon climbs the hill every morning"),
];
/// Without a reranker the first text comes first, then the second and the third.
const QUERY: &str = "water flour salt and yeast make bread";

/// The queries that were asked, each with the texts that it was compared with.
type Asked = Arc<Mutex<Vec<(String, Vec<String>)>>>;

/// Finds that short texts answer best.
struct Shortest(Asked);

impl Shortest {
    fn of(text: &str) -> f32 {
        1.0 / text.len() as f32
    }
}

impl Reranker for Shortest {
    fn score(&mut self, query: &str, texts: &[String], _: &CancelToken) -> Result<Vec<f32>, RerankError> {
        self.0.lock().unwrap().push((query.to_owned(), texts.to_vec()));
        Ok(texts.iter().map(|text| Self::of(text)).collect())
    }
}

/// Gives these scores whatever it is asked, once it is warm.
struct Broken {
    warm: bool,
    scores: Vec<f32>,
}

impl Reranker for Broken {
    fn score(&mut self, _: &str, _: &[String], _: &CancelToken) -> Result<Vec<f32>, RerankError> {
        let warm = std::mem::replace(&mut self.warm, true);
        Ok(if warm { self.scores.clone() } else { vec![0.5] })
    }
}

fn engines(reranker: impl Reranker) -> Engines {
    Engines {
        reranker: Some(Loader {
            engine: "made-up",
            model: "none".into(),
            load: Box::new(|| Ok(Box::new(reranker))),
        }),
        ..loader().into()
    }
}

async fn library(overrides: &str) -> (Fixture, Asked) {
    let asked = Asked::default();
    let folder = tempfile::tempdir().unwrap();
    let engines = engines(Shortest(Arc::clone(&asked)));
    let harness = start_in(folder.path(), overrides, engines).await.unwrap();
    let client = Client::new(harness.channel().await);
    for (uri, text) in TEXTS {
        client.put(uri, text).await;
    }
    // The warm-up's.
    asked.lock().unwrap().clear();
    let fixture = Fixture {
        harness,
        folder,
        client,
    };
    (fixture, asked)
}

fn uris(found: &SearchResponse) -> Vec<&str> {
    found.hits.iter().map(|hit| citation(hit).uri.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reranker_decides_the_order_in_every_mode_and_its_score_is_said() {
    let (fixture, asked) = library("").await;
    for mode in [SearchMode::Dense, SearchMode::Text, SearchMode::Hybrid] {
        let request = SearchRequest {
            mode: mode.into(),
            explain: true,
            ..query(QUERY)
        };
        let found = fixture.client.search(request).await.unwrap();
        assert_eq!(uris(&found)[..3], [TEXTS[2].0, TEXTS[1].0, TEXTS[0].0], "{mode:?}");
        for hit in &found.hits {
            let parts = hit.parts.unwrap();
            assert_eq!(parts.reranked, Some(hit.score), "{mode:?}");
            assert_eq!(hit.score, Shortest::of(&hit.text), "{mode:?}");
            assert!(
                parts.dense.is_some() || parts.text.is_some(),
                "how it was found: {mode:?}"
            );
        }
    }
    assert!(asked.lock().unwrap().iter().all(|(query, _)| query == QUERY));
    assert!(fixture.gauge("reranking") >= 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_is_not_reranked() {
    let (fixture, asked) = library("").await;
    let values = WordVectors::of(QUERY);
    let request = SearchRequest {
        query: Some(search_request::Query::Vector(Vector { values })),
        explain: true,
        ..query("")
    };
    let found = fixture.client.search(request).await.unwrap();
    assert_eq!(uris(&found)[0], TEXTS[0].0);
    assert!(found.hits.iter().all(|hit| hit.parts.unwrap().reranked.is_none()));
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_are_reranked_as_configured_or_as_are_wanted() {
    let (fixture, asked) = library("[memory.rerank]\ncandidates = 2\n").await;
    for (limit, reranked, first) in [(1, 2, TEXTS[1].0), (2, 2, TEXTS[1].0), (3, 3, TEXTS[2].0)] {
        let request = SearchRequest { limit, ..query(QUERY) };
        let found = fixture.client.search(request).await.unwrap();
        assert_eq!((found.hits.len(), uris(&found)[0]), (limit as usize, first), "{limit}");
        let (_, texts) = asked.lock().unwrap().pop().unwrap();
        assert_eq!(texts.len(), reranked, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_is_read_under_its_headings() {
    let (fixture, asked) = library("").await;
    let garden = "# The garden\n\nIt lies behind the house.\n\n## Beans\n\nLeave them until the pods rustle.\n";
    fixture.client.put("file:///garden.md", garden).await;
    let hits = fixture.client.find("pods of beans").await;
    let beans = hits.iter().find(|hit| hit.text.contains("rustle")).unwrap();
    let heading = &citation(beans).heading;
    assert!(heading.contains("The garden"), "{heading}");
    let (_, texts) = asked.lock().unwrap().pop().unwrap();
    assert!(texts.contains(&format!("{heading}\n{}", beans.text)), "{texts:?}");
    assert!(
        texts.contains(&"salt".to_owned()),
        "no heading, no line for it: {texts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_that_are_none_fail_the_search_and_not_the_service() {
    for scores in [vec![f32::NAN], vec![]] {
        let folder = tempfile::tempdir().unwrap();
        let broken = Broken { warm: false, scores };
        let harness = start_in(folder.path(), "", engines(broken)).await.unwrap();
        let client = Client::new(harness.channel().await);
        let nothing = client.search(query("salt")).await.unwrap();
        assert!(
            nothing.hits.is_empty(),
            "where nothing is found there is nothing to rerank"
        );
        client.put("file:///a", "salt").await;
        refused(
            client.search(query("salt")).await,
            ErrorCode::Internal,
            "RERANKING_FAILED",
        );
        assert_eq!(client.documents().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_scores_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let broken = Broken {
        warm: true,
        scores: vec![f32::NAN],
    };
    let error = start_in(folder.path(), "", engines(broken)).await.err().unwrap();
    assert_eq!(error.exit_code(), 69);
    assert!(error.to_string().contains("no usable scores"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = "[memory.rerank]\nengine = \"candle\"\ncandidates = 101\nmax_tokens = 10\n";
    let error = start_in(folder.path(), overrides, loader()).await.err().unwrap();
    assert_eq!(error.exit_code(), 64);
    let message = error.to_string();
    for part in [
        "memory.rerank.model",
        "engine = \"none\"",
        "memory.rerank.candidates",
        "memory.rerank.max_tokens",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

/// As the program does it, with a model that is named as it lies in the models folder.
#[tokio::test(flavor = "multi_thread")]
async fn the_configured_model_reranks() {
    let models = tempfile::tempdir().unwrap();
    for name in ["minilm-l6-v2", "crosser"] {
        std::fs::create_dir(models.path().join(name)).unwrap();
    }
    crate::engine::write_tiny_model(&models.path().join("minilm-l6-v2"));
    crate::cross_encoder::Model::made_up().write(&models.path().join("crosser"));
    let start = async |model: &str| {
        let overrides = format!(
            "[global]\nmodels_dir = {:?}\n[memory]\npath = {:?}\n[memory.embedding]\nengine = \"candle\"\n\
             [memory.rerank]\nengine = \"candle\"\nmodel = {model:?}\nmax_tokens = 64\n",
            models.path(),
            models.path().join("store")
        );
        Harness::start(memory_svc::DEFINITION, &overrides, memory_svc::build).await
    };
    let error = start("nobody").await.err().expect("it does not start");
    assert_eq!(error.exit_code(), 66);
    assert!(error.to_string().contains("nobody/model.safetensors"), "{error}");
    let harness = start("crosser").await.unwrap();
    let client = Client::new(harness.channel().await);
    client.put("file:///a", "the cat sat down .").await;
    client.put("file:///b", "where is the cat").await;
    let request = SearchRequest {
        explain: true,
        ..query("the cat")
    };
    let found = client.search(request).await.unwrap();
    assert_eq!(found.hits.len(), 2);
    let reranked = found.hits.iter().map(|hit| hit.parts.unwrap().reranked.unwrap());
    assert!(reranked.clone().is_sorted_by(|a, b| a >= b), "{found:?}");
    assert!(reranked.clone().all(|score| score > 0.0 && score < 1.0), "{found:?}");
}
