//! GBNF, llama.cpp's grammars, to llguidance's Lark.
//!
//! GBNF has one kind of rule; Lark has rules, parsed, and terminals, matched by a lexer as long as they can. A GBNF rule
//! from which no recursion is reached is regular and becomes a terminal; neighbours that are terminals are joined into
//! one. A grammar without recursion is then one terminal and means exactly what it says. In one with recursion a terminal
//! takes as much as it matches before the next rule has its turn.

mod parse;

use std::collections::HashMap;
use std::fmt::Write as _;

use parse::{Element, Rule};

/// Why a GBNF grammar cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum GbnfError {
    /// It is written wrongly.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A rule is used and not there.
    #[error("line {line}: there is no rule `{name}`")]
    Unknown {
        /// Where it is used.
        line: usize,
        /// Its name.
        name: String,
    },
    /// The first rule is missing.
    #[error("there is no rule `root`")]
    NoRoot,
}

/// The grammar in Lark.
pub(super) fn to_lark(text: &str) -> Result<String, GbnfError> {
    let rules = parse::rules(text)?;
    let names: HashMap<&str, usize> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| (rule.name.as_str(), index))
        .collect();
    let root = *names.get("root").ok_or(GbnfError::NoRoot)?;
    for rule in &rules {
        check(&rule.body, rule, &names)?;
    }
    let mut writer = Writer {
        regular: regular(&rules, &names),
        names: &names,
        lark: String::new(),
    };
    let start = writer.name(root);
    let _ = writeln!(writer.lark, "start: {start}");
    for (index, rule) in rules.iter().enumerate() {
        let name = writer.name(index);
        let body = writer.alternatives(&rule.body, writer.regular[index]);
        let _ = writeln!(writer.lark, "{name}: {body}");
    }
    Ok(writer.lark)
}

fn check(body: &[Vec<Element>], rule: &Rule, names: &HashMap<&str, usize>) -> Result<(), GbnfError> {
    body.iter().flatten().try_for_each(|element| match element {
        Element::Name(name) if !names.contains_key(name.as_str()) => Err(GbnfError::Unknown {
            line: rule.line,
            name: name.clone(),
        }),
        Element::Group(body) => check(body, rule, names),
        Element::Repeat(inner, ..) => check(&[vec![(**inner).clone()]], rule, names),
        _ => Ok(()),
    })
}

/// Which rules reach no recursion: all that a rule uses must be regular before it is, and a circle never gets there.
fn regular(rules: &[Rule], names: &HashMap<&str, usize>) -> Vec<bool> {
    let mut used_by: Vec<Vec<usize>> = vec![Vec::new(); rules.len()];
    let mut waits: Vec<usize> = vec![0; rules.len()];
    for (index, rule) in rules.iter().enumerate() {
        let mut uses = Vec::new();
        references(&rule.body, names, &mut uses);
        uses.sort_unstable();
        uses.dedup();
        waits[index] = uses.len();
        for used in uses {
            used_by[used].push(index);
        }
    }
    let mut regular = vec![false; rules.len()];
    let mut ready: Vec<usize> = (0..rules.len()).filter(|&index| waits[index] == 0).collect();
    while let Some(index) = ready.pop() {
        regular[index] = true;
        for &user in &used_by[index] {
            waits[user] -= 1;
            if waits[user] == 0 {
                ready.push(user);
            }
        }
    }
    regular
}

fn references(body: &[Vec<Element>], names: &HashMap<&str, usize>, into: &mut Vec<usize>) {
    for element in body.iter().flatten() {
        match element {
            Element::Name(name) => into.extend(names.get(name.as_str())),
            Element::Group(body) => references(body, names, into),
            Element::Repeat(inner, ..) => references(&[vec![(**inner).clone()]], names, into),
            Element::Text(_) | Element::Class { .. } => {}
        }
    }
}

struct Writer<'a> {
    regular: Vec<bool>,
    names: &'a HashMap<&'a str, usize>,
    lark: String,
}

impl Writer<'_> {
    /// Terminals have upper-case names.
    fn name(&self, index: usize) -> String {
        format!("{}{index}", if self.regular[index] { "T" } else { "n" })
    }

    fn is_regular(&self, element: &Element) -> bool {
        match element {
            Element::Text(_) | Element::Class { .. } => true,
            Element::Name(name) => self.names.get(name.as_str()).is_some_and(|&index| self.regular[index]),
            Element::Group(body) => body.iter().flatten().all(|element| self.is_regular(element)),
            Element::Repeat(inner, ..) => self.is_regular(inner),
        }
    }

    fn alternatives(&mut self, body: &[Vec<Element>], terminal: bool) -> String {
        let alternatives: Vec<String> = body.iter().map(|sequence| self.sequence(sequence, terminal)).collect();
        alternatives.join(" | ")
    }

    fn sequence(&mut self, sequence: &[Element], terminal: bool) -> String {
        if sequence.is_empty() {
            return "\"\"".to_owned();
        }
        let mut parts = Vec::new();
        let runs: Vec<&[Element]> = sequence
            .chunk_by(|a, b| self.is_regular(a) == self.is_regular(b))
            .collect();
        for run in runs {
            let joins = !terminal && run.len() > 1 && self.is_regular(&run[0]);
            let texts: Vec<String> = run
                .iter()
                .map(|element| self.element(element, terminal || joins))
                .collect();
            if joins {
                let name = format!("J{}", self.lark.len());
                let _ = writeln!(self.lark, "{name}: {}", texts.join(" "));
                parts.push(name);
            } else {
                parts.extend(texts);
            }
        }
        parts.join(" ")
    }

    fn element(&mut self, element: &Element, terminal: bool) -> String {
        match element {
            Element::Text(text) => quoted(text),
            Element::Class { negated, ranges } => class(*negated, ranges),
            Element::Name(name) => {
                let index = self.names.get(name.as_str()).copied().unwrap_or_default();
                self.name(index)
            }
            Element::Group(body) => format!("({})", self.alternatives(body, terminal)),
            Element::Repeat(inner, least, most) => {
                let inner = self.element(inner, terminal);
                match (least, most) {
                    (0, Some(1)) => format!("({inner})?"),
                    (0, None) => format!("({inner})*"),
                    (1, None) => format!("({inner})+"),
                    (least, None) => format!("({inner}){{{least},}}"),
                    (least, Some(most)) => format!("({inner}){{{least},{most}}}"),
                }
            }
        }
    }
}

/// A JSON string, which is what Lark takes here.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7F}', "\\u007F")
}

fn class(negated: bool, ranges: &[(char, char)]) -> String {
    let mut class = String::from(if negated { "/[^" } else { "/[" });
    for &(low, high) in ranges {
        let _ = write!(class, "\\x{{{:X}}}-\\x{{{:X}}}", u32::from(low), u32::from(high));
    }
    class.push_str("]/");
    class
}
