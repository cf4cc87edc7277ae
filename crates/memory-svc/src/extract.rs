//! Reads documents where they can do no harm.
//!
//! What a document's bytes say is solo-documents'. Whoever wrote a file may have meant harm, so every format that needs a
//! parser is read by a child process with little memory, little time and no files ([`child`]), source code too where its
//! language has an outline; plain text is only decoded, and is read here ([`reader`]).

pub mod child;
pub mod reader;
