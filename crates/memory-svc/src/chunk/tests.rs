//! Examples and properties of cutting.

use proptest::prelude::*;
use solo_documents::outline::markdown;
use solo_documents::{Heading, Language};

use super::*;

/// Every word is a token, every character of a script without blanks too.
struct Words;

impl TokenCounter for Words {
    fn count(&self, text: &str) -> usize {
        text.split_whitespace()
            .map(|word| word.chars().filter(|c| !c.is_ascii()).count().max(1))
            .sum()
    }
}

const SMALL: Budget = Budget {
    tokens: 64,
    overlap: 12,
};

fn shown<'a>(text: &'a str, piece: &Piece) -> &'a str {
    &text[trimmed(text, piece.span.clone())]
}

/// A Markdown text's headings, and no pages.
fn outlined(text: &str) -> Outline {
    Outline {
        headings: markdown(text),
        pages: Vec::new(),
    }
}

#[test]
fn a_short_text_is_one_piece() {
    let pieces = cut(
        "  My sister's birthday is on 4 May.\n",
        &Outline::default(),
        SMALL,
        &Words,
    );
    assert_eq!(
        pieces,
        [Piece {
            span: 0..36,
            headings: vec![],
            page: 0,
        }]
    );
}

#[test]
fn blanks_alone_are_no_piece() {
    assert_eq!(cut(" \n\t ", &Outline::default(), SMALL, &Words), []);
    assert_eq!(cut("", &Outline::default(), SMALL, &Words), []);
}

#[test]
fn headings_make_paths_and_never_share_a_piece() {
    let text = "intro\n\n# Garden\n\n## Tomatoes\nWater them.\n\n### Feeding\nOnce a week.\n\n## Beans\nLeave them.\n# Kitchen\nClean it.\n";
    let pieces = cut(text, &outlined(text), SMALL, &Words);
    let seen: Vec<_> = pieces.iter().map(|piece| (piece.path(), shown(text, piece))).collect();
    assert_eq!(
        seen,
        [
            (String::new(), "intro"),
            ("Garden › Tomatoes".into(), "# Garden\n\n## Tomatoes\nWater them."),
            ("Garden › Tomatoes › Feeding".into(), "### Feeding\nOnce a week."),
            ("Garden › Beans".into(), "## Beans\nLeave them."),
            ("Kitchen".into(), "# Kitchen\nClean it."),
        ]
    );
}

#[test]
fn definitions_of_a_program_make_paths_and_end_where_they_end() {
    let program = "use std::fs;

/// Keeps things.
struct Store;

impl Open for Store {
    /// Opens it.
    fn open(&self) {
        fs::read(\"x\");
    }

    const LIMIT: usize = 3;

    fn close(&self) {}
}

static LAST: Store = Store;
";
    let read = solo_documents::extract(Language::Rust.into(), program.into(), program.len()).unwrap();
    let pieces = cut(&read.text, &read.outline, SMALL, &Words);
    let seen: Vec<_> = pieces
        .iter()
        .map(|piece| (piece.path(), shown(program, piece)))
        .collect();
    let opened = "impl Open for Store {
    /// Opens it.
    fn open(&self) {
        fs::read(\"x\");
    }";
    assert_eq!(
        seen,
        [
            (String::new(), "use std::fs;\n\n/// Keeps things.\nstruct Store;"),
            ("impl Open for Store › fn open".into(), opened),
            ("impl Open for Store".into(), "const LIMIT: usize = 3;"),
            ("impl Open for Store › fn close".into(), "fn close(&self) {}\n}"),
            (String::new(), "static LAST: Store = Store;"),
        ]
    );
}

#[test]
fn cuts_fall_between_paragraphs_then_sentences() {
    let sentence = "one two three four five six seven eight nine ten. ";
    let text = format!("{}\n\n{}", sentence.repeat(4).trim(), sentence.repeat(6).trim());
    let pieces = cut(&text, &Outline::default(), SMALL, &Words);
    assert_eq!(
        shown(&text, &pieces[0]),
        sentence.repeat(4).trim(),
        "the paragraph's end wins"
    );
    for piece in &pieces {
        assert!(shown(&text, piece).ends_with("ten."), "{:?}", shown(&text, piece));
        assert!(
            shown(&text, piece).starts_with("one"),
            "the overlap begins with a sentence"
        );
    }
}

#[test]
fn the_next_piece_repeats_the_end_of_the_one_before() {
    let text = (0..200).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
    let pieces = cut(&text, &Outline::default(), SMALL, &Words);
    assert!(pieces.len() > 3);
    for pair in pieces.windows(2) {
        let repeated = Words.count(&text[pair[1].span.start..pair[0].span.end]);
        assert_eq!(repeated, SMALL.overlap);
    }
}

#[test]
fn scripts_without_blanks_are_cut_after_their_full_stops() {
    let text = "我妹妹的生日是五月四日。".repeat(30);
    let pieces = cut(&text, &Outline::default(), SMALL, &Words);
    assert!(pieces.len() >= 5);
    assert!(pieces.iter().all(|piece| text[piece.span.clone()].ends_with('。')));
}

#[test]
fn a_megabyte_without_a_blank_is_cut_too() {
    let text = "x".repeat(1 << 20);
    let pieces = cut(&text, &Outline::default(), SMALL, &Words);
    assert!(pieces.iter().all(|piece| piece.span.len() <= SMALL.tokens * 64));
    assert_eq!(pieces.last().unwrap().span.end, text.len());
}

/// Texts of many scripts, with blanks, headings, long words and full stops in odd places.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-zA-Z]{1,12}",
        1 => "[a-z]{60,200}",
        1 => "[äöüßéñ]{1,8}",
        1 => "[一-龥。]{1,40}",
        1 => "[\u{1F600}-\u{1F64F}]{1,5}",
        1 => Just("\n\n# A heading\n".to_owned()),
        1 => Just("\n## Deeper\n\n".to_owned()),
        1 => Just("```\n".to_owned()),
        1 => Just(". ".to_owned()),
        1 => Just("\r\n\r\n".to_owned()),
        3 => Just(" ".to_owned()),
        1 => "[ \t\n\u{2003}]{1,90}",
        1 => "\\PC{0,20}",
    ];
    prop::collection::vec(part, 0..400).prop_map(|parts| parts.concat())
}

/// Where pages begin: at 0, and at some characters' edges, in order; some may be empty.
fn page_starts(text: &str, pages: &[prop::sample::Index]) -> Vec<usize> {
    let edges: Vec<usize> = text.char_indices().map(|(position, _)| position).collect();
    let mut starts: Vec<usize> = pages
        .iter()
        .map(|page| if edges.is_empty() { 0 } else { *page.get(&edges) })
        .collect();
    if !starts.is_empty() {
        starts.push(0);
    }
    starts.sort_unstable();
    starts
}

#[test]
fn pages_never_share_a_piece_and_keep_their_headings() {
    let text = "The first page ends here

and goes on.



The last.";
    let second = text.find("and").unwrap();
    let last = text.find("The last").unwrap();
    let heading = |at: usize, title: &str| Heading {
        span: at..at,
        level: 1,
        title: title.into(),
    };
    let outline = Outline {
        headings: vec![heading(0, "Start"), heading(last, "End")],
        // The third page is empty.
        pages: vec![0, second, last, last],
    };
    let pieces = cut(text, &outline, SMALL, &Words);
    let seen: Vec<_> = pieces
        .iter()
        .map(|piece| (piece.page, piece.path(), shown(text, piece)))
        .collect();
    assert_eq!(
        seen,
        [
            (1, "Start".into(), "The first page ends here"),
            (2, "Start".into(), "and goes on."),
            (4, "End".into(), "The last."),
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn spans_cover_the_text_and_keep_the_budget(
        text in texts(),
        tokens in 64_usize..200,
        share in 0_usize..=50,
        pages in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let budget = Budget { tokens, overlap: tokens * share / 100 };
        let outline = Outline { pages: page_starts(&text, &pages), ..outlined(&text) };
        let pieces = cut(&text, &outline, budget, &Words);
        prop_assert_eq!(pieces.is_empty(), text.trim().is_empty());
        let mut covered = 0;
        for (index, piece) in pieces.iter().enumerate() {
            // Slicing panics unless both ends lie on a character's edge.
            let shown = &text[trimmed(&text, piece.span.clone())];
            prop_assert!(!shown.is_empty());
            let span = trimmed(&text, piece.span.clone());
            prop_assert_eq!(piece.page, outline.page_of(span.start));
            prop_assert_eq!(piece.page, outline.page_of(span.end - 1), "a piece stands on one page");
            prop_assert!(Words.count(shown) <= tokens, "{} tokens of {}", Words.count(shown), tokens);
            prop_assert!(piece.span.start <= covered && piece.span.end > covered, "a gap or no progress at {}", index);
            covered = piece.span.end;
        }
        if let (Some(first), Some(last)) = (pieces.first(), pieces.last()) {
            prop_assert_eq!((first.span.start, last.span.end), (0, text.len()));
            let mut joined = String::new();
            for piece in &pieces {
                joined.push_str(&text[joined.len()..piece.span.end]);
            }
            prop_assert_eq!(joined, text);
        }
    }
}
