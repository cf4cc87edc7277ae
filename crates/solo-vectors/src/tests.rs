use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn direction(random: &mut StdRng, dimension: usize) -> Vec<f32> {
    (0..dimension).map(|_| random.random_range(-1.0..1.0)).collect()
}

fn exact(a: &[f32], b: &[f32]) -> f32 {
    let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() / (length(a) * length(b))
}

/// Points around some centres, as texts lie around subjects.
fn clustered(random: &mut StdRng, count: usize, dimension: usize) -> Vec<Vec<f32>> {
    let centres: Vec<_> = (0..count / 50).map(|_| direction(random, dimension)).collect();
    let near =
        |random: &mut StdRng, centre: &[f32]| centre.iter().map(|x| x + random.random_range(-0.4..0.4)).collect();
    (0..count)
        .map(|_| {
            let centre = random.random_range(0..centres.len());
            near(random, &centres[centre])
        })
        .collect()
}

#[test]
fn a_cosine_is_right_to_a_hundred_thousandth() {
    let mut random = StdRng::seed_from_u64(1);
    let mut vectors = Vectors::new(384);
    let all: Vec<Vec<f32>> = (0..200).map(|_| direction(&mut random, 384)).collect();
    for (index, vector) in all.iter().enumerate() {
        vectors.insert(vector, index);
    }
    let query = direction(&mut random, 384);
    let found = vectors.nearest(&query, 200, 200, |_| true);
    assert_eq!(found.len(), 200);
    for (key, cosine) in found {
        let wanted = exact(&query, &all[*vectors.get(key).unwrap()]);
        assert!((cosine - wanted).abs() < 4e-5, "{cosine} instead of {wanted}");
    }
}

#[test]
fn a_vector_without_a_direction_is_near_to_nothing() {
    let mut vectors = Vectors::new(3);
    vectors.insert(&[0.0; 3], "none");
    vectors.insert(&[f32::NAN, 1.0, 0.0], "no number");
    vectors.insert(&[-2.0, 0.0, 0.0], "away");
    let key = vectors.insert(&[0.0, 5.0, 0.0], "there");
    let found = vectors.nearest(&[0.0, 1.0, 0.0], 1, 4, |_| true);
    assert_eq!(found, [(key, 1.0)]);
    assert_eq!(vectors.vector(key), Some(vec![0.0, 1.0, 0.0]));
}

#[test]
fn lists_find_what_looking_at_each_finds() {
    let mut random = StdRng::seed_from_u64(2);
    let all = clustered(&mut random, 12_000, 32);
    let mut vectors = Vectors::new(32);
    for (index, vector) in all.iter().enumerate() {
        vectors.insert(vector, index);
    }
    let queries = clustered(&mut random, 100, 32);
    let queries: Vec<_> = queries.iter().chain(all.iter().step_by(200)).collect();
    let ask = |vectors: &Vectors<usize>, of: usize| -> Vec<Vec<(Key, f32)>> {
        let accept = |value: &usize| value.is_multiple_of(of);
        queries
            .iter()
            .map(|query| vectors.nearest(query, 10, 12_000 / of, accept))
            .collect()
    };
    let (each, each_fifth) = (ask(&vectors, 1), ask(&vectors, 5));
    let arrangement = vectors.rearranged().expect("there are enough for lists");
    vectors.adopt(arrangement);
    assert!(vectors.lists.lists.len() > 100);
    assert!(vectors.rearranged().is_none(), "nothing came since");
    let same = |a: &[Vec<(Key, f32)>], b: &[Vec<(Key, f32)>]| {
        let pairs = a.iter().zip(b);
        pairs
            .map(|(a, b)| a.iter().filter(|hit| b.contains(hit)).count())
            .sum::<usize>()
    };
    let wanted = 10 * queries.len();
    let found = same(&ask(&vectors, 1), &each);
    assert!(found * 100 >= wanted * 95, "{found} of {wanted}");
    assert_eq!(
        same(&ask(&vectors, 5), &each_fifth),
        wanted,
        "few are looked at one by one"
    );
}

#[test]
fn what_is_let_through_is_found_wherever_it_lies() {
    let mut random = StdRng::seed_from_u64(4);
    let mut vectors = Vectors::new(16);
    let axis = |of: usize| {
        (0..16)
            .map(|index| if index == of { 1.0 } else { 0.0 })
            .collect::<Vec<f32>>()
    };
    for subject in 0..4 {
        for _ in 0..12_000 {
            let noise = direction(&mut random, 16);
            let near: Vec<f32> = axis(subject)
                .iter()
                .zip(noise)
                .map(|(x, noise)| x + 0.05 * noise)
                .collect();
            vectors.insert(&near, subject);
        }
    }
    let arrangement = vectors.rearranged().expect("there are enough for lists");
    vectors.adopt(arrangement);
    let found = vectors.nearest(&axis(0), 10, 12_000, |subject| *subject == 3);
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|(key, _)| vectors.get(*key) == Some(&3)));
}

#[test]
fn lists_grow_and_shrink_with_what_is_in_them() {
    let mut random = StdRng::seed_from_u64(3);
    let mut vectors = Vectors::new(8);
    let keys: Vec<Key> = (0..LISTS_FROM)
        .map(|index| vectors.insert(&direction(&mut random, 8), index))
        .collect();
    let arrangement = vectors.rearranged().expect("there are enough for lists");
    vectors.adopt(arrangement);
    for key in &keys[100..] {
        assert!(vectors.remove(*key).is_some());
    }
    let arrangement = vectors.rearranged().expect("there are too many lists");
    vectors.adopt(arrangement);
    assert_eq!(vectors.lists.lists.len(), 1);
    let left: Vec<usize> = vectors.iter().map(|(_, value)| *value).collect();
    assert_eq!(left, (0..100).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After any insertions and removals, what is found is what a plain list of what should be there finds.
    #[test]
    fn what_came_and_went_is_there_or_not(
        steps in prop::collection::vec((prop::collection::vec(-9_i8..=9, 4), any::<prop::sample::Index>(), 0_u8..3), 1..80),
        query in prop::collection::vec(1_i8..=9, 4),
    ) {
        let floats = |numbers: &[i8]| -> Vec<f32> { numbers.iter().map(|x| f32::from(*x)).collect() };
        let mut vectors = Vectors::new(4);
        let mut plain: Vec<(Key, Vec<f32>)> = Vec::new();
        for (number, (vector, index, action)) in steps.iter().enumerate() {
            if *action == 0 && !plain.is_empty() {
                let (key, _) = plain.swap_remove(index.index(plain.len()));
                prop_assert!(vectors.remove(key).is_some());
                prop_assert!(vectors.remove(key).is_none());
            } else {
                plain.push((vectors.insert(&floats(vector), number), floats(vector)));
            }
        }
        prop_assert_eq!(vectors.len(), plain.len());
        let query = floats(&query);
        let found = vectors.nearest(&query, 5, plain.len(), |_| true);
        let mut wanted: Vec<f32> = plain
            .iter()
            .map(|(_, vector)| exact(&query, vector))
            .map(|cosine| if cosine.is_nan() { 0.0 } else { cosine })
            .collect();
        wanted.sort_by(|a, b| b.total_cmp(a));
        wanted.truncate(5);
        prop_assert_eq!(found.len(), wanted.len());
        for ((key, cosine), wanted) in found.iter().zip(&wanted) {
            prop_assert!((cosine - wanted).abs() < 1e-3);
            let (_, vector) = plain.iter().find(|(known, _)| known == key).expect("it is there");
            let direct = exact(&query, vector);
            prop_assert!(direct.is_nan() || (direct - cosine).abs() < 1e-3);
        }
    }
}
