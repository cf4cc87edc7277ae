//! Vectors held in memory, each with a value, and the search for those nearest to another.
//!
//! A vector is kept as its direction, in 16-bit fixed point: half of `f32`'s room, a dot product of whole numbers that every
//! processor's vector unit has an instruction for, and a cosine that is right to about 1e-5. Up to [`LISTS_FROM`] vectors each
//! is looked at. Above, they lie in *inverted lists*, each around a centre that k-means found, and only the lists whose centres
//! are nearest to the query are looked at (Sivic and Zisserman, 2003: "Video Google"). Why not a graph: docs/adr/0022.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Vectors from which on lists are made; fewer are looked at one by one in half a millisecond.
pub const LISTS_FROM: usize = 10_000;
/// Of so many lists one is looked at…
const PROBED_SHARE: usize = 16;
/// … but no fewer than these.
const LEAST_PROBES: usize = 16;
/// Vectors for each list that k-means learns from.
const SAMPLES_PER_LIST: usize = 32;
/// Rounds of k-means; more move the centres hardly any further.
const ROUNDS: usize = 8;
/// What 1.0 is in fixed point.
const ONE: f32 = 32_767.0;

/// Names an entry for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

/// Vectors with values.
#[derive(Debug)]
pub struct Vectors<T> {
    dimension: usize,
    /// By key; `None`: free.
    entries: Vec<Option<Entry<T>>>,
    free: Vec<Key>,
    len: usize,
    lists: Lists,
}

#[derive(Debug)]
struct Entry<T> {
    place: Place,
    value: T,
}

/// Where a vector lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    list: u32,
    index: u32,
}

#[derive(Debug)]
struct Lists {
    /// One after the other, `dimension` numbers each.
    centres: Vec<i16>,
    lists: Vec<List>,
    /// Vectors that there were when the lists were made.
    made_for: usize,
}

#[derive(Debug, Default)]
struct List {
    /// One after the other, `dimension` numbers each.
    vectors: Vec<i16>,
    keys: Vec<Key>,
}

/// The same vectors in better lists ([`Vectors::rearranged`]).
#[derive(Debug)]
pub struct Arrangement {
    lists: Lists,
    places: Vec<(Key, Place)>,
}

impl<T> Vectors<T> {
    /// None yet, of so many components each.
    pub fn new(dimension: usize) -> Self {
        Self {
            dimension,
            entries: Vec::new(),
            free: Vec::new(),
            len: 0,
            lists: Lists::one(dimension),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a vector. Of one without a direction nothing is near.
    ///
    /// # Panics
    /// When it has another number of components than the others.
    pub fn insert(&mut self, vector: &[f32], value: T) -> Key {
        assert_eq!(vector.len(), self.dimension, "vectors of one space have one dimension");
        let key = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            key(self.entries.len() - 1)
        });
        let place = self.lists.push(&fixed(vector), key);
        self.entries[key.0 as usize] = Some(Entry { place, value });
        self.len += 1;
        key
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let Entry { place, value } = self.entries.get_mut(key.0 as usize)?.take()?;
        if let Some(moved) = self.lists.remove(place, self.dimension)
            && let Some(Some(entry)) = self.entries.get_mut(moved.0 as usize)
        {
            entry.place = place;
        }
        self.free.push(key);
        self.len -= 1;
        Some(value)
    }

    /// An entry's value.
    pub fn get(&self, key: Key) -> Option<&T> {
        Some(&self.entries.get(key.0 as usize)?.as_ref()?.value)
    }

    /// An entry's direction, of length 1.
    pub fn vector(&self, key: Key) -> Option<Vec<f32>> {
        let place = self.entries.get(key.0 as usize)?.as_ref()?.place;
        let list = &self.lists.lists[place.list as usize];
        let start = place.index as usize * self.dimension;
        let numbers = list.vectors[start..start + self.dimension].iter();
        Some(numbers.map(|x| f32::from(*x) / ONE).collect())
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(index, entry)| Some((key(index), &entry.as_ref()?.value)))
    }

    /// The `limit` entries nearest to `query` of those that `accept` lets through, with their cosine similarity, nearest
    /// first. `accepted`: how many it lets through; the fewer, the more lists are looked at.
    ///
    /// # Panics
    /// When `query` has another number of components than the others.
    pub fn nearest(
        &self,
        query: &[f32],
        limit: usize,
        accepted: usize,
        accept: impl Fn(&T) -> bool,
    ) -> Vec<(Key, f32)> {
        assert_eq!(query.len(), self.dimension, "vectors of one space have one dimension");
        let accept = |key: Key| self.get(key).is_some_and(&accept);
        self.lists.nearest(&fixed(query), limit, accepted, self.len, &accept)
    }

    /// Better lists, where so many vectors came or went since they were made that it is worth it. Takes a while: a second for
    /// 100,000 vectors.
    pub fn rearranged(&self) -> Option<Arrangement> {
        let made_for = self.lists.made_for;
        let grown = self.len >= LISTS_FROM && self.len >= 2 * made_for;
        let shrunk = self.lists.lists.len() > 1 && self.len < made_for / 4;
        if !grown && !shrunk {
            return None;
        }
        let mut lists = if self.len < LISTS_FROM {
            Lists::one(self.dimension)
        } else {
            let all: Vec<&[i16]> = self.lists.vectors(self.dimension).collect();
            Lists::around(centres(&all, self.dimension), self.dimension)
        };
        lists.made_for = self.len;
        let keys = self.lists.lists.iter().flat_map(|list| &list.keys);
        let vectors = self.lists.vectors(self.dimension);
        let places = keys
            .zip(vectors)
            .map(|(key, vector)| (*key, lists.push(vector, *key)))
            .collect();
        Some(Arrangement { lists, places })
    }

    /// Takes on lists that were made of these very vectors: none may have come or gone since.
    pub fn adopt(&mut self, arrangement: Arrangement) {
        self.lists = arrangement.lists;
        for (key, place) in arrangement.places {
            if let Some(Some(entry)) = self.entries.get_mut(key.0 as usize) {
                entry.place = place;
            }
        }
    }
}

impl Lists {
    fn one(dimension: usize) -> Self {
        Self::around(vec![0; dimension], dimension)
    }

    fn around(centres: Vec<i16>, dimension: usize) -> Self {
        let mut lists = Vec::new();
        lists.resize_with(centres.len() / dimension, List::default);
        Self {
            centres,
            lists,
            made_for: 0,
        }
    }

    fn push(&mut self, vector: &[i16], key: Key) -> Place {
        let list = if self.lists.len() == 1 {
            0
        } else {
            nearest_centre(vector, &self.centres)
        };
        let keys = &mut self.lists[list];
        keys.vectors.extend_from_slice(vector);
        keys.keys.push(key);
        Place {
            list: number(list),
            index: number(keys.keys.len() - 1),
        }
    }

    /// Takes a vector out; says whose took its place.
    fn remove(&mut self, place: Place, dimension: usize) -> Option<Key> {
        let List { vectors, keys } = &mut self.lists[place.list as usize];
        let (index, last) = (place.index as usize, keys.len() - 1);
        keys.swap_remove(index);
        vectors.copy_within(last * dimension.., index * dimension);
        vectors.truncate(last * dimension);
        keys.get(index).copied()
    }

    /// The lists to look at, and the others, both in no order.
    fn by_nearness(&self, query: &[i16], accepted: usize, all: usize) -> (Vec<usize>, Vec<usize>) {
        let count = self.lists.len();
        let probes = (count / PROBED_SHARE).max(LEAST_PROBES);
        let probes = probes.saturating_mul(all) / accepted.max(1);
        // Few are as quickly looked at one by one.
        let probes = if accepted < LISTS_FROM {
            count
        } else {
            probes.min(count)
        };
        let mut order: Vec<usize> = (0..count).collect();
        if probes < count {
            let near: Vec<i32> = self.centres.chunks_exact(query.len()).map(|c| dot(query, c)).collect();
            order.select_nth_unstable_by_key(probes, |list| Reverse(near[*list]));
        }
        let others = order.split_off(probes);
        (order, others)
    }

    /// [`Vectors::nearest`], which is compiled here and not where the values are: as fast as this crate is.
    fn nearest(
        &self,
        query: &[i16],
        limit: usize,
        accepted: usize,
        all: usize,
        accept: &dyn Fn(Key) -> bool,
    ) -> Vec<(Key, f32)> {
        // The worst of the best on top.
        let mut best: BinaryHeap<Reverse<(i32, Key)>> = BinaryHeap::with_capacity(limit + 1);
        let (near, others) = self.by_nearness(query, accepted, all);
        let enough = limit.min(accepted);
        for (index, list) in near.iter().chain(&others).enumerate() {
            // What is let through may lie together, away from the query.
            if index >= near.len() && best.len() >= enough {
                break;
            }
            let list = &self.lists[*list];
            let vectors = list.vectors.chunks_exact(query.len());
            for (key, vector) in list.keys.iter().zip(vectors) {
                let candidate = Reverse((dot(query, vector), *key));
                let is_full = best.len() >= limit;
                if is_full && best.peek().is_none_or(|worst| candidate >= *worst) {
                    continue;
                }
                // Last, because values lie anywhere in memory: that costs more than the product.
                if accept(*key) {
                    if is_full {
                        best.pop();
                    }
                    best.push(candidate);
                }
            }
        }
        let best = best.into_sorted_vec().into_iter();
        best.map(|Reverse((dot, key))| (key, cosine(dot))).collect()
    }

    fn vectors(&self, dimension: usize) -> impl Iterator<Item = &[i16]> {
        self.lists
            .iter()
            .flat_map(move |list| list.vectors.chunks_exact(dimension))
    }
}

/// Spherical k-means over a sample, which is spread evenly: √n centres.
fn centres(vectors: &[&[i16]], dimension: usize) -> Vec<i16> {
    let count = vectors.len().isqrt();
    let evenly = |wanted: usize| (0..wanted).map(move |index| vectors[index * vectors.len() / wanted]);
    let mut centres: Vec<i16> = evenly(count).flatten().copied().collect();
    for _ in 0..ROUNDS {
        let mut sums = vec![0.0_f32; centres.len()];
        for vector in evenly((count * SAMPLES_PER_LIST).min(vectors.len())) {
            let start = nearest_centre(vector, &centres) * dimension;
            let sum = &mut sums[start..start + dimension];
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f32::from(*x));
        }
        for (centre, sum) in centres.chunks_exact_mut(dimension).zip(sums.chunks_exact(dimension)) {
            // A centre that nothing is near stays where it is.
            if sum.iter().any(|x| *x != 0.0) {
                centre.copy_from_slice(&fixed(sum));
            }
        }
    }
    centres
}

fn nearest_centre(vector: &[i16], centres: &[i16]) -> usize {
    let near = centres.chunks_exact(vector.len()).map(|centre| dot(vector, centre));
    near.enumerate()
        .max_by_key(|(_, near)| *near)
        .map_or(0, |(index, _)| index)
}

/// The direction in fixed point; zeros where there is none.
fn fixed(vector: &[f32]) -> Vec<i16> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if !length.is_normal() {
        return vec![0; vector.len()];
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "no component of a unit vector is above 1"
    )]
    vector.iter().map(|x| (x / length * ONE).round() as i16).collect()
}

/// Of two directions, so that no sum on the way is above 1 squared (Cauchy and Schwarz), which 31 bits hold.
fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

#[allow(clippy::cast_precision_loss, reason = "the numbers themselves are not more precise")]
fn cosine(dot: i32) -> f32 {
    (dot as f32 / (ONE * ONE)).clamp(-1.0, 1.0)
}

fn key(index: usize) -> Key {
    Key(number(index))
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("four thousand million vectors do not fit into memory")
}
