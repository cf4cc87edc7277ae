//! How far two texts are apart.

/// The fewest substitutions, deletions and insertions that make one list of the other (Levenshtein distance; on words, over
/// the length of the reference, it is the word error rate of NIST's sclite).
pub fn edits<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=hypothesis.len()).collect();
    for (i, wanted) in reference.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, found) in hypothesis.iter().enumerate() {
            let substituted = diagonal + usize::from(wanted != found);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[hypothesis.len()]
}
