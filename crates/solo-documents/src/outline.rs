//! Headings of a Markdown text, after CommonMark: ATX and setext, not inside code fences or front matter.
//!
//! Only headings matter here, so this reads lines and builds no tree.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Longest title that is kept, in characters.
const MAX_TITLE_CHARS: usize = 200;

/// How a text is divided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// Its headings, in order.
    pub headings: Vec<Heading>,
    /// Where its pages begin, in bytes, from the first; empty: it has none.
    pub pages: Vec<usize>,
}

impl Outline {
    /// The page that a byte stands on, from 1; 0: there are no pages.
    pub fn page_of(&self, position: usize) -> u32 {
        let page = self.pages.partition_point(|start| *start <= position);
        u32::try_from(page).unwrap_or(u32::MAX)
    }
}

/// A heading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// Bytes of its line or lines, line break included; empty where it stands beside the text, as in a PDF.
    pub span: Range<usize>,
    /// Its level, from 1.
    pub level: u8,
    /// Its text. Empty: it begins nothing, and ends what is above it of its level or deeper.
    pub title: String,
}

/// The headings of a Markdown text, in order.
pub fn markdown(text: &str) -> Vec<Heading> {
    let mut headings = Vec::new();
    let mut fence: Option<&str> = None;
    // The paragraph's line before, for setext headings, which underline it.
    let mut above: Option<Range<usize>> = None;
    let mut position = front_matter_len(text);
    for line in text[position..].split_inclusive('\n') {
        let span = position..position + line.len();
        position = span.end;
        let indent = line.len() - line.trim_start_matches(' ').len();
        let body = line.trim();
        let shallow = indent < 4;
        let underlined = above.take();
        if let Some(open) = fence {
            if shallow && body.starts_with(open) && body.trim_start_matches(&open[..1]).is_empty() {
                fence = None;
            }
        } else if let Some(open) = fence_of(body).filter(|_| shallow) {
            fence = Some(open);
        } else if let Some((level, title)) = atx(body).filter(|_| shallow) {
            headings.push(Heading {
                span,
                level,
                title: bounded(title),
            });
        } else if let (Some(level), Some(title)) = (setext(body).filter(|_| shallow), underlined) {
            headings.push(Heading {
                span: title.start..span.end,
                level,
                title: bounded(text[title].trim()),
            });
        } else if shallow && !body.is_empty() && !body.starts_with(['>', '|', '-', '+', '*']) {
            above = Some(span);
        }
    }
    headings
}

/// Length of YAML front matter at the beginning; 0: there is none.
fn front_matter_len(text: &str) -> usize {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == "---") else {
        return 0;
    };
    let mut length = first.len();
    for line in lines {
        length += line.len();
        if matches!(line.trim_end(), "---" | "...") {
            return length;
        }
    }
    0
}

/// The run of backticks or tildes that opens a code fence.
fn fence_of(body: &str) -> Option<&str> {
    let mark = body.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = body.len() - body.trim_start_matches(mark).len();
    let inline = mark == '`' && body[length..].contains('`');
    (length >= 3 && !inline).then(|| &body[..length])
}

/// Level and title of `## Title ##`.
fn atx(body: &str) -> Option<(u8, &str)> {
    let level = body.len() - body.trim_start_matches('#').len();
    let rest = &body[level..];
    if !(1..=6).contains(&level) || !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let title = rest.trim();
    let closed = title.trim_end_matches('#');
    let title = if closed.is_empty() || closed.ends_with([' ', '\t']) {
        closed.trim_end()
    } else {
        title
    };
    Some((u8::try_from(level).ok()?, title))
}

/// Level of a setext underline.
fn setext(body: &str) -> Option<u8> {
    let all = |mark: char| !body.is_empty() && body.chars().all(|c| c == mark);
    if all('=') {
        Some(1)
    } else if all('-') {
        Some(2)
    } else {
        None
    }
}

fn bounded(title: &str) -> String {
    title.chars().take(MAX_TITLE_CHARS).collect()
}

#[cfg(test)]
mod tests;
