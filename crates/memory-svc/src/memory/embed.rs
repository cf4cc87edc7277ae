//! What of a piece is embedded, and documents embedded again by another engine than the one that their vectors are of.

use super::Memory;
use super::exchange::joined;
use crate::chunk::HEADING_SEPARATOR;
use crate::document::DocumentDraft;
use crate::embedding::{Embeddings, TokenCounter};
use crate::error::Error;

impl Memory {
    /// Makes the vectors of documents whose own are another model's.
    pub(super) async fn embed_again(&self, embeddings: &Embeddings, drafts: &mut [DocumentDraft]) -> Result<(), Error> {
        let room = self.config().embedding.max_tokens.saturating_sub(2);
        let counter = embeddings.counter().clone();
        let chunks = drafts.iter().flat_map(|draft| &draft.chunks);
        let pieces: Vec<(String, String)> = chunks
            .map(|chunk| (chunk.heading.clone(), chunk.text.clone()))
            .collect();
        let texts = move || {
            let text = |(path, text): &(String, String)| {
                let headings: Vec<&str> = path
                    .split(HEADING_SEPARATOR)
                    .filter(|heading| !heading.is_empty())
                    .collect();
                embedding_text(text, &headings, room, &*counter)
            };
            pieces.iter().map(text).collect()
        };
        let texts = joined(tokio::task::spawn_blocking(texts), "counting tokens").await?;
        let vectors = embeddings.documents(texts, |_| ()).await?;
        let chunks = drafts.iter_mut().flat_map(|draft| &mut draft.chunks);
        for (chunk, vector) in chunks.zip(vectors) {
            chunk.vector = vector;
        }
        Ok(())
    }
}

/// What is embedded for a piece: its heading path and its text, for a piece from the middle of a section often does not
/// say what it is about. As many of the innermost headings as there is room for; those that a piece of Markdown begins with
/// are not repeated.
pub(super) fn embedding_text(text: &str, headings: &[&str], room: usize, counter: &dyn TokenCounter) -> String {
    let body = text.trim();
    let mut left = room.saturating_sub(counter.count(body));
    let mut prefix: Vec<&str> = Vec::new();
    let inside: Vec<&str> = body
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map_while(markdown_heading)
        .collect();
    let missing = headings
        .iter()
        .rev()
        .filter(|heading| !inside.iter().any(|inside| inside.contains(**heading)));
    for heading in missing {
        // One for the separator.
        let cost = counter.count(heading) + 1;
        if cost > left {
            break;
        }
        left -= cost;
        prefix.push(heading);
    }
    prefix.reverse();
    if prefix.is_empty() {
        body.to_owned()
    } else {
        format!("{}\n{body}", prefix.join(HEADING_SEPARATOR))
    }
}

/// What stands after the `#` of a heading; `None`: the line is none. `#include` and `#[derive]` are none.
fn markdown_heading(line: &str) -> Option<&str> {
    let marked = line.trim_start();
    let title = marked.trim_start_matches('#');
    (title.len() < marked.len() && title.starts_with([' ', '\t'])).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Words;

    impl TokenCounter for Words {
        fn count(&self, text: &str) -> usize {
            text.split_whitespace().count()
        }
    }

    #[test]
    fn a_piece_is_embedded_with_its_headings_while_there_is_room() {
        let text = "the middle of a section";
        let embedded = |room| embedding_text(text, &["The Garden", "Beans"], room, &Words);
        assert_eq!(embedded(20), "The Garden › Beans\nthe middle of a section");
        assert_eq!(embedded(7), "Beans\nthe middle of a section");
        assert_eq!(embedded(5), text);
    }

    #[test]
    fn headings_inside_a_piece_are_not_repeated() {
        let text = "## Beans\nLeave them.\n";
        assert_eq!(
            embedding_text(text, &["The Garden", "Beans"], 20, &Words),
            "The Garden\n## Beans\nLeave them."
        );
    }

    #[test]
    fn a_heading_of_which_a_piece_only_speaks_is_not_inside_it() {
        let embedded = |text| embedding_text(text, &["impl Store", "fn open"], 20, &Words);
        for text in [
            "#[derive(Debug)] // fn open of impl Store",
            "#include <open.h> // fn open\nimpl Store",
            "# Opens it.\nfn open() {} // impl Store",
        ] {
            assert_eq!(embedded(text), format!("impl Store › fn open\n{text}"));
        }
        let text = "# The Garden\n\n## Beans\nPeas are beside them.";
        assert_eq!(
            embedding_text(text, &["The Garden", "Beans", "Peas"], 20, &Words),
            format!("Peas\n{text}")
        );
    }
}
