//! Why a document is not taken in, as its owner is told it. Travels from the child process that reads it.

use serde::{Deserialize, Serialize};

/// Why a document is not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// Nobody here reads this format.
    #[error("{what} cannot be taken in; supported are {supported}", supported = super::media_type::SUPPORTED)]
    Unsupported {
        /// The format, as far as it is known.
        what: String,
    },
    /// Its bytes are no text.
    #[error("{problem}")]
    NotText {
        /// Where, and what to do.
        problem: String,
    },
    /// It names a character set that nobody knows.
    #[error("charset `{charset}` is not understood: convert the text to UTF-8, for instance with iconv")]
    UnknownCharset {
        /// Its name.
        charset: String,
    },
    /// There is nothing in it.
    #[error("the document has no text")]
    Empty,
    /// It wants a password.
    #[error("the {what} is encrypted: remove its password (for a PDF: qpdf --decrypt IN OUT) and put it again")]
    Encrypted {
        /// Kind of document.
        what: String,
    },
    /// Its pages are pictures.
    #[error(
        "the {pages} pages of the PDF have no text layer, they are pictures: make one (ocrmypdf IN OUT) and put it again"
    )]
    Scanned {
        /// How many pages it has.
        pages: usize,
    },
    /// It is not what it says, or damaged.
    #[error("the {what} is broken: {problem}")]
    Broken {
        /// Kind of document.
        what: String,
        /// What its parser said.
        problem: String,
    },
    /// It unpacks to more than is allowed.
    #[error("the document has more than {limit} bytes of text; raise memory.extract.max_text_bytes or split it")]
    TextTooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// Reading it takes more memory than is allowed.
    #[error(
        "reading the document takes more than {limit_mb} MB of memory: it is broken or a bomb; if it is neither, raise memory.extract.memory_mb"
    )]
    TooMuchMemory {
        /// Megabytes allowed.
        limit_mb: u64,
    },
    /// There was no memory left for it where it was read; its reader knows the limit.
    #[error("reading the document takes more memory than there is")]
    OutOfMemory,
    /// Reading it takes longer than is allowed.
    #[error(
        "reading the document takes more than {limit_s} seconds: it is broken or a bomb; if it is neither, raise memory.extract.timeout_s"
    )]
    TooSlow {
        /// Seconds allowed.
        limit_s: u64,
    },
}

impl Refusal {
    /// A document that its parser does not understand.
    pub fn broken(what: &str, problem: impl std::fmt::Display) -> Self {
        // Parsers quote what they choke on.
        let problem = super::one_line(&problem.to_string(), 300);
        Self::Broken {
            what: what.to_owned(),
            problem,
        }
    }

    /// What programs switch on.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } => "UNSUPPORTED_MEDIA_TYPE",
            Self::NotText { .. } => "NOT_TEXT",
            Self::UnknownCharset { .. } => "UNSUPPORTED_CHARSET",
            Self::Empty => "EMPTY_DOCUMENT",
            Self::Encrypted { .. } => "ENCRYPTED_DOCUMENT",
            Self::Scanned { .. } => "NO_TEXT_LAYER",
            Self::Broken { .. } => "BROKEN_DOCUMENT",
            Self::TextTooLong { .. } => "TEXT_TOO_LONG",
            Self::TooMuchMemory { .. } | Self::OutOfMemory | Self::TooSlow { .. } => "DOCUMENT_TOO_COMPLEX",
        }
    }

    /// The field of a put that is at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } | Self::UnknownCharset { .. } => "header.media_type",
            _ => "data",
        }
    }
}

/// A piece of hostile text that can be shown in a message: escaped, and no longer than 80 characters.
pub fn shorten(text: &str) -> String {
    let mut shown: String = text.escape_debug().take(80).collect();
    if text.escape_debug().nth(80).is_some() {
        shown.push('…');
    }
    shown
}
