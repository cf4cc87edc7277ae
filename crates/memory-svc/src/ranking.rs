//! Which of the nearest pieces to show: maximal marginal relevance. Pure.

use crate::query::Hit;

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
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::query::{Citation, HitKind};

    fn hit(score: f32, vector: [f32; 2]) -> Hit {
        let citation = Citation {
            document: Uuid::nil(),
            title: String::new(),
            uri: String::new(),
            page: 0,
            heading: String::new(),
            range: 0..0,
            text: String::new(),
        };
        let created_at = Timestamp::UNIX_EPOCH;
        Hit {
            id: Uuid::now_v7(),
            kind: HitKind::Document,
            score,
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
}
