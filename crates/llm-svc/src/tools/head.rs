//! The beginning of a call, up to its arguments, and its end after them.

use super::{MAX_NAME, TAGS};

/// What may stand between the parts of a call, as a class of a regular expression.
pub(super) const BLANK: &str = "[ \\t\\r\\n]";
/// How many blanks in a row.
pub(super) const MAX_BLANKS: usize = 16;

/// How a call is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Tagged,
    Fenced,
    Bare,
}

/// Text is not what was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// And will not be, whatever follows.
    No,
    /// It may be, when more has come.
    Partial,
}

/// The beginning of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The tool, by its number.
    pub(super) tool: usize,
    /// Where the arguments begin, in bytes.
    pub(super) length: usize,
    /// False for a call that has no arguments.
    pub(super) arguments: bool,
}

/// Reads the beginning of a call at the beginning of `text`.
pub(super) fn begins(text: &str, written: Written, names: &[String]) -> Result<Head, Miss> {
    let mut cursor = Cursor { text, at: 0 };
    match written {
        Written::Tagged => cursor.literal(TAGS.0)?,
        Written::Fenced => {
            cursor.literal("```")?;
            cursor.optional("json")?;
        }
        Written::Bare => {}
    }
    cursor.blanks()?;
    cursor.literal("{")?;
    cursor.blanks()?;
    cursor.literal("\"name\"")?;
    cursor.blanks()?;
    cursor.literal(":")?;
    cursor.blanks()?;
    let tool = cursor.name(names)?;
    cursor.blanks()?;
    if written == Written::Tagged && cursor.rest().starts_with('}') {
        return Ok(Head {
            tool,
            length: cursor.at,
            arguments: false,
        });
    }
    cursor.literal(",")?;
    cursor.blanks()?;
    match cursor.literal("\"arguments\"") {
        Err(Miss::No) => cursor.literal("\"parameters\"")?,
        other => other?,
    }
    cursor.blanks()?;
    cursor.literal(":")?;
    cursor.blanks()?;
    let length = cursor.at;
    cursor.literal("{")?;
    Ok(Head {
        tool,
        length,
        arguments: true,
    })
}

/// Reads the end of a call behind its arguments: how many bytes it has.
pub(super) fn ends(text: &str, written: Written) -> Result<usize, Miss> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.blanks()?;
    cursor.literal("}")?;
    let object = cursor.at;
    let Some(mark) = mark(written) else {
        return Ok(object);
    };
    // Models forget the mark; the call is one without it.
    match cursor.blanks().and_then(|()| cursor.literal(mark)) {
        Ok(()) => Ok(cursor.at),
        Err(Miss::No) => Ok(object),
        Err(Miss::Partial) => Err(Miss::Partial),
    }
}

/// What stands behind the object of a call.
pub(super) fn mark(written: Written) -> Option<&'static str> {
    match written {
        Written::Tagged => Some(TAGS.1),
        Written::Fenced => Some("```"),
        Written::Bare => None,
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn literal(&mut self, wanted: &str) -> Result<(), Miss> {
        let rest = self.rest();
        if rest.starts_with(wanted) {
            self.at += wanted.len();
            Ok(())
        } else if wanted.starts_with(rest) {
            Err(Miss::Partial)
        } else {
            Err(Miss::No)
        }
    }

    fn optional(&mut self, wanted: &str) -> Result<(), Miss> {
        match self.literal(wanted) {
            Err(Miss::No) => Ok(()),
            other => other,
        }
    }

    fn blanks(&mut self) -> Result<(), Miss> {
        let rest = self.rest();
        let count = rest
            .bytes()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
            .count();
        if count > MAX_BLANKS {
            return Err(Miss::No);
        }
        self.at += count;
        if self.rest().is_empty() {
            Err(Miss::Partial)
        } else {
            Ok(())
        }
    }

    /// A listed name in quotes.
    fn name(&mut self, names: &[String]) -> Result<usize, Miss> {
        self.literal("\"")?;
        let rest = self.rest();
        match rest.bytes().take(MAX_NAME + 1).position(|byte| byte == b'"') {
            Some(end) => {
                let name = rest.get(..end).ok_or(Miss::No)?;
                let tool = names.iter().position(|known| known == name).ok_or(Miss::No)?;
                self.at += end + 1;
                Ok(tool)
            }
            None if names.iter().any(|known| known.starts_with(rest)) => Err(Miss::Partial),
            None => Err(Miss::No),
        }
    }
}
