//! SSML 1.1 (W3C Recommendation, 7 September 2010), the part of it that these voices can do: `speak`, `p`, `s`, `break`,
//! `emphasis`, `say-as`, `prosody` (rate and volume) and `sub`.
//!
//! A document becomes a list of passages, each spoken in one manner, with silence between some. What is not supported is
//! refused with its name and position; nothing is dropped in silence. `xml:lang` on `speak` is read past, because the voice
//! decides the language. Documents come from strangers: no document type, so no entities of their own; a bound on nodes
//! and on depth; text is bounded by the request. Marks refer to bytes of the document.

mod passage;
mod say_as;
mod values;

use std::time::Duration;

use roxmltree::{Document, Node, ParsingOptions};

pub use passage::Passage;
use passage::PassageWriter;
use values::{emphasis, pause, rate, volume};

/// Elements that are followed.
const ELEMENTS: &str = "speak, p, s, break, emphasis, say-as, prosody and sub";
/// Elements within elements; more is no text for a voice.
const MAX_DEPTH: usize = 32;
/// Elements, runs of text and comments.
const MAX_NODES: u32 = 20_000;
/// Silence after a paragraph, in addition to that after a sentence.
const PARAGRAPH: Duration = Duration::from_millis(300);
/// Where `xml:lang` lives.
const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// Where `xsi:schemaLocation` lives.
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// Where SSML lives; a document may leave it out.
const SSML: &str = "http://www.w3.org/2001/10/synthesis";

/// A part of a document, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Text that is spoken in one manner.
    Passage(Passage),
    /// Silence.
    Break(Duration),
}

/// Why a document was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct SsmlError {
    /// Line, from 1.
    pub line: u32,
    /// Column, in characters, from 1.
    pub column: u32,
    problem: String,
    unsupported: bool,
}

impl SsmlError {
    /// The reason that clients are told.
    pub fn reason(&self) -> &'static str {
        if self.unsupported {
            "SSML_UNSUPPORTED"
        } else {
            "SSML_INVALID"
        }
    }
}

/// Reads a document.
///
/// # Errors
/// When it is not well-formed, has a document type, is too deep or large, or wants what is not supported.
pub fn parse(document: &str) -> Result<Vec<Item>, SsmlError> {
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let parsed = Document::parse_with_options(document, options).map_err(|error| {
        let at = error.pos();
        let problem = match error {
            roxmltree::Error::DtdDetected => "a document type is not accepted".to_owned(),
            roxmltree::Error::NodesLimitReached => format!("it has more than {MAX_NODES} elements and runs of text"),
            other => other.to_string(),
        };
        SsmlError {
            line: at.row,
            column: at.col,
            problem,
            unsupported: false,
        }
    })?;
    let mut reader = Reader {
        document,
        writer: PassageWriter::default(),
    };
    let root = parsed.root_element();
    if root.tag_name().name() != "speak" {
        return Err(refuse(
            &root,
            format!(
                "the document begins with <{}>, <speak> is wanted",
                root.tag_name().name()
            ),
        ));
    }
    if let Some(node) = parsed.root().children().find(|node| node.is_pi()) {
        return Err(unsupported(&node, "a processing instruction is not supported".into()));
    }
    reader.element(&root, Manner::default(), 1)?;
    Ok(reader.writer.finish())
}

/// How text is spoken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::ssml) struct Manner {
    /// Times the request's speed.
    rate: f32,
    /// Times the request's volume.
    gain: f32,
}

impl Default for Manner {
    fn default() -> Self {
        Self { rate: 1.0, gain: 1.0 }
    }
}

struct Reader<'a> {
    document: &'a str,
    writer: PassageWriter,
}

impl Reader<'_> {
    fn element(&mut self, node: &Node<'_, '_>, manner: Manner, depth: usize) -> Result<(), SsmlError> {
        if depth > MAX_DEPTH {
            return Err(refuse(node, format!("elements are nested more than {MAX_DEPTH} deep")));
        }
        let name = node.tag_name();
        if name.namespace().is_some_and(|namespace| namespace != SSML) {
            return Err(unsupported(
                node,
                format!("<{}> is not an element of SSML; supported are {ELEMENTS}", name.name()),
            ));
        }
        match name.name() {
            "speak" if depth == 1 => {
                self.attributes(node, &["version"], true)?;
                if let Some(version) = node
                    .attribute("version")
                    .filter(|version| !["1.0", "1.1"].contains(version))
                {
                    return Err(refuse(
                        node,
                        format!("version is \"{version}\"; \"1.0\" or \"1.1\" is wanted"),
                    ));
                }
                self.children(node, manner, depth)
            }
            "speak" => Err(refuse(node, "<speak> stands inside another element".into())),
            "p" | "s" => {
                self.attributes(node, &[], false)?;
                self.writer.end_sentence();
                self.children(node, manner, depth)?;
                self.writer.end_sentence();
                if name.name() == "p" {
                    self.writer.pause(PARAGRAPH);
                }
                Ok(())
            }
            "break" => {
                self.attributes(node, &["time", "strength"], false)?;
                self.empty(node)?;
                let length = pause(node.attribute("time"), node.attribute("strength"));
                self.writer.pause(length.map_err(|problem| refuse(node, problem))?);
                Ok(())
            }
            "emphasis" => {
                self.attributes(node, &["level"], false)?;
                let (faster, louder) = emphasis(node.attribute("level")).map_err(|problem| refuse(node, problem))?;
                self.children_in(node, manner, (faster, louder), depth)
            }
            "prosody" => {
                self.attributes(node, &["rate", "volume"], false)?;
                let faster = node.attribute("rate").map_or(Ok(1.0), rate);
                let louder = node.attribute("volume").map_or(Ok(1.0), volume);
                let change = (
                    faster.map_err(|problem| refuse(node, problem))?,
                    louder.map_err(|problem| refuse(node, problem))?,
                );
                self.children_in(node, manner, change, depth)
            }
            "say-as" => {
                self.attributes(node, &["interpret-as", "format"], false)?;
                let Some(kind) = node.attribute("interpret-as") else {
                    return Err(refuse(node, "<say-as> needs the attribute \"interpret-as\"".into()));
                };
                let text = self.text_of(node)?;
                let said = say_as::said(kind, node.attribute("format"), &text);
                let said = said.map_err(|problem| SsmlError {
                    unsupported: problem.unsupported,
                    ..refuse(node, problem.text)
                })?;
                self.writer.replaced(&said, node.range(), manner);
                Ok(())
            }
            "sub" => {
                self.attributes(node, &["alias"], false)?;
                let Some(alias) = node.attribute("alias") else {
                    return Err(refuse(node, "<sub> needs the attribute \"alias\"".into()));
                };
                self.text_of(node)?;
                self.writer.replaced(alias, node.range(), manner);
                Ok(())
            }
            other => Err(unsupported(
                node,
                format!("<{other}> is not supported; supported are {ELEMENTS}"),
            )),
        }
    }

    fn children(&mut self, node: &Node<'_, '_>, manner: Manner, depth: usize) -> Result<(), SsmlError> {
        for child in node.children() {
            if child.is_element() {
                self.element(&child, manner, depth + 1)?;
            } else if let (true, Some(text)) = (child.is_text(), child.text()) {
                self.writer.written(self.document, child.range(), text, manner);
            } else if child.is_pi() {
                return Err(unsupported(&child, "a processing instruction is not supported".into()));
            }
        }
        Ok(())
    }

    fn children_in(
        &mut self,
        node: &Node<'_, '_>,
        manner: Manner,
        (faster, louder): (f32, f32),
        depth: usize,
    ) -> Result<(), SsmlError> {
        let changed = Manner {
            rate: manner.rate * faster,
            gain: manner.gain * louder,
        };
        self.children(node, changed, depth)
    }

    /// Refuses attributes that are not these.
    fn attributes(&self, node: &Node<'_, '_>, known: &[&str], root: bool) -> Result<(), SsmlError> {
        for attribute in node.attributes() {
            let name = attribute.name();
            let takes = match attribute.namespace() {
                None => known.contains(&name),
                Some(XML) => root && ["lang", "base"].contains(&name),
                Some(XSI) => root && name == "schemaLocation",
                Some(_) => false,
            };
            if !takes {
                let written = &self.document[attribute.range_qname()];
                let supported = match known {
                    [] => "it has none that is supported".to_owned(),
                    known => format!("supported: {}", known.join(", ")),
                };
                return Err(unsupported(
                    node,
                    format!(
                        "the attribute \"{written}\" of <{}> is not supported; {supported}",
                        node.tag_name().name()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn empty(&self, node: &Node<'_, '_>) -> Result<(), SsmlError> {
        match node.children().find(|child| !child.is_comment()) {
            None => Ok(()),
            Some(_) => Err(refuse(node, format!("<{}> must be empty", node.tag_name().name()))),
        }
    }

    /// The text inside an element that takes no other elements.
    fn text_of(&self, node: &Node<'_, '_>) -> Result<String, SsmlError> {
        let mut text = String::new();
        for child in node.children().filter(|child| !child.is_comment()) {
            match child.text() {
                Some(part) if child.is_text() => text.push_str(part),
                _ => return Err(refuse(&child, format!("<{}> takes text only", node.tag_name().name()))),
            }
        }
        Ok(text)
    }
}

fn refuse(node: &Node<'_, '_>, problem: String) -> SsmlError {
    let at = node.document().text_pos_at(node.range().start);
    SsmlError {
        line: at.row,
        column: at.col,
        problem,
        unsupported: false,
    }
}

fn unsupported(node: &Node<'_, '_>, problem: String) -> SsmlError {
    SsmlError {
        unsupported: true,
        ..refuse(node, problem)
    }
}

#[cfg(test)]
mod tests;
