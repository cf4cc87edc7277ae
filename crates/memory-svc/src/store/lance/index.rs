//! The tables' indexes: by words, from the first row on; by principal and, where vectors are not held in memory
//! ([`super::resident`]), by vector, once a flat scan takes longer than they do.
//!
//! An index knows the rows that there were when it was last brought up to date; searches look at the others one by one. So an
//! index that is behind makes searches slower, never wrong.
//!
//! The one by words is made of segments ([`rewritten`]) and brought up to date by itself soon after a write ([`FEW`]): a search by words
//! takes the texts that it does not know apart. The others are looked after when files are joined.
//!
//! By vector it is IVF with RaBitQ codes, refined by the vectors themselves. Of 100,000 clustered vectors (384 dimensions, two
//! cores, AVX-512, through LanceDB's own API with a filter) a flat scan takes 45 ms, IVF_RQ with 20 probes and three times as
//! many candidates 4.0 ms at a recall of 1.00, IVF_HNSW_SQ 4.2 ms at the same recall; but IVF_RQ is built in 1.7 s and the graph
//! in 34 s (`examples/index_kinds.rs`).

use lance::index::DatasetIndexExt;
use lancedb::DistanceType;
use lancedb::index::Index;
use lancedb::index::scalar::{BitmapIndexBuilder, FtsIndexBuilder};
use lancedb::index::vector::IvfRqIndexBuilder;
use lancedb::table::{OptimizeAction, OptimizeOptions};

use super::table::Table;
use crate::store::StoreError;

/// Name of the index by vector.
const VECTORS: &str = "vector_rq";
/// Name of the index by principal.
const PRINCIPALS: &str = "principal_bitmap";
/// What names of indexes by words begin with; the language follows.
const WORDS: &str = "text_words_";
/// Rows that a search by words may look at one by one: it takes their texts to words then, some 30 µs each.
const FEW: u64 = 256;

/// How tables are indexed.
#[derive(Debug, Clone)]
pub struct Indexing {
    /// Language whose endings are taken off words and whose commonest words are left out.
    pub language: String,
    /// Rows from which on vectors are indexed, where they are not held in memory.
    pub vectors_from: u64,
    /// Memory for what searches by meaning find.
    pub resident_bytes: u64,
    /// Memory for what is read of files again and again.
    pub cache_bytes: u64,
}

impl Table {
    /// Makes the index by words of the column `text`, unless there is one for this language.
    pub(super) async fn make_words(&self, language: &str) -> Result<(), StoreError> {
        self.catch_up().await?;
        let name = format!("{WORDS}{language}");
        let known = self.indexes().await?;
        if known.contains(&name) {
            return Ok(());
        }
        self.build_words(language).await?;
        for other in known.iter().filter(|other| other.starts_with(WORDS)) {
            let dropped = self.table().drop_index(other).await;
            dropped.map_err(self.failed("dropped an index of another language"))?;
        }
        Ok(())
    }

    async fn build_words(&self, language: &str) -> Result<(), StoreError> {
        let words = FtsIndexBuilder::default()
            .language(language)
            .map_err(lancedb::Error::from)
            .map_err(self.failed("read the language of memory.search"))?
            .stem(true)
            .remove_stop_words(true)
            .ascii_folding(true);
        self.table()
            .create_index(&["text"], Index::FTS(words))
            .name(format!("{WORDS}{language}"))
            .replace(true)
            .execute()
            .await
            .map_err(self.failed("made its index by words"))
    }

    /// Brings the indexes up to date; makes those by principal and, where `vectors` says so, by vector, from so many rows on.
    pub(super) async fn index(&self, from: u64, vectors: bool) -> Result<(), StoreError> {
        self.catch_up().await?;
        let known = self.indexes().await?;
        for name in &known {
            match name.strip_prefix(WORDS) {
                Some(language) => drop(self.bring_words_up_to_date(language, 0).await?),
                None => {
                    self.bring_up_to_date(OptimizeOptions::default().index_names(vec![name.clone()]))
                        .await?;
                }
            }
        }
        let rows = self.len().await?;
        if rows < from {
            return Ok(());
        }
        if !known.iter().any(|name| name == PRINCIPALS) {
            self.table()
                .create_index(&["principal"], Index::Bitmap(BitmapIndexBuilder::default()))
                .name(PRINCIPALS.into())
                .execute()
                .await
                .map_err(self.failed("made its index by principal"))?;
        }
        if vectors && !known.iter().any(|name| name == VECTORS) {
            tracing::info!(rows, "vectors are indexed");
            self.build_vectors().await?;
        }
        if vectors { self.warm().await } else { Ok(()) }
    }

    /// Brings the index by words alone up to date, if there are more than [`FEW`] rows that it does not know. True: there were.
    pub(super) async fn know_new_words(&self, language: &str) -> Result<bool, StoreError> {
        self.catch_up().await?;
        self.bring_words_up_to_date(language, FEW).await
    }

    /// Whether there are more than [`FEW`] rows that the index by words does not know.
    pub(super) async fn has_new_words(&self, language: &str) -> Result<bool, StoreError> {
        self.catch_up().await?;
        Ok(self.segments(language).await?.unknown > FEW)
    }

    /// Brings the index by words up to date, if there are more than `few` rows that it does not know or, where they are none, words
    /// that are gone. True: there were.
    async fn bring_words_up_to_date(&self, language: &str, few: u64) -> Result<bool, StoreError> {
        let segments = self.segments(language).await?;
        // Rows that are gone with all their neighbours leave their words behind: there is nothing left that compaction would write.
        let behind = if few == 0 { segments.behind() } else { 0 };
        if segments.unknown <= few && behind == 0 {
            return Ok(false);
        }
        let mut last = rewritten(&segments.rows, segments.unknown).max(behind);
        if segments.unknown == 0 && last == 1 {
            if segments.rows.len() == 1 {
                self.build_words(language).await?;
                return Ok(true);
            }
            // Lance takes one segment and no rows for nothing to do.
            last = 2;
        }
        let options = OptimizeOptions::merge(last).index_names(vec![format!("{WORDS}{language}")]);
        self.bring_up_to_date(options).await?;
        Ok(true)
    }

    async fn bring_up_to_date(&self, options: OptimizeOptions) -> Result<(), StoreError> {
        let updated = self.table().optimize(OptimizeAction::Index(options)).await;
        updated.map_err(self.failed("brought its indexes up to date")).map(drop)
    }

    /// What the index by words is made of.
    pub(super) async fn segments(&self, language: &str) -> Result<Segments, StoreError> {
        let state = self.state().await?;
        let read = async {
            let total = state.count_rows(None).await? as u64;
            let mut segments = Segments::default();
            for segment in state.load_indices_by_name(&format!("{WORDS}{language}")).await?.iter() {
                let named = segment.fragment_bitmap.clone().unwrap_or_default();
                let known: Vec<_> = state
                    .fragments()
                    .iter()
                    .filter(|one| named.contains(one.id as u32))
                    .collect();
                let rows = known.iter().map(|fragment| fragment.num_rows().unwrap_or(0) as u64);
                segments.rows.push(rows.sum());
                segments.gone.push(named.len() > known.len() as u64);
            }
            segments.unknown = total.saturating_sub(segments.rows.iter().sum());
            Ok(segments)
        };
        read.await
            .map_err(|error: lance::Error| self.failed("read what its indexes know")(error.into()))
    }

    async fn build_vectors(&self) -> Result<(), StoreError> {
        let vectors = IvfRqIndexBuilder::default().distance_type(DistanceType::Cosine);
        self.table()
            .create_index(&["vector"], Index::IvfRq(vectors))
            .name(VECTORS.into())
            .replace(true)
            .execute()
            .await
            .map_err(self.failed("made its index by vector"))
    }

    /// Reads the index by vector into memory, if there is one.
    pub(super) async fn warm(&self) -> Result<(), StoreError> {
        if self.indexes().await?.iter().any(|name| name == VECTORS) {
            let warmed = self.table().prewarm_index(VECTORS).await;
            warmed.map_err(self.failed("read its index by vector"))?;
        }
        Ok(())
    }

    async fn indexes(&self) -> Result<Vec<String>, StoreError> {
        let indexes = self.table().list_indices().await;
        let indexes = indexes.map_err(self.failed("listed its indexes"))?;
        Ok(indexes.into_iter().map(|index| index.name).collect())
    }
}

/// What an index by words is made of: searches ask each of its segments.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// Rows that each knows, in their order.
    pub(super) rows: Vec<u64>,
    /// Whether each knows rows that are gone, file and all.
    pub(super) gone: Vec<bool>,
    /// Rows that none knows.
    pub(super) unknown: u64,
}

impl Segments {
    /// How many of the last ones have to be written anew for what is gone to be gone from them.
    fn behind(&self) -> usize {
        let first = self.gone.iter().position(|gone| *gone);
        first.map_or(0, |first| self.gone.len() - first)
    }
}

/// How many of the last segments, whose rows are given, are written anew together with so many `rows` that none knows yet.
///
/// Each segment stays more than twice as large as all behind it, so that there are few, and a row is rewritten few times: both
/// at most the logarithm of the number of rows. One segment would be rewritten whole for every few documents.
fn rewritten(segments: &[u64], rows: u64) -> usize {
    let mut behind = rows;
    let small = segments.iter().rev().take_while(|segment| {
        let is_small = **segment <= behind.saturating_mul(2);
        behind = behind.saturating_add(**segment);
        is_small
    });
    small.count()
}

#[cfg(test)]
mod tests {
    use super::rewritten;

    #[test]
    fn segments_are_few_and_rows_are_rewritten_seldom() {
        let (mut segments, mut written) = (Vec::<u64>::new(), 0);
        for _ in 0..10_000 {
            let old = segments.split_off(segments.len() - rewritten(&segments, 64));
            segments.push(64 + old.iter().sum::<u64>());
            written += segments.last().unwrap();
            assert!(segments.len() <= 14, "{segments:?}");
        }
        assert_eq!(segments.iter().sum::<u64>(), 640_000);
        assert!(written <= 14 * 640_000, "each row {} times", written / 640_000);
    }

    #[test]
    fn what_is_small_beside_what_comes_is_written_with_it() {
        assert_eq!(rewritten(&[], 10), 0);
        assert_eq!(rewritten(&[21], 10), 0);
        assert_eq!(rewritten(&[20], 10), 1);
        assert_eq!(rewritten(&[1000, 60, 20], 10), 2);
        assert_eq!(rewritten(&[0, 0], 1), 2, "all that they knew is gone");
    }
}
