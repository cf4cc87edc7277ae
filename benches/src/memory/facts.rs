//! What Solo learns of what it is told: dialogues with the facts that should be known afterwards, held against those that are.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use serde::Deserialize;
use solo_tests::Stack;

/// Waits until everything that was said is read, and is answered without the model.
const CAUGHT_UP: &str = "What do you know about me?";

/// A dialogue of tests/fixtures/facts.
#[derive(Debug, Deserialize)]
struct Dialogue {
    /// What the person says, turn after turn.
    said: Vec<String>,
    /// For each fact that is to be known, the words that must stand in it.
    facts: Vec<Vec<String>>,
}

/// What a model learnt.
#[derive(Debug, Default)]
pub struct Learnt {
    /// Model that wrote the statements out.
    pub model: String,
    dialogues: usize,
    /// Facts that were to be known.
    expected: usize,
    /// Of those, facts that are.
    known: usize,
    /// Facts that are known.
    found: usize,
    /// Of those, facts that were to be.
    right: usize,
    /// Facts that say what another says.
    doubled: usize,
    seconds: f64,
    wrong: Vec<String>,
}

/// Tells a Solo of its own every dialogue, with a model.
///
/// # Panics
/// When a service does not answer.
pub fn facts(model: &str) -> Learnt {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/facts/dialogues.jsonl");
    let text = std::fs::read_to_string(&file).expect("the dialogues are there");
    let stack = Stack::up_with(&format!("[llm]\nmodel = \"{model}\"\n"));
    let mut learnt = Learnt {
        model: model.to_owned(),
        ..Learnt::default()
    };
    let started = Instant::now();
    for line in text.lines() {
        let dialogue: Dialogue = serde_json::from_str(line).expect("a dialogue");
        for said in &dialogue.said {
            stack.json(&["ask", said, "--json"]);
        }
        stack.json(&["ask", CAUGHT_UP, "--json"]);
        let listed = stack.json(&["forget", "--list", "--json"]);
        let facts = listed.as_array().expect("a list").iter();
        let facts: Vec<String> = facts
            .map(|fact| fact["text"].as_str().expect("a text").to_lowercase())
            .collect();
        learnt.count(&dialogue, &facts);
        stack.solo(&["forget", "--all", "--yes"]);
    }
    learnt.seconds = started.elapsed().as_secs_f64();
    learnt
}

impl Learnt {
    fn count(&mut self, dialogue: &Dialogue, facts: &[String]) {
        let says = |fact: &str, words: &[String]| words.iter().all(|word| fact.contains(word.as_str()));
        self.dialogues += 1;
        self.expected += dialogue.facts.len();
        self.found += facts.len();
        let mut right = BTreeSet::new();
        for wanted in &dialogue.facts {
            let saying: Vec<usize> = (0..facts.len()).filter(|index| says(&facts[*index], wanted)).collect();
            if saying.is_empty() {
                self.wrong
                    .push(format!("not learnt: {} of {:?}", wanted.join(" "), dialogue.said));
            } else {
                self.known += 1;
                self.doubled += saying.len() - 1;
                if saying.len() > 1 {
                    let facts: Vec<&String> = saying.iter().map(|index| &facts[*index]).collect();
                    let wanted = wanted.join(" ");
                    self.wrong
                        .push(format!("twice: {wanted} in {facts:?} of {:?}", dialogue.said));
                }
            }
            right.extend(saying);
        }
        self.right += right.len();
        for (_, fact) in facts.iter().enumerate().filter(|(index, _)| !right.contains(index)) {
            self.wrong.push(format!("learnt: {fact:?} of {:?}", dialogue.said));
        }
    }
}

/// The table of what models learnt, and what each got wrong.
pub fn table(learnt: &[Learnt]) -> String {
    let mut text = String::from(
        "| model | dialogues | precision | recall | facts told twice | time of all turns, s |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for one in learnt {
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        writeln!(
            text,
            "| {} | {} | {:.1} % ({} of {}) | {:.1} % ({} of {}) | {} | {:.0} |",
            one.model,
            one.dialogues,
            share(one.right, one.found),
            one.right,
            one.found,
            share(one.known, one.expected),
            one.known,
            one.expected,
            one.doubled,
            one.seconds
        )
        .expect("a string");
    }
    for one in learnt {
        writeln!(text, "\nWhat {} got wrong:\n", one.model).expect("a string");
        for wrong in &one.wrong {
            writeln!(text, "- {wrong}").expect("a string");
        }
    }
    text
}
