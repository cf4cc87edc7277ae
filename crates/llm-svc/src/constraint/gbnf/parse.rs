//! GBNF as text to rules.

use super::GbnfError;

/// Groups may be this deep.
const MAX_DEPTH: usize = 64;
/// Something may be repeated this often.
const MAX_REPEAT: u32 = 100_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) line: usize,
    /// Alternatives of sequences.
    pub(super) body: Vec<Vec<Element>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Element {
    Text(String),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Name(String),
    Group(Vec<Vec<Element>>),
    /// At least and at most so often; `None`: without end.
    Repeat(Box<Element>, u32, Option<u32>),
}

/// All rules of a grammar; each name once.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>, GbnfError> {
    let mut parser = Parser { rest: text, line: 1 };
    let mut rules: Vec<Rule> = Vec::new();
    let mut names = std::collections::HashSet::new();
    parser.blanks(true);
    while !parser.rest.is_empty() {
        let line = parser.line;
        let name = parser
            .name()
            .ok_or_else(|| parser.wrong("a rule is wanted: `name ::= …`"))?;
        parser.blanks(false);
        if !parser.take("::=") {
            return Err(parser.wrong("`::=` is wanted after a rule's name"));
        }
        parser.blanks(true);
        let body = parser.alternatives(0)?;
        if !names.insert(name.clone()) {
            return Err(GbnfError::Syntax {
                line,
                problem: format!("there is a rule `{name}` already"),
            });
        }
        rules.push(Rule { name, line, body });
        parser.blanks(true);
    }
    Ok(rules)
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
}

impl Parser<'_> {
    fn wrong(&self, problem: impl Into<String>) -> GbnfError {
        GbnfError::Syntax {
            line: self.line,
            problem: problem.into(),
        }
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        self.line += usize::from(character == '\n');
        Some(character)
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Skips blanks and comments; and lines' ends where they say nothing.
    fn blanks(&mut self, lines: bool) {
        while let Some(character) = self.rest.chars().next() {
            match character {
                ' ' | '\t' => {}
                '\r' | '\n' if lines => {}
                '#' => {
                    let end = self.rest.find(['\r', '\n']).unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                    continue;
                }
                _ => return,
            }
            self.next();
        }
    }

    fn name(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// True when what follows is the next rule: a name and `::=`.
    fn at_rule(&self) -> bool {
        let mut ahead = Parser {
            rest: self.rest,
            line: 0,
        };
        ahead.name().is_some() && {
            ahead.blanks(false);
            ahead.rest.starts_with("::=")
        }
    }

    fn alternatives(&mut self, depth: usize) -> Result<Vec<Vec<Element>>, GbnfError> {
        if depth > MAX_DEPTH {
            return Err(self.wrong(format!("groups are more than {MAX_DEPTH} deep")));
        }
        let mut alternatives = vec![Vec::new()];
        loop {
            // Within a group, and after `|`, a rule goes on over lines; otherwise a line that begins a rule ends it.
            self.blanks(true);
            if depth == 0 && self.at_rule() {
                return Ok(alternatives);
            }
            let element = match self.rest.chars().next() {
                None => return Ok(alternatives),
                Some(')') if depth > 0 => return Ok(alternatives),
                Some('|') => {
                    self.next();
                    alternatives.push(Vec::new());
                    continue;
                }
                Some('"') => Element::Text(self.text()?),
                Some('[') => self.class()?,
                Some('.') => {
                    self.next();
                    any()
                }
                Some('(') => {
                    self.next();
                    let body = self.alternatives(depth + 1)?;
                    if !self.take(")") {
                        return Err(self.wrong("a group is not closed: `)` is wanted"));
                    }
                    Element::Group(body)
                }
                Some(character) => match self.name() {
                    Some(name) => Element::Name(name),
                    None => return Err(self.wrong(format!("{character:?} is not understood here"))),
                },
            };
            let element = self.repeated(element)?;
            if let Some(sequence) = alternatives.last_mut() {
                sequence.push(element);
            }
        }
    }

    fn repeated(&mut self, element: Element) -> Result<Element, GbnfError> {
        self.blanks(false);
        let (least, most) = match self.rest.chars().next() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => return self.counted(element),
            _ => return Ok(element),
        };
        self.next();
        Ok(Element::Repeat(Box::new(element), least, most))
    }

    /// `{m}`, `{m,}`, `{m,n}` or `{,n}`.
    fn counted(&mut self, element: Element) -> Result<Element, GbnfError> {
        self.next();
        let end = self.rest.find('}').ok_or_else(|| self.wrong("`{` is not closed"))?;
        let inner = &self.rest[..end];
        let count = |text: &str| match text.trim() {
            "" => Ok(None),
            digits => match digits.parse::<u32>() {
                Ok(count) if count <= MAX_REPEAT => Ok(Some(count)),
                _ => Err(self.wrong(format!("`{{{inner}}}` does not say how often, up to {MAX_REPEAT}"))),
            },
        };
        let (least, most) = match inner.split_once(',') {
            Some((least, most)) => (count(least)?.unwrap_or(0), count(most)?),
            None => {
                let exactly = count(inner)?.ok_or_else(|| self.wrong("`{}` does not say how often"))?;
                (exactly, Some(exactly))
            }
        };
        if most.is_some_and(|most| most < least) {
            return Err(self.wrong(format!("`{{{inner}}}` is the wrong way round")));
        }
        self.rest = &self.rest[end + 1..];
        Ok(Element::Repeat(Box::new(element), least, most))
    }

    fn text(&mut self) -> Result<String, GbnfError> {
        self.next();
        let mut text = String::new();
        loop {
            match self.rest.chars().next() {
                None | Some('\n' | '\r') => return Err(self.wrong("text is not closed: `\"` is wanted")),
                Some('"') => {
                    self.next();
                    return Ok(text);
                }
                Some(_) => text.push(self.character()?),
            }
        }
    }

    fn class(&mut self) -> Result<Element, GbnfError> {
        self.next();
        let negated = self.take("^");
        let mut ranges = Vec::new();
        loop {
            match self.rest.chars().next() {
                None | Some('\n' | '\r') => return Err(self.wrong("a class is not closed: `]` is wanted")),
                Some(']') => {
                    self.next();
                    break;
                }
                Some(_) => {}
            }
            let low = self.character()?;
            let ranged = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let high = if ranged {
                self.next();
                self.character()?
            } else {
                low
            };
            if high < low {
                return Err(self.wrong(format!("the range {low:?} to {high:?} is the wrong way round")));
            }
            ranges.push((low, high));
        }
        match (ranges.is_empty(), negated) {
            (true, true) => Ok(any()),
            (true, false) => Err(self.wrong("a class of no characters matches nothing")),
            _ => Ok(Element::Class { negated, ranges }),
        }
    }

    /// A character of a text or class, which may be escaped.
    fn character(&mut self) -> Result<char, GbnfError> {
        let digits = match self.next() {
            Some('\\') => match self.next() {
                Some('n') => return Ok('\n'),
                Some('r') => return Ok('\r'),
                Some('t') => return Ok('\t'),
                Some(character @ ('\\' | '"' | '[' | ']' | '-' | '^' | '/' | '.' | '\'' | '(' | ')' | '{' | '}')) => {
                    return Ok(character);
                }
                Some('x') => 2,
                Some('u') => 4,
                Some('U') => 8,
                Some(character) => return Err(self.wrong(format!("`\\{character}` is no escape"))),
                None => return Err(self.wrong("nothing follows `\\`")),
            },
            Some(character) => return Ok(character),
            None => return Err(self.wrong("more is wanted")),
        };
        let code = self
            .rest
            .get(..digits)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let character = code.and_then(char::from_u32);
        let character =
            character.ok_or_else(|| self.wrong(format!("{digits} hexadecimal digits of a character are wanted")))?;
        self.rest = &self.rest[digits..];
        Ok(character)
    }
}

fn any() -> Element {
    Element::Class {
        negated: false,
        ranges: vec![('\0', char::MAX)],
    }
}
