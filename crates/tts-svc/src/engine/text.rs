//! Text as the voices want it: clauses with their punctuation, and where in a clause's phonemes its words begin. Pure.

/// Punctuation that voices know as a phoneme.
const MARKS: [char; 6] = ['.', '!', '?', ',', ';', ':'];

/// Cuts text into clauses, each with the punctuation that ends it. espeak-ng gives phonemes but no punctuation, and the
/// melody of a sentence hangs on it. A mark inside a word ("3.14", "10:30") ends no clause; the last clause ends with a
/// full stop if it has no mark of its own.
pub(super) fn clauses(text: &str) -> Vec<(&str, char)> {
    let mut clauses = Vec::new();
    let mut start = 0;
    let mut marks = text.char_indices().filter(|(_, c)| MARKS.contains(c)).peekable();
    while let Some((at, mark)) = marks.next() {
        let mut mark = mark;
        let mut end = at + 1;
        while let Some((_, next)) = marks.next_if(|(index, _)| *index == end) {
            // "?!" asks, "!.." shouts, "..." ends.
            mark = if mark == '?' || next == '?' { '?' } else { mark };
            end += 1;
        }
        if text[end..].starts_with(|c: char| !c.is_whitespace()) {
            continue;
        }
        push(&mut clauses, &text[start..at], mark);
        start = end;
    }
    push(&mut clauses, &text[start..], '.');
    clauses
}

fn push<'a>(clauses: &mut Vec<(&'a str, char)>, text: &'a str, mark: char) {
    let text = text.trim();
    if text.chars().any(char::is_alphanumeric) {
        clauses.push((text, mark));
    }
}

/// Where each of a clause's words begins in its phonemes, as indices of characters. espeak-ng joins words that are spoken
/// as one ("of the") and spreads numbers over several; where its groups are not the words, the words share the phonemes as
/// long as they are when each is spoken alone (`alone`, in characters). Good to about half a word.
pub(super) fn word_starts(phonemes: &str, alone: &[usize]) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut outside = true;
    let mut length = 0;
    for c in phonemes.chars() {
        if outside && c != ' ' {
            groups.push(length);
        }
        outside = c == ' ';
        length += 1;
    }
    if groups.len() == alone.len() {
        return groups;
    }
    let all: usize = alone.iter().sum::<usize>().max(1);
    let mut before = 0;
    alone
        .iter()
        .map(|own| {
            let start = before * length / all;
            before += own;
            start
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_keep_their_punctuation() {
        assert_eq!(
            clauses("Yes, it is: 3.14 at 10:30; right?! Go..."),
            [
                ("Yes", ','),
                ("it is", ':'),
                ("3.14 at 10:30", ';'),
                ("right", '?'),
                ("Go", '.')
            ]
        );
        assert_eq!(clauses("no mark"), [("no mark", '.')]);
        assert_eq!(clauses(" . , "), []);
        assert_eq!(clauses("Größe, ja."), [("Größe", ','), ("ja", '.')]);
    }

    #[test]
    fn words_begin_with_their_group_or_at_their_share() {
        assert_eq!(word_starts("həlˈoʊ fɹʌm  sˈoʊloʊ", &[6, 4, 7]), [0, 7, 13]);
        // Two words in one group of six characters.
        assert_eq!(word_starts("ʌvðə kˈæt", &[2, 2, 5]), [0, 2, 4]);
        assert_eq!(word_starts("", &[0, 0]), [0, 0]);
        assert!(word_starts("abc", &[]).is_empty());
    }
}
