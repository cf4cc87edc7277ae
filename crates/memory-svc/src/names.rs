//! Names that come from outside, checked once and typed from then on.
//!
//! The store builds its filters from these types only, so that no raw text of a request reaches it as anything but a
//! value. Each type's alphabet is stated and enforced here.

use std::fmt;

pub use solo_documents::{NOTE_SCHEME, shorten};
use uuid::Uuid;

use crate::error::Error;

/// Whose data it is: 1 to 128 of letters, digits, `-`, `_`, `.`, `@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(String);

impl Principal {
    /// Checks a principal.
    pub fn new(name: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if name.is_empty() || name.len() > 128 || !name.chars().all(allowed) {
            let message = "a principal is 1 to 128 letters, digits, `-`, `_`, `.` or `@`".to_owned();
            return Err(Error::Invalid {
                field: "solo-principal",
                reason: "BAD_PRINCIPAL",
                message,
            });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of a collection: 1 to 64 lower-case letters, digits, `-`, `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionName(String);

/// The collection that needs no creating.
pub const DEFAULT_COLLECTION: &str = "default";

impl CollectionName {
    /// Checks a name.
    pub fn new(name: &str, field: &'static str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
            let message = format!(
                "`{}` names no collection: 1 to 64 lower-case letters, digits, `-` or `_` are wanted",
                shorten(name)
            );
            return Err(Error::Invalid {
                field,
                reason: "BAD_COLLECTION_NAME",
                message,
            });
        }
        Ok(Self(name.to_owned()))
    }

    /// Checks a name; an empty one is [`DEFAULT_COLLECTION`].
    pub fn or_default(name: &str, field: &'static str) -> Result<Self, Error> {
        if name.is_empty() {
            Ok(Self(DEFAULT_COLLECTION.to_owned()))
        } else {
            Self::new(name, field)
        }
    }

    /// True for the collection that needs no creating.
    pub fn is_default(&self) -> bool {
        self.0 == DEFAULT_COLLECTION
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Longest URI, in bytes.
pub const MAX_URI_BYTES: usize = 2048;

/// Where a document comes from: 1 to 2,048 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DocumentUri(String);

impl DocumentUri {
    /// Checks a URI; an empty one becomes a new `note:`.
    pub fn or_note(uri: &str) -> Result<Self, Error> {
        if uri.is_empty() {
            return Ok(Self(format!("{NOTE_SCHEME}{}", Uuid::now_v7())));
        }
        Self::new(uri, "header.uri")
    }

    /// Checks a URI.
    pub fn new(uri: &str, field: &'static str) -> Result<Self, Error> {
        if uri.is_empty() {
            return Err(Error::invalid(field, "BAD_URI", "the URI is empty"));
        }
        check_uri(uri, field)?;
        Ok(Self(uri.to_owned()))
    }

    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a URI, or the beginning of one.
pub fn check_uri(uri: &str, field: &'static str) -> Result<(), Error> {
    let problem = if uri.len() > MAX_URI_BYTES {
        format!("the URI has {} bytes; {MAX_URI_BYTES} are allowed", uri.len())
    } else if uri.chars().any(char::is_control) {
        format!("the URI `{}` has control characters (a line break?)", shorten(uri))
    } else {
        return Ok(());
    };
    Err(Error::Invalid {
        field,
        reason: "BAD_URI",
        message: problem,
    })
}

/// Reads an identifier.
pub fn parse_id(text: &str, field: &'static str) -> Result<Uuid, Error> {
    Uuid::try_parse(text).map_err(|_| Error::Invalid {
        field,
        reason: "BAD_ID",
        message: format!("`{}` is no identifier: a UUID is wanted", shorten(text)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for name in ["", "a b", "x' OR '1'='1", "a\";--", "ünï", "a\0", "A", &"x".repeat(65)] {
            assert!(CollectionName::new(name, "name").is_err(), "{name:?}");
        }
        for name in ["", "x' OR principal = 'local", "a\nb", "`x`", &"x".repeat(129)] {
            assert!(Principal::new(name).is_err(), "{name:?}");
        }
        assert!(Principal::new("anna.k-2@example.org").is_ok());
        assert!(CollectionName::or_default("", "name").unwrap().is_default());
    }

    #[test]
    fn an_identifier_is_a_uuid_and_nothing_else() {
        assert!(parse_id("x' OR 1=1", "id").is_err());
        let id = Uuid::now_v7();
        assert_eq!(parse_id(&id.to_string(), "id").unwrap(), id);
    }

    #[test]
    fn uris_have_no_control_characters() {
        assert!(DocumentUri::or_note("file:///a\nb").is_err());
        assert!(DocumentUri::or_note(&"x".repeat(MAX_URI_BYTES + 1)).is_err());
        assert!(DocumentUri::or_note("").unwrap().as_str().starts_with(NOTE_SCHEME));
        assert_eq!(
            DocumentUri::or_note("file:///o'hara.md").unwrap().as_str(),
            "file:///o'hara.md"
        );
    }
}
