//! How well pieces are found: tests/fixtures/retrieval, questions with judgements made by reading, asked in each mode.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use solo_proto::memory::v1::search_request::Query;
use solo_proto::memory::v1::{SearchMode, SearchRequest};

use super::service::MemorySvc;

/// Hits that count.
const DEPTH: usize = 10;
/// Hits among which a passage that answers must be.
const NEAR_THE_TOP: usize = 5;
/// Grade from which on a passage is wanted.
const WANTED: u32 = 2;

/// A passage of tests/fixtures/retrieval.
#[derive(Debug, Deserialize)]
pub struct Passage {
    id: String,
    pub(super) source: String,
    title: String,
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
struct Question {
    question: String,
    kind: String,
    /// Grades of passages, 1 to 3.
    judgements: HashMap<String, u32>,
}

/// The passages.
pub fn passages() -> Vec<Passage> {
    lines("passages.jsonl")
}

fn lines<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/retrieval")
        .join(name);
    let text = std::fs::read_to_string(file).expect("the fixture is there");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of the fixture"))
        .collect()
}

/// Sums over questions.
#[derive(Debug, Default, Clone, Copy)]
struct Score {
    ndcg: f64,
    recall: f64,
    questions: f64,
}

/// Asks every question in every mode; a table.
///
/// # Panics
/// When memory-svc does not answer.
pub async fn retrieval() -> String {
    let service = MemorySvc::start(None).await;
    let mut client = service.client().await;
    let passages = passages();
    for passage in &passages {
        let uri = format!("note:{}", passage.id);
        let done = client
            .put(&uri, &format!("{}\n\n{}", passage.title, passage.text))
            .await;
        assert!(done.document.is_some(), "{} is stored", passage.id);
    }
    let questions: Vec<Question> = lines("questions.jsonl");
    let modes = [
        ("by meaning", SearchMode::Dense),
        ("by words (BM25)", SearchMode::Text),
        ("both (hybrid)", SearchMode::Hybrid),
    ];
    let mut text = format!(
        "{} passages, {} questions.\n\n| search | nDCG@{DEPTH} | recall@{NEAR_THE_TOP} | by kind of question: nDCG@{DEPTH} |\n|---|---:|---:|---|\n",
        passages.len(),
        questions.len()
    );
    for (name, mode) in modes {
        let mut kinds: BTreeMap<&str, Score> = BTreeMap::new();
        for question in &questions {
            let request = SearchRequest {
                query: Some(Query::Text(question.question.clone())),
                mode: mode.into(),
                limit: 2 * DEPTH as u32,
                min_score: Some(-1.0),
                ..SearchRequest::default()
            };
            let mut found: Vec<String> = Vec::new();
            for hit in client.search(request).await.hits {
                let uri = hit.citation.expect("a hit has a citation").uri;
                let id = uri.trim_start_matches("note:").to_owned();
                // A long passage may have been cut: it counts where its first piece stands.
                if !found.contains(&id) {
                    found.push(id);
                }
            }
            for kind in ["all", &question.kind] {
                let score = kinds.entry(kind).or_default();
                score.ndcg += ndcg(&found, &question.judgements);
                score.recall += recall(&found, &question.judgements);
                score.questions += 1.0;
            }
        }
        let all = kinds.remove("all").unwrap_or_default();
        let by_kind: Vec<String> = kinds
            .iter()
            .map(|(kind, score)| format!("{kind} {:.3}", score.ndcg / score.questions))
            .collect();
        let (ndcg, recall) = (all.ndcg / all.questions, all.recall / all.questions);
        writeln!(text, "| {name} | {ndcg:.3} | {recall:.3} | {} |", by_kind.join(", ")).expect("a string");
    }
    text
}

/// Normalised discounted cumulative gain (Järvelin and Kekäläinen, 2002), with gains 2^grade − 1.
fn ndcg(found: &[String], judgements: &HashMap<String, u32>) -> f64 {
    let gain = |grade: u32| f64::from((1_u32 << grade) - 1);
    let sum = |grades: &mut dyn Iterator<Item = u32>| -> f64 {
        let discounted = grades.take(DEPTH).zip(2_u32..);
        discounted
            .map(|(grade, place)| gain(grade) / f64::from(place).log2())
            .sum()
    };
    let mut best: Vec<u32> = judgements.values().copied().collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    let grade = |id: &String| judgements.get(id).copied().unwrap_or(0);
    sum(&mut found.iter().map(grade)) / sum(&mut best.into_iter())
}

/// Share of the wanted passages that are near the top.
fn recall(found: &[String], judgements: &HashMap<String, u32>) -> f64 {
    let wanted: Vec<&String> = judgements
        .iter()
        .filter(|(_, grade)| **grade >= WANTED)
        .map(|(id, _)| id)
        .collect();
    let top = &found[..found.len().min(NEAR_THE_TOP)];
    wanted.iter().filter(|id| top.contains(id)).count() as f64 / wanted.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_order_scores_one_and_a_worse_one_less() {
        let judgements = HashMap::from([("a".to_owned(), 3), ("b".to_owned(), 1)]);
        let of = |ids: &[&str]| {
            let found: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            (ndcg(&found, &judgements), recall(&found, &judgements))
        };
        assert_eq!(of(&["a", "b", "c"]), (1.0, 1.0));
        // (1 + 7 / log2 3) / (7 + 1 / log2 3)
        assert!((of(&["b", "a"]).0 - 0.709_81).abs() < 1e-4, "{:?}", of(&["b", "a"]));
        assert_eq!(of(&["c", "d", "e", "f", "b", "a"]).1, 0.0);
        assert_eq!(of(&[]), (0.0, 0.0));
    }
}
