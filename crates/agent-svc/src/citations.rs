//! Which pieces of memory a reply rests on, and the sentence that says so. Pure.
//!
//! A piece counts as used when the reply carries its marker (`[2]`), or when the reply says things that stand in the piece
//! and not in the question: words the model can only have from there. Small models seldom write markers, so the second
//! rule does most of the work. It is a rule of thumb, with numbers chosen on short notes and paragraphs: at least
//! [`SHARED_WORDS`] such words, and at least [`SHARED_SHARE`] of whichever has fewer of them, reply or piece.

use std::collections::HashSet;

use crate::dialogue::{Source, title_of};

/// Words that reply and piece must share beyond those of the question. One is enough where the piece has at most two.
const SHARED_WORDS: usize = 2;
/// Share of the shorter one's words that must be shared.
const SHARED_SHARE: f32 = 0.25;
/// Characters of a title that is said aloud.
const TITLE_CHARS: usize = 40;
/// The same for one that is only the beginning of its text.
const SELF_TITLE_CHARS: usize = 28;

/// Words that say nothing about what a text is about.
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by",
    "can", "could", "did", "do", "does", "for", "from", "had", "has", "have", "he", "her", "here", "him", "his", "how",
    "i", "if", "in", "into", "is", "it", "its", "just", "know", "me", "my", "no", "not", "note", "of", "on", "or",
    "our", "she", "so", "some", "that", "the", "their", "them", "then", "there", "they", "this", "to", "up", "was",
    "we", "were", "what", "when", "where", "which", "who", "why", "will", "with", "would", "yes", "you", "your",
];

/// The pieces that the reply used, in their order.
pub fn used<'a>(question: &str, reply: &str, pieces: &'a [Source]) -> Vec<&'a Source> {
    let marked = markers(reply);
    let asked = content_words(question);
    let said = content_words(reply);
    pieces
        .iter()
        .filter(|piece| marked.contains(&piece.number) || rests_on(&asked, &said, &piece.text))
        .collect()
}

/// True when the reply says what only the piece can have told it.
fn rests_on(asked: &HashSet<String>, said: &HashSet<String>, piece: &str) -> bool {
    let written = content_words(piece);
    let news: HashSet<&String> = written.difference(asked).collect();
    if news.is_empty() {
        // The question says everything that the piece says; then repeating most of it is using it.
        let repeated = written.intersection(said).count();
        return repeated >= SHARED_WORDS && 2 * repeated >= written.len();
    }
    let told = said.difference(asked).count();
    let shared = news.iter().filter(|word| said.contains(**word)).count();
    let enough = shared >= SHARED_WORDS || (shared == 1 && news.len() <= SHARED_WORDS);
    enough && shared as f32 >= SHARED_SHARE * news.len().min(told) as f32
}

/// The words of a text that carry meaning: lower case, without plural s and ordinal endings.
pub(crate) fn content_words(text: &str) -> HashSet<String> {
    text.to_lowercase()
        .replace(['\'', '’'], " ")
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty() && *word != "s" && !STOP_WORDS.contains(word))
        .map(stem)
        .collect()
}

fn stem(word: &str) -> String {
    let ordinal = ["st", "nd", "rd", "th"]
        .iter()
        .find_map(|ending| word.strip_suffix(ending));
    if let Some(number) =
        ordinal.filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return number.to_owned();
    }
    match word.strip_suffix('s') {
        Some(singular) if singular.chars().count() >= 3 && !singular.ends_with('s') => singular.to_owned(),
        _ => word.to_owned(),
    }
}

/// Numbers that stand in square brackets: `[1]`, `[1, 3]`.
fn markers(text: &str) -> HashSet<u32> {
    let inner = text
        .split('[')
        .skip(1)
        .filter_map(|rest| rest.split_once(']'))
        .map(|(inner, _)| inner);
    inner
        .flat_map(|inner| inner.split(','))
        .filter_map(|number| number.trim().parse().ok())
        .collect()
}

/// Words with which a reply speaks of its source.
const SOURCE_WORDS: &[&str] = &[
    "according",
    "document",
    "file",
    "note",
    "notes",
    "noted",
    "stored",
    "written",
    "wrote",
];

/// True when the reply says where it has something from: it carries the title, in quotation marks or beside a word that
/// speaks of a source. The title's words alone are no name: a note called "Spare keys" is about spare keys, as is any answer.
pub fn is_named(reply: &str, source: &Source) -> bool {
    let title = plain(&source.title);
    let said = plain(reply);
    if title.trim().is_empty() || !said.contains(&title) {
        return false;
    }
    let lower = reply.to_lowercase();
    let quoted = [('"', '"'), ('“', '”'), ('\'', '\''), ('‘', '’')]
        .iter()
        .any(|(open, close)| lower.contains(&format!("{open}{}{close}", source.title.trim().to_lowercase())));
    quoted || SOURCE_WORDS.iter().any(|word| said.contains(&format!(" {word} ")))
}

/// A title as it is said aloud. One that is only the beginning of the text is no name that anybody gave: a few words will
/// do to recognise it.
fn said_title(source: &Source, english: bool) -> String {
    let by_itself = plain(&source.text).starts_with(plain(&source.title).trim_end());
    let chars = if by_itself { SELF_TITLE_CHARS } else { TITLE_CHARS };
    let title = format!("“{}”", title_of(source.title.trim_end_matches(['.', '…']), chars));
    match source.page {
        0 => title,
        page if english => format!("page {page} of {title}"),
        page => format!("{title}, {page}"),
    }
}

/// Lower case words between single spaces, with a space at both ends.
fn plain(text: &str) -> String {
    let words: Vec<String> = text
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    format!(" {} ", words.join(" "))
}

/// The sentence that names the sources that the reply does not name itself; `None` when there is nothing to add. It is made
/// from the citations alone. In other languages than English it is the titles in brackets.
pub fn attribution(reply: &str, used: &[&Source], locale: &str) -> Option<String> {
    if used.iter().any(|source| is_named(reply, source)) {
        return None;
    }
    let english = locale.is_empty() || locale == "en" || locale.starts_with("en-");
    // A fact's title is its own text, which the reply says already.
    if english && !used.is_empty() && used.iter().all(|source| source.is_fact) {
        return Some("You told me that.".into());
    }
    let mut titles: Vec<String> = Vec::new();
    for source in used.iter().filter(|source| !source.title.trim().is_empty()) {
        let title = said_title(source, english);
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    match (titles.as_slice(), used) {
        (_, []) => None,
        ([], _) => english.then(|| "I have that from your notes.".into()),
        (titles, _) if !english => Some(format!("({})", titles.join(", "))),
        ([title], [source, ..]) if is_note(source) => Some(format!("I have that from your note {title}.")),
        ([title], _) => Some(format!("I have that from {title}.")),
        ([titles @ .., last], _) => Some(format!("I have that from {} and {last}.", titles.join(", "))),
    }
}

fn is_note(source: &Source) -> bool {
    source.uri.is_empty() || source.uri.starts_with("note:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(number: u32, title: &str, text: &str) -> Source {
        Source {
            number,
            score: 0.6,
            title: title.into(),
            uri: format!("note:{number}"),
            text: text.into(),
            ..Source::default()
        }
    }

    fn notes() -> Vec<Source> {
        vec![
            note(
                1,
                "Spare keys",
                "The spare keys are in the blue tin on the kitchen shelf.",
            ),
            note(2, "Dentist", "My dentist is Dr. Blue."),
            note(3, "Wifi", "The wifi password is hunter2."),
        ]
    }

    fn numbers(question: &str, reply: &str) -> Vec<u32> {
        used(question, reply, &notes())
            .iter()
            .map(|source| source.number)
            .collect()
    }

    #[test]
    fn what_only_a_note_can_have_told_is_used() {
        let asked = "Where did I put my spare keys?";
        assert_eq!(numbers(asked, "They are in the blue tin on the kitchen shelf."), [1]);
        assert_eq!(numbers(asked, "In the blue tin."), [1]);
        assert_eq!(numbers("What is the wifi password?", "It's hunter2!"), [3]);
        assert_eq!(numbers("Who is my dentist?", "Your dentist is Dr. Blue."), [2]);
    }

    #[test]
    fn what_the_question_says_already_proves_nothing() {
        assert!(
            numbers(
                "Where did I put my spare keys?",
                "I do not know where your spare keys are."
            )
            .is_empty()
        );
        assert!(numbers("What is the wifi password?", "I do not know the wifi password.").is_empty());
        assert!(numbers("What colour is the sky?", "The sky is blue.").is_empty());
    }

    #[test]
    fn a_question_that_holds_the_whole_note_is_confirmed_by_repeating_it() {
        let asked = "Is the wifi password hunter2?";
        assert_eq!(numbers(asked, "Yes, the wifi password is hunter2."), [3]);
        assert!(numbers(asked, "Yes.").is_empty());
    }

    #[test]
    fn markers_count() {
        assert_eq!(numbers("Anything?", "See [2]."), [2]);
        assert_eq!(numbers("Anything?", "See [1, 3] and [9]."), [1, 3]);
    }

    #[test]
    fn a_long_passage_is_not_cited_for_a_few_common_words() {
        let passage = "The history of the region begins with small villages by the river, whose people traded salt, fish \
                       and amber with the coast; later kings built roads, bridges, mills, markets and walls, and in time \
                       the town became the seat of a bishop, a school and three guilds.";
        let pieces = [note(1, "Region", passage)];
        let reply = "A good way to spend time by the river is a picnic: bring bread, cheese, apples, a blanket, a book, \
                     sunscreen and lemonade, and choose a shady place under tall trees where children can play.";
        assert!(used("What can we do on Sunday?", reply, &pieces).is_empty());
        let answer = "The people traded salt, fish and amber with the coast.";
        assert_eq!(used("What did the villages trade?", answer, &pieces).len(), 1);
    }

    #[test]
    fn a_source_is_named_once() {
        let notes = notes();
        let used = [&notes[0]];
        let added = attribution("In the blue tin.", &used, "en-US");
        assert_eq!(added.as_deref(), Some("I have that from your note “Spare keys”."));
        assert_eq!(
            attribution("Your note \"Spare keys\" says: in the blue tin.", &used, "en"),
            None
        );
        assert_eq!(
            attribution("In der blauen Dose.", &used, "de-DE").as_deref(),
            Some("(“Spare keys”)")
        );
        assert_eq!(attribution("I do not know.", &[], "en"), None);
    }

    #[test]
    fn several_sources_are_named_together_and_files_are_no_notes() {
        let mut notes = notes();
        let both = attribution("…", &[&notes[0], &notes[1]], "en");
        assert_eq!(both.as_deref(), Some("I have that from “Spare keys” and “Dentist”."));
        notes[0].uri = "/home/ada/keys.pdf".into();
        assert_eq!(
            attribution("…", &[&notes[0]], "en").as_deref(),
            Some("I have that from “Spare keys”.")
        );
        let fact = Source {
            is_fact: true,
            ..notes[1].clone()
        };
        assert_eq!(attribution("…", &[&fact], "en").as_deref(), Some("You told me that."));
        notes[0].page = 12;
        assert_eq!(
            attribution("…", &[&notes[0]], "en").as_deref(),
            Some("I have that from page 12 of “Spare keys”.")
        );
        assert_eq!(
            attribution("…", &[&notes[0]], "de").as_deref(),
            Some("(“Spare keys”, 12)")
        );
    }

    #[test]
    fn the_words_of_a_title_alone_do_not_name_it() {
        let notes = notes();
        for (reply, named) in [
            ("I put my spare keys in the blue tin.", false),
            ("Your note about the spare keys says: in the blue tin.", true),
            ("In the blue tin (“Spare keys”).", true),
            ("In the blue tin, see \"spare keys\".", true),
            ("Your note says: in the blue tin.", false),
        ] {
            assert_eq!(is_named(reply, &notes[0]), named, "{reply}");
        }
    }

    #[test]
    fn repeating_a_note_whose_title_is_its_text_does_not_name_it() {
        let text = "The spare keys are in the blue tin on the kitchen shelf.";
        let source = note(1, text, text);
        assert!(!is_named(text, &source));
        assert!(is_named(&format!("Your note says: {text}"), &source));
        let added = attribution(text, &[&source], "en").expect("something to add");
        assert_eq!(added, "I have that from your note “The spare keys are in the…”.");
    }
}
