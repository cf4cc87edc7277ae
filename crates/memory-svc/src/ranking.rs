//! What becomes of candidates: fused, let age, thinned out, reranked. Pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::query::{Hit, HitKind, Mode};

/// How much meaning counts in a fused score; the rest is for words. docs/adr/0023 says what it was chosen by.
const MEANING_SHARE: f32 = 0.8;
/// Nearest pieces by whose spread similarities are told apart.
const SPREAD_OF: usize = 40;
/// Least spread: of a few pieces that are all equally near none is far behind.
const LEAST_SPREAD: f32 = 0.2;
/// Share of the least similarity that is enough for a piece that words found.
const WORDS_SHARE: f32 = 0.5;
/// What age leaves of a fact's score at most: an old fact loses to a new one that says the same, not to a stranger.
const AGED_SHARE: f32 = 0.7;

/// Fuses what was found by meaning and what was found by words, each best first and with vectors: a convex combination of
/// both scores (Bruch, Gai and Ingber, 2023), the similarity as its place between the nearest piece and the last of the
/// [`SPREAD_OF`] nearest, BM25 as a share of the best. `query` is the query's unit vector.
pub fn fuse(dense: Vec<Hit>, text: Vec<Hit>, query: &[f32]) -> Vec<Hit> {
    let best = dense.first().map_or(0.0, |hit| hit.score);
    let least = dense.get(SPREAD_OF - 1).or(dense.last()).map_or(0.0, |hit| hit.score);
    let spread = (best - least).max(LEAST_SPREAD);
    let most_words = text.first().map_or(0.0, |hit| hit.score).max(f32::MIN_POSITIVE);
    let mut fused = dense;
    let places: HashMap<_, _> = fused.iter().enumerate().map(|(place, hit)| (hit.id, place)).collect();
    for mut hit in text {
        match places.get(&hit.id) {
            Some(place) => fused[*place].parts.text = hit.parts.text,
            None => {
                hit.parts.dense = Some(dot(query, &hit.vector).clamp(-1.0, 1.0));
                fused.push(hit);
            }
        }
    }
    for hit in &mut fused {
        let nearness = hit.parts.dense.map_or(0.0, |dense| 1.0 - (best - dense) / spread);
        let words = hit.parts.text.map_or(0.0, |text| text / most_words);
        hit.score = MEANING_SHARE * nearness.clamp(0.0, 1.0) + (1.0 - MEANING_SHARE) * words.clamp(0.0, 1.0);
        hit.parts.fused = Some(hit.score);
    }
    fused
}

/// True when a hit's cosine similarity is at least `min_score`, or half of it where words found it, too. By words alone
/// there is no similarity to ask for.
pub fn is_near_enough(hit: &Hit, mode: Mode, min_score: f32) -> bool {
    let wanted = match (mode, hit.parts.text) {
        (Mode::Text, _) => return true,
        (Mode::Hybrid, Some(_)) if min_score > 0.0 => min_score * WORDS_SHARE,
        _ => min_score,
    };
    hit.parts.dense.is_some_and(|dense| dense >= wanted)
}

/// Takes from facts' scores what their age leaves of them: halfway to the least share after each `half_life`; `None`:
/// nothing.
pub fn let_facts_age(hits: &mut [Hit], now: Timestamp, half_life: Option<Duration>) {
    let Some(half_life) = half_life else { return };
    for hit in hits.iter_mut().filter(|hit| hit.kind == HitKind::Fact) {
        let age = now.duration_since(hit.created_at).as_secs_f64().max(0.0);
        let left = 0.5_f64.powf(age / half_life.as_secs_f64());
        let share = AGED_SHARE + (1.0 - AGED_SHARE) * left as f32;
        hit.parts.recency = Some(share);
        if hit.score > 0.0 {
            hit.score *= share;
        }
    }
}

/// Best first; of equals the newer, so that the order is always the same.
pub fn sort(hits: &mut [Hit]) {
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.id.cmp(&a.id)));
}

/// Leaves out pieces that say word for word what a better one says: the same file at two paths, the same note twice.
pub fn without_copies(hits: Vec<Hit>) -> Vec<Hit> {
    let mut seen = HashSet::new();
    hits.into_iter()
        .filter(|hit| seen.insert((hit.kind == HitKind::Fact, hit.citation.text.clone())))
        .collect()
}

/// Puts a reranker's scores, one for each hit, in place of their own, and the best first. Age takes from them what it took
/// before, for a reranker knows nothing of it.
pub fn rerank(hits: &mut [Hit], scores: &[f32]) {
    for (hit, score) in hits.iter_mut().zip(scores) {
        hit.parts.reranked = Some(*score);
        hit.score = score * hit.parts.recency.unwrap_or(1.0);
    }
    sort(hits);
}

/// Picks `limit` hits that are near the query and unlike one another: maximal marginal relevance (Carbonell and
/// Goldstein, 1998) with λ = 1 − `diversity`. `hits` are best first and carry their unit vectors; 0 keeps their order.
pub fn diversify(mut hits: Vec<Hit>, limit: usize, diversity: f32) -> Vec<Hit> {
    let mut chosen: Vec<Hit> = Vec::with_capacity(limit.min(hits.len()));
    // How like each remaining hit is to the chosen one most like it.
    let mut likeness = vec![0.0_f32; hits.len()];
    while chosen.len() < limit && !hits.is_empty() {
        let worth = |index: usize| (1.0 - diversity) * hits[index].score - diversity * likeness[index];
        // The first of equals, for they come best first.
        let best = (0..hits.len())
            .rev()
            .max_by(|a, b| worth(*a).total_cmp(&worth(*b)))
            .unwrap_or(0);
        let hit = hits.remove(best);
        likeness.remove(best);
        for (other, likeness) in hits.iter().zip(&mut likeness) {
            *likeness = likeness.max(dot(&hit.vector, &other.vector));
        }
        chosen.push(hit);
    }
    chosen
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::query::{Citation, Parts};

    fn hit(score: f32, vector: [f32; 2]) -> Hit {
        let citation = Citation {
            document: Uuid::nil(),
            title: String::new(),
            uri: String::new(),
            page: 0,
            heading: String::new(),
            range: 0..0,
            text: Uuid::now_v7().to_string(),
        };
        let created_at = Timestamp::UNIX_EPOCH;
        Hit {
            id: Uuid::now_v7(),
            kind: HitKind::Document,
            score,
            parts: Parts {
                dense: Some(score),
                ..Parts::default()
            },
            created_at,
            citation,
            vector: vector.into(),
        }
    }

    fn scores(hits: &[Hit]) -> Vec<f32> {
        hits.iter().map(|hit| hit.score).collect()
    }

    #[test]
    fn a_near_copy_gives_way_to_something_new() {
        let hits = || vec![hit(0.9, [1.0, 0.0]), hit(0.89, [1.0, 0.0]), hit(0.6, [0.0, 1.0])];
        assert_eq!(scores(&diversify(hits(), 2, 0.0)), [0.9, 0.89]);
        assert_eq!(scores(&diversify(hits(), 2, 0.5)), [0.9, 0.6]);
        assert_eq!(diversify(hits(), 10, 0.5).len(), 3);
    }

    /// The same hit as it is found by words.
    fn by_words(hit: &Hit, score: f32) -> Hit {
        let parts = Parts {
            text: Some(score),
            ..Parts::default()
        };
        Hit {
            score,
            parts,
            ..hit.clone()
        }
    }

    #[test]
    fn what_both_ways_find_comes_first_and_says_why() {
        let dense = [hit(0.9, [1.0, 0.0]), hit(0.85, [0.8, 0.6])];
        let other = by_words(&hit(0.0, [0.0, 1.0]), 7.0);
        let text = vec![by_words(&dense[1], 9.0), other.clone()];
        let mut fused = fuse(dense.to_vec(), text, &[1.0, 0.0]);
        sort(&mut fused);
        let ids: Vec<Uuid> = fused.iter().map(|hit| hit.id).collect();
        assert_eq!(ids, [dense[1].id, dense[0].id, other.id]);
        assert_eq!(fused[0].parts.text, Some(9.0));
        assert_eq!(fused[2].parts.dense, Some(0.0), "compared, though words found it");
        let best = fuse(vec![dense[0].clone()], vec![by_words(&dense[0], 1.0)], &[1.0, 0.0]);
        assert!((best[0].score - 1.0).abs() < 1e-6, "the first of both is 1");
    }

    #[test]
    fn words_lower_the_bar_and_do_not_remove_it() {
        let near = |score, words: bool, mode| {
            let plain = hit(score, [1.0, 0.0]);
            let mut found = by_words(&plain, 5.0);
            found.parts.dense = Some(score);
            is_near_enough(if words { &found } else { &plain }, mode, 0.2)
        };
        assert!(near(0.2, false, Mode::Hybrid) && !near(0.19, false, Mode::Hybrid));
        assert!(near(0.1, true, Mode::Hybrid) && !near(0.09, true, Mode::Hybrid));
        assert!(near(-0.5, true, Mode::Text));
        assert!(!near(0.19, false, Mode::Dense));
    }

    #[test]
    fn facts_age_and_documents_do_not() {
        let day = Duration::from_secs(86_400);
        let now = Timestamp::UNIX_EPOCH + day;
        let fact = Hit {
            kind: HitKind::Fact,
            ..hit(0.8, [1.0, 0.0])
        };
        let mut hits = vec![hit(0.8, [1.0, 0.0]), fact];
        let_facts_age(&mut hits, now, None);
        assert_eq!(scores(&hits), [0.8, 0.8]);
        let_facts_age(&mut hits, now, Some(day));
        assert_eq!(hits[0].score, 0.8);
        assert!((hits[1].score - 0.8 * 0.85).abs() < 1e-6, "{}", hits[1].score);
        assert_eq!(hits[1].parts.recency, Some(0.85));
    }

    #[test]
    fn reranked_hits_are_in_the_rerankers_order_and_facts_still_age() {
        let fact = Hit {
            kind: HitKind::Fact,
            ..hit(0.7, [1.0, 0.0])
        };
        let mut hits = vec![hit(0.9, [1.0, 0.0]), hit(0.8, [1.0, 0.0]), fact];
        hits[2].parts.recency = Some(0.5);
        rerank(&mut hits, &[0.1, 0.75, 1.0]);
        assert_eq!(scores(&hits), [0.75, 0.5, 0.1]);
        let reranked: Vec<_> = hits.iter().map(|hit| hit.parts.reranked).collect();
        assert_eq!(reranked, [Some(0.75), Some(1.0), Some(0.1)]);
        assert_eq!(hits[0].parts.dense, Some(0.8), "how it was found is still said");
    }

    #[test]
    fn copies_are_shown_once() {
        let first = hit(0.9, [1.0, 0.0]);
        let mut copy = hit(0.8, [1.0, 0.0]);
        copy.citation.text = first.citation.text.clone();
        let fact = Hit {
            kind: HitKind::Fact,
            ..copy.clone()
        };
        assert_eq!(scores(&without_copies(vec![first, copy, fact])), [0.9, 0.8]);
    }
}
