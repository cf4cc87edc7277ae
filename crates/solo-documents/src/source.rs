//! Source code keeps its text; its definitions become headings, by tree-sitter and a grammar for each language.
//!
//! A definition begins with the comments and attributes before it. Functions are not divided further: what stands in one is
//! read with it. An outline has no ends, so where something else follows a definition, a heading without a title ends it; what
//! has no words there, such as closing brackets, stays with what it closes.
//!
//! Grammars get over mistakes, so a broken program has an outline as far as it makes sense. They are C, and some programs make
//! them slow or large: a program that is too long, takes too long or has too many definitions is read without an outline, and
//! that is said.

mod language;

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree};

use super::{Extracted, Heading, MAX_TITLE_CHARS, Outline, one_line};
pub use language::Language;
use language::Role;

/// Longest program that is parsed, in bytes. A tree takes 25 bytes for each, and 650 where somebody wants it to be large.
const MAX_BYTES: usize = 1 << 20;
/// Longest that its definitions are looked for. Most take milliseconds; unclosed raw strings of Rust take minutes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most definitions of a program.
const MAX_DEFINITIONS: usize = 10_000;
/// Deepest definition that is a heading; it is not divided further.
const MAX_LEVEL: u8 = 6;
/// What follows a definition on its last line belongs to it, up to so many bytes: `} // namespace`.
const REST_OF_LINE: usize = 100;

/// Why a program has no outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    TooLong,
    TooSlow,
    TooMany,
    NoGrammar,
}

impl Without {
    fn warning(self) -> String {
        let reason = match self {
            Self::TooLong => format!("it has more than {MAX_BYTES} bytes"),
            Self::TooSlow => format!("finding them takes more than {} seconds", PATIENCE.as_secs()),
            Self::TooMany => format!("it has more than {MAX_DEFINITIONS}"),
            Self::NoGrammar => "its grammar does not fit".into(),
        };
        format!("the source text is not divided by its definitions: {reason}")
    }
}

/// Reads a program; without an outline where its language is not known.
pub(super) fn extract(text: String, language: Option<Language>) -> Extracted {
    let outline = language.map_or_else(|| Ok(Vec::new()), |language| outline(&text, language, PATIENCE));
    let (headings, warnings) = match outline {
        Ok(headings) => (headings, Vec::new()),
        Err(without) => (Vec::new(), vec![without.warning()]),
    };
    Extracted {
        text,
        outline: Outline {
            headings,
            pages: Vec::new(),
        },
        title: None,
        warnings,
    }
}

fn outline(text: &str, language: Language, patience: Duration) -> Result<Vec<Heading>, Without> {
    let deadline = Instant::now() + patience;
    let tree = parse(text, language, deadline)?;
    let definitions = definitions(text, language, &tree, deadline)?;
    Ok(headings(text, definitions))
}

fn parse(text: &str, language: Language, deadline: Instant) -> Result<Tree, Without> {
    if text.len() > MAX_BYTES {
        return Err(Without::TooLong);
    }
    let mut parser = Parser::new();
    parser
        .set_language(&language.grammar())
        .map_err(|_| Without::NoGrammar)?;
    let mut progress = |_: &ParseState| {
        if Instant::now() >= deadline {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let mut rest = |position: usize, _| text.as_bytes().get(position..).unwrap_or_default();
    let options = ParseOptions::new().progress_callback(&mut progress);
    parser
        .parse_with_options(&mut rest, None, Some(options))
        .ok_or(Without::TooSlow)
}

/// A definition, as it is found.
struct Definition {
    /// Its bytes, with what stands before it and belongs to it.
    span: Range<usize>,
    /// Where what is no more than its heading ends.
    head: usize,
    /// Definitions around it, and itself.
    level: u8,
    title: String,
}

/// What may be the beginning of a definition: the comments, attributes and wrappers before it.
struct Lead {
    span: Range<usize>,
    /// It says something, and so is more than a heading.
    commented: bool,
    /// Depth of what it may begin, for a wrapper; what else it begins comes after it.
    inside: Option<usize>,
}

impl Lead {
    fn leads_to(&self, text: &str, start: usize, depth: usize) -> bool {
        match self.inside {
            Some(inside) => depth == inside && start < self.span.end,
            None => {
                let between = text.get(self.span.end..start).unwrap_or("?");
                between.trim().is_empty() && between.matches('\n').count() <= 1
            }
        }
    }
}

/// The definitions of a program, in order, outer ones first. Walks without recursion: a tree may be as deep as a program is
/// long.
fn definitions(text: &str, language: Language, tree: &Tree, deadline: Instant) -> Result<Vec<Definition>, Without> {
    let mut found: Vec<Definition> = Vec::new();
    // Ends of the definitions around the node.
    let mut around: Vec<usize> = Vec::new();
    let mut lead: Option<Lead> = None;
    let mut cursor = tree.walk();
    let mut depth = 0;
    loop {
        if Instant::now() >= deadline {
            return Err(Without::TooSlow);
        }
        let node = cursor.node();
        let bytes = node.byte_range();
        let role = language.role(node);
        let before = match role {
            Role::Other => None,
            _ => {
                let before = lead.take_if(|lead| lead.leads_to(text, bytes.start, depth));
                // What stands too far from this node stands further from those after it.
                lead = lead.filter(|lead| lead.inside.is_some());
                before
            }
        };
        let start = before.as_ref().map_or(bytes.start, |before| before.span.start);
        let commented = before.as_ref().is_some_and(|before| before.commented);
        let enter = match role {
            Role::Other => true,
            Role::Wrapper => {
                lead = Some(Lead {
                    span: start..bytes.end,
                    commented,
                    inside: Some(depth + 1),
                });
                true
            }
            Role::Comment | Role::Attribute => {
                // A comment at the end of a line is about that line.
                if before.is_some() || begins_line(text, start) {
                    let wrapper = before.filter(|before| before.inside.is_some());
                    lead = Some(Lead {
                        span: start..wrapper.as_ref().map_or(bytes.end, |wrapper| wrapper.span.end),
                        commented: commented || matches!(role, Role::Comment),
                        inside: wrapper.and_then(|wrapper| wrapper.inside),
                    });
                }
                false
            }
            Role::Outer(caption) | Role::Inner(caption) => {
                while around.pop_if(|end| *end <= bytes.start).is_some() {}
                let title = caption.of(node, text);
                let level = u8::try_from(around.len() + 1).unwrap_or(MAX_LEVEL);
                match title.and_then(|title| definition(text, node, start, commented, level, &title)) {
                    None => true,
                    Some(_) if found.len() == MAX_DEFINITIONS => return Err(Without::TooMany),
                    Some(definition) => {
                        found.push(definition);
                        // A wrapper around it began before it: what follows in there does not begin with that.
                        lead = None;
                        around.push(bytes.end);
                        matches!(role, Role::Outer(_)) && level < MAX_LEVEL
                    }
                }
            }
        };
        if enter && cursor.goto_first_child() {
            depth += 1;
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return Ok(found);
            }
            depth -= 1;
        }
    }
}

/// A definition that begins at `start`; `None`: its bytes are no text.
fn definition(text: &str, node: Node, start: usize, commented: bool, level: u8, title: &str) -> Option<Definition> {
    let start = line_start(text, start)?;
    text.get(start..node.end_byte())?;
    // A comment is more than a heading.
    let head = match node.child_by_field_name("body").filter(|_| !commented) {
        Some(body) => head_end(text, body.start_byte())?.min(node.end_byte()),
        None => start,
    };
    Some(Definition {
        span: start..node.end_byte(),
        head,
        level,
        title: one_line(title, MAX_TITLE_CHARS),
    })
}

fn begins_line(text: &str, position: usize) -> bool {
    line_start(text, position).is_some_and(|start| text[..start].is_empty() || text[..start].ends_with('\n'))
}

/// The beginning of a line of which nothing but blanks stands before `position`; else `position`.
fn line_start(text: &str, position: usize) -> Option<usize> {
    let before = text.get(..position)?;
    let start = before.trim_end_matches([' ', '\t']).len();
    let is_start = start == 0 || before[..start].ends_with('\n');
    Some(if is_start { start } else { position })
}

/// Where a heading ends whose body begins at `body`: after the bracket that opens it, and after the line where that ends it.
/// `None`: no text begins there.
fn head_end(text: &str, body: usize) -> Option<usize> {
    let rest = text.get(body..)?;
    let inside = rest.strip_prefix('{').unwrap_or(rest);
    let next = inside.trim_start_matches([' ', '\t', '\r']);
    let inside = next.strip_prefix('\n').unwrap_or(inside);
    Some(text.len() - inside.len())
}

/// Definitions as headings, and where they end.
fn headings(text: &str, definitions: Vec<Definition>) -> Vec<Heading> {
    let mut headings: Vec<Heading> = Vec::with_capacity(definitions.len());
    // Definitions that have not ended.
    let mut open: Vec<(u8, usize)> = Vec::new();
    for definition in definitions {
        let Definition {
            span,
            head,
            level,
            title,
        } = definition;
        if let Some(above) = headings.last_mut() {
            above.span.end = above.span.end.min(span.start);
        }
        end(text, &mut open, level, span.start, &mut headings);
        headings.push(Heading {
            span: span.start..head,
            level,
            title,
        });
        open.push((level, span.end));
    }
    end(text, &mut open, 1, text.len(), &mut headings);
    headings
}

/// Ends what is open of `level` and deeper, where something follows it before `next`.
fn end(text: &str, open: &mut Vec<(u8, usize)>, level: u8, next: usize, headings: &mut Vec<Heading>) {
    while let Some((level, end)) = open.pop_if(|(open, _)| *open >= level) {
        let outer = open.last().map_or(next, |(_, end)| *end);
        let rest = text.get(end..outer.min(next)).unwrap_or_default();
        let following = following(rest);
        if following < rest.len() {
            headings.push(Heading {
                span: end + following..end + following,
                level,
                title: String::new(),
            });
        }
    }
}

/// Where in the text after a definition something begins that does not belong to it.
fn following(rest: &str) -> usize {
    let line = rest.find('\n').map_or(rest.len(), |line| line + 1);
    let mut following = if line > REST_OF_LINE { 0 } else { line };
    for line in rest[following..].split_inclusive('\n') {
        let is_closing = line.trim_start().starts_with("#endif") || !line.contains(char::is_alphanumeric);
        if !is_closing {
            return following;
        }
        following += line.len();
    }
    following
}

#[cfg(test)]
mod tests;
