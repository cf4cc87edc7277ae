//! Finding: by meaning, by words, or by both; then what [`ranking`] makes of the candidates, with a reranker's help where one
//! is configured.

use std::time::Instant;

use futures::future::try_join;
use jiff::Timestamp;

use super::Memory;
use crate::embedding::{Embeddings, Identity};
use crate::error::Error;
use crate::names::Principal;
use crate::query::{By, Found, Hit, MAX_HITS, Mode, Probe, Query, SearchRequest};
use crate::ranking;
use crate::rerank::Rerankings;

/// Candidates for each hit wanted, of each way of finding: some fall to the ranking.
const CANDIDATES_PER_HIT: usize = 4;
/// Fewest candidates of each way of finding.
const LEAST_CANDIDATES: usize = 40;

/// A request, checked.
struct Checked {
    by: Vec<By>,
    /// What the hits are compared with once more; `None`: they are not reranked.
    rerank_by: Option<(Rerankings, String)>,
    mode: Mode,
    limit: usize,
    min_score: f32,
    diversity: f32,
}

impl Memory {
    /// Finds the pieces that fit a text or a vector best.
    pub async fn search(&self, principal: &Principal, request: SearchRequest) -> Result<Found, Error> {
        let started = Instant::now();
        let filter = request.filter.clone();
        let current = self.current();
        let checked = self.checked(&current.embeddings, request).await?;
        let reranked = checked
            .rerank_by
            .as_ref()
            .map_or(0, |(rerankings, _)| rerankings.candidates(checked.limit));
        let candidates = (checked.limit * CANDIDATES_PER_HIT).max(LEAST_CANDIDATES).max(reranked);
        // Their vectors are compared with one another, and with the query's where words found them.
        let vectors = checked.diversity > 0.0 || checked.mode == Mode::Hybrid;
        let query = |by: &By| Query {
            by: by.clone(),
            filter: filter.clone(),
            limit: candidates,
            vectors,
        };
        let found = match checked.by.as_slice() {
            [meaning @ By::Vector(vector), words] => {
                let (meaning, words) = (query(meaning), query(words));
                let (dense, text) = try_join(
                    current.store.search(principal, &meaning),
                    current.store.search(principal, &words),
                )
                .await?;
                Found {
                    hits: ranking::fuse(dense.hits, text.hits, vector),
                    searched: dense.searched,
                }
            }
            [by, ..] => current.store.search(principal, &query(by)).await?,
            [] => Found::default(),
        };
        let found = Found {
            hits: self.ranked(found.hits, &checked).await?,
            ..found
        };
        self.0.figures.searched(started.elapsed());
        Ok(found)
    }

    /// What of the candidates is shown, in which order.
    async fn ranked(&self, mut hits: Vec<Hit>, checked: &Checked) -> Result<Vec<Hit>, Error> {
        hits.retain(|hit| ranking::is_near_enough(hit, checked.mode, checked.min_score));
        let half_life = self.0.config.search.fact_half_life();
        ranking::let_facts_age(&mut hits, Timestamp::now(), half_life);
        ranking::sort(&mut hits);
        let mut hits = ranking::without_copies(hits);
        if let Some((rerankings, query)) = &checked.rerank_by {
            // All that may be shown, for scores of two kinds cannot be compared.
            hits.truncate(rerankings.candidates(checked.limit));
            self.rerank(&mut hits, rerankings, query).await?;
        }
        if checked.diversity > 0.0 {
            hits = ranking::diversify(hits, checked.limit, checked.diversity);
        }
        hits.truncate(checked.limit);
        Ok(hits)
    }

    async fn rerank(&self, hits: &mut [Hit], rerankings: &Rerankings, query: &str) -> Result<(), Error> {
        if hits.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let texts = hits.iter().map(Hit::in_context).collect();
        let scores = rerankings.scores(query.to_owned(), texts).await?;
        ranking::rerank(hits, &scores);
        self.0.figures.reranked(started.elapsed());
        Ok(())
    }

    async fn checked(&self, embeddings: &Embeddings, request: SearchRequest) -> Result<Checked, Error> {
        let defaults = &self.0.config.search;
        let limit = request.limit.unwrap_or(defaults.limit);
        if !(1..=MAX_HITS).contains(&limit) {
            let message = format!(
                "{limit} hits are too many: 1 to {MAX_HITS} is wanted, 0 means {}",
                defaults.limit
            );
            return Err(Error::invalid("limit", "BAD_LIMIT", message));
        }
        if !(0.0..=1.0).contains(&request.diversity) {
            let message = format!("diversity is 0.0 to 1.0, found {}", request.diversity);
            return Err(Error::invalid("diversity", "BAD_DIVERSITY", message));
        }
        let min_score = request.min_score.unwrap_or(defaults.min_score);
        if !(-1.0..=1.0).contains(&min_score) {
            let message = format!("min_score is a cosine, -1.0 to 1.0, found {min_score}");
            return Err(Error::invalid("min_score", "BAD_MIN_SCORE", message));
        }
        let rerank_by = match (&request.probe, &self.0.rerankings) {
            (Probe::Text(text), Some(rerankings)) => Some((rerankings.clone(), text.clone())),
            // A vector cannot be read beside a text.
            _ => None,
        };
        let (mode, by) = match (request.probe, request.mode) {
            (Probe::Vector(vector), None | Some(Mode::Dense)) => (
                Mode::Dense,
                vec![By::Vector(checked_vector(embeddings.identity(), vector)?)],
            ),
            (Probe::Vector(_), Some(_)) => {
                let message = "a vector has no words: SEARCH_MODE_DENSE is wanted, or a text";
                return Err(Error::invalid("mode", "BAD_MODE", message));
            }
            (Probe::Text(text), mode) => {
                self.check_query(&text)?;
                let mode = mode.unwrap_or(defaults.mode);
                let by = match mode {
                    Mode::Dense => vec![By::Vector(self.embed_query(embeddings, text).await?)],
                    Mode::Text => vec![By::Words(text)],
                    Mode::Hybrid => vec![
                        By::Vector(self.embed_query(embeddings, text.clone()).await?),
                        By::Words(text),
                    ],
                };
                (mode, by)
            }
        };
        Ok(Checked {
            by,
            rerank_by,
            mode,
            limit,
            min_score,
            diversity: request.diversity,
        })
    }

    fn check_query(&self, text: &str) -> Result<(), Error> {
        let most = self.0.config.search.max_query_chars;
        let length = text.chars().count();
        if text.trim().is_empty() {
            return Err(Error::invalid("text", "EMPTY_QUERY", "the query is empty"));
        }
        if length > most {
            let message =
                format!("the query has {length} characters; {most} are allowed (memory.search.max_query_chars)");
            return Err(Error::invalid("text", "QUERY_TOO_LONG", message));
        }
        Ok(())
    }

    async fn embed_query(&self, embeddings: &Embeddings, text: String) -> Result<Vec<f32>, Error> {
        let started = Instant::now();
        let vector = embeddings.query(text).await?;
        self.0.figures.embedded_query(started.elapsed());
        Ok(vector)
    }
}

/// A vector of this length and direction, of length 1.
pub(super) fn checked_vector(identity: &Identity, mut vector: Vec<f32>) -> Result<Vec<f32>, Error> {
    check_dimension(identity, &vector)?;
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if !length.is_normal() {
        let message = "the vector has no direction: finite components, not all 0, are wanted";
        return Err(Error::invalid("vector", "BAD_VECTOR", message));
    }
    vector.iter_mut().for_each(|x| *x /= length);
    Ok(vector)
}

/// Refuses a vector of another length.
pub(super) fn check_dimension(identity: &Identity, vector: &[f32]) -> Result<(), Error> {
    if vector.len() == identity.dimension {
        return Ok(());
    }
    let message = format!(
        "the vector has {} components; vectors of {identity} are wanted",
        vector.len()
    );
    Err(Error::invalid("vector", "BAD_DIMENSION", message))
}
