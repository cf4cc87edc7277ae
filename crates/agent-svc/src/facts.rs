//! Facts: what a person tells about themself, kept for later turns.
//!
//! After a turn, [`learner`] reads what was said, out of the way of whoever waits for an answer: the language model writes the
//! statements out (one small prompt, a strict schema), and rules decide what becomes of each beside what is known — a model of
//! half a billion parameters copies well and judges badly. The rules are here, and pure: what is worth reading
//! ([`worth_reading`]), what of the model's answer the person really said ([`is_grounded`]), and how a statement relates to a
//! fact ([`relation`]).
//!
//! Statements stay in the person's own words, in the first person, as notes do. The rules know English; in other languages
//! statements are kept unless the same words are known.

pub mod learner;

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::citations::content_words;
use crate::prompt::{Message, Speaker};

/// Most statements of one turn.
pub const MOST_STATEMENTS: usize = 4;
/// Longest statement, in characters.
const STATEMENT_CHARS: usize = 200;
/// Words of a sentence that is short enough to be kept as it is.
const VERBATIM_WORDS: usize = 14;
/// Words whose full stop ends no sentence.
const TITLES: &[&str] = &["mr", "mrs", "ms", "dr", "prof", "st"];
/// Share of a statement's words that the person must have said.
const GROUNDED_SHARE: f32 = 0.75;

const INSTRUCTIONS: &str = "You keep notes of what a person tells about themself, their people, their things and their \
plans. Write each fact as a short sentence in the first person that can be understood alone, in their own words. A \
question, a request, thanks or small talk holds no fact: then the list is empty.

Examples:
My sister Anna lives in Lisbon, and she has two cats. What is the weather like there? -> {\"facts\": [\"My sister Anna lives in Lisbon.\", \"My sister Anna has two cats.\"]}
Thanks, that was helpful. -> {\"facts\": []}
I have moved, my new address is 12 Oak Street. -> {\"facts\": [\"My address is 12 Oak Street.\"]}
I can't stand mushrooms. -> {\"facts\": [\"I can't stand mushrooms.\"]}
Can you tell me a joke? -> {\"facts\": []}";

/// Words by which a person speaks of themself.
const OWN_WORDS: &[&str] = &[
    "i", "my", "me", "mine", "we", "our", "us", "i'm", "i've", "i'd", "i'll", "we're", "we've",
];
/// Beginnings of questions and requests: what follows them is no statement.
const ASKING: &[&str] = &[
    "what", "who", "whom", "whose", "where", "when", "why", "how", "which", "is", "are", "am", "was", "were", "do",
    "does", "did", "can", "could", "will", "would", "should", "shall", "may", "have", "has", "tell", "show", "give",
    "set", "play", "please", "stop", "turn", "open", "read", "write", "explain", "find", "search", "thanks", "thank",
];
/// Words of a statement that say nothing about what it is about.
const FILLING: &[&str] = &[
    "name",
    "named",
    "called",
    "call",
    "actually",
    "now",
    "new",
    "really",
    "remember",
    "got",
    "get",
    "going",
    "gonna",
    "one",
    "also",
    "currently",
    "still",
    "has",
    "have",
    "having",
    "own",
    "ca",
    "wo",
];
/// Words with which a person takes something back.
const ENDING: &[&str] = &["no longer", "any more", "anymore", "not any longer", "used to"];
/// What a person has one of at a time: "I live in Porto" ends "I live in Lisbon".
const SINGLE: &[&str] = &["live", "work", "weigh", "study", "stay", "drive"];
/// Verbs that end the subject of "my dentist is …".
const VERBS: &[&str] = &[
    "is", "are", "was", "were", "lives", "live", "works", "work", "has", "have", "will", "starts", "begins", "ends",
    "costs", "comes", "studies", "hangs", "lies", "arrives", "leaves", "turns",
];

/// How a statement relates to a fact that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It says nothing that the fact does not.
    Known,
    /// It says the same and more, or says it otherwise: it takes the fact's place.
    Replaces,
    /// It takes the fact back.
    Ends,
    /// It is about something else.
    Other,
}

/// The sentences of what was said in which the person tells something about themself; `None`: there are none, and nobody need
/// read it.
pub fn worth_reading(said: &str) -> Option<String> {
    let mut telling = Vec::new();
    for sentence in sentences(said) {
        let lower = sentence.trim().to_lowercase();
        let words: Vec<&str> = lower
            .split(|character: char| !(character.is_alphanumeric() || character == '\''))
            .filter(|word| !word.is_empty())
            .collect();
        let asks = lower.ends_with('?') || words.first().is_some_and(|word| ASKING.contains(word));
        let told = words.first().is_some_and(|word| *word == "remember" || *word == "note");
        let own = words.iter().any(|word| OWN_WORDS.contains(word));
        if words.len() > 2 && (told || (own && !asks)) {
            telling.push(sentence.trim());
        }
    }
    (!telling.is_empty()).then(|| telling.join(" "))
}

/// The sentences of a text; "Mrs. Petrova" ends none.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (place, sign) in text.char_indices().filter(|(_, c)| matches!(c, '.' | '!' | '?' | '\n')) {
        let before = text[start..place].to_lowercase();
        let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        if sign == '.' && TITLES.contains(&word) {
            continue;
        }
        let end = place + sign.len_utf8();
        sentences.push(&text[start..end]);
        start = end;
    }
    sentences.push(&text[start..]);
    sentences
}

/// What was said, where it is one short sentence that denies something: small models leave the "not" out.
pub fn verbatim(said: &str) -> Option<String> {
    let one = sentences(said)
        .iter()
        .filter(|sentence| !sentence.trim().is_empty())
        .count()
        == 1;
    let short = said.split_whitespace().count() <= VERBATIM_WORDS;
    (one && short && (is_negated(said) || is_ending(said))).then(|| tidy(said))
}

/// What the model reads to write statements out.
pub fn messages(said: &str) -> Vec<Message> {
    let message = |speaker, text: &str| Message {
        speaker,
        text: text.to_owned(),
    };
    vec![message(Speaker::System, INSTRUCTIONS), message(Speaker::Person, said)]
}

/// What its answer must look like.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "facts": {
                "type": "array",
                "maxItems": MOST_STATEMENTS,
                "items": { "type": "string", "minLength": 3, "maxLength": STATEMENT_CHARS },
            },
        },
        "required": ["facts"],
        "additionalProperties": false,
    })
}

/// The statements of the model's answer that the person really made, each once.
pub fn statements(answer: &Value, said: &str) -> Vec<String> {
    let listed = answer["facts"].as_array().into_iter().flatten();
    let mut statements: Vec<String> = Vec::new();
    for statement in listed.filter_map(Value::as_str) {
        let statement = tidy(statement);
        let fresh = !statements
            .iter()
            .any(|known| relation(&statement, known) == Relation::Known);
        if fresh && is_grounded(&statement, said) {
            statements.push(statement);
        }
    }
    statements
}

/// One sentence, without what only belongs to the moment when it was said.
fn tidy(statement: &str) -> String {
    let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = statement.as_str();
    for opening in [
        "Actually ",
        "Actually, ",
        "Well, ",
        "So, ",
        "By the way, ",
        "Remember that ",
        "Note that ",
    ] {
        if let Some(stripped) = rest.strip_prefix(opening) {
            rest = stripped;
        }
    }
    let rest = rest.trim_end_matches(['.', '!']);
    let rest = rest.strip_suffix(" now").unwrap_or(rest);
    let mut characters = rest.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    let mut tidy = first.unwrap_or_default() + characters.as_str();
    if !tidy.ends_with(['.', '!', '?']) {
        tidy.push('.');
    }
    tidy
}

/// True when the person said most of the words of a statement: small models add what they know, and what the examples say.
pub fn is_grounded(statement: &str, said: &str) -> bool {
    let (told, said) = (content_words(statement), content_words(said));
    if told.is_empty() {
        return false;
    }
    told.intersection(&said).count() as f32 >= GROUNDED_SHARE * told.len() as f32
}

/// How a statement relates to a fact.
pub fn relation(statement: &str, fact: &str) -> Relation {
    let (new, old) = (bearing(statement), bearing(fact));
    if new.is_empty() || old.is_empty() {
        return if statement == fact {
            Relation::Known
        } else {
            Relation::Other
        };
    }
    let (ends, ended) = (is_ending(statement), is_ending(fact));
    if ends && !ended {
        let shared = new.intersection(&old).count();
        return if 2 * shared >= old.len() {
            Relation::Ends
        } else {
            Relation::Other
        };
    }
    if is_negated(statement) == is_negated(fact) {
        if new.is_subset(&old) {
            return Relation::Known;
        }
        if old.is_subset(&new) {
            return Relation::Replaces;
        }
    } else if new == old {
        return Relation::Replaces;
    }
    match (frame(statement), frame(fact)) {
        (Some(new), Some(old)) if new == old => Relation::Replaces,
        _ => Relation::Other,
    }
}

/// The words of a statement that bear its meaning.
fn bearing(text: &str) -> HashSet<String> {
    let mut words = content_words(&text.replace('’', "'").replace("n't", " not"));
    words.retain(|word| !FILLING.contains(&word.as_str()));
    words
}

fn is_ending(text: &str) -> bool {
    let lower = text.to_lowercase();
    ENDING.iter().any(|ending| lower.contains(ending))
}

fn is_negated(text: &str) -> bool {
    let lower = text.to_lowercase().replace('’', "'");
    lower.contains("n't ")
        || lower
            .split_whitespace()
            .any(|word| matches!(word, "not" | "never" | "no"))
}

/// What a statement says something about, where that has one value at a time: "my dentist", "i live".
fn frame(text: &str) -> Option<String> {
    let lower = text.to_lowercase().replace('’', "'");
    let lower = lower.replace("'s ", " is ").replace("i'm ", "i am ");
    let words: Vec<&str> = lower
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty() && !matches!(*word, "now" | "new" | "currently" | "actually"))
        .collect();
    match words.as_slice() {
        ["i", verb, ..] if SINGLE.contains(verb) => Some(format!("i {verb}")),
        ["i", "am", age, ..] if age.chars().all(|c| c.is_ascii_digit()) => Some("i am years".into()),
        ["my" | "our", rest @ ..] => {
            let verb = rest.iter().take(5).position(|word| VERBS.contains(word))?;
            let mut subject = rest[..verb].to_vec();
            // "My sister's name is …" and "My sister is called …" are about one thing.
            subject.retain(|word| !matches!(*word, "name" | "is"));
            let verb = match rest[verb] {
                "is" | "are" | "was" | "were" => "is",
                verb => verb,
            };
            (!subject.is_empty()).then(|| format!("my {} {verb}", subject.join(" ")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
