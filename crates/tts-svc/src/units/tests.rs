use proptest::prelude::*;

use super::*;

/// Words that are enough for the first unit, as configured by default.
const ENOUGH: usize = 4;

fn cut(text: &str) -> Vec<Unit> {
    super::cut(text, ENOUGH)
}

fn texts(text: &str) -> Vec<String> {
    cut(text).into_iter().map(|unit| unit.text.trim().to_owned()).collect()
}

#[test]
fn sentences_are_units() {
    assert_eq!(
        texts("Paris is the capital. It lies on the Seine! Is it big? Yes."),
        ["Paris is the capital.", "It lies on the Seine!", "Is it big?", "Yes."]
    );
}

#[test]
fn only_the_first_unit_may_be_a_clause_of_four_words() {
    assert_eq!(
        texts("If you look closely, you see it. When it rains in Paris, it pours."),
        [
            "If you look closely,",
            "you see it.",
            "When it rains in Paris, it pours."
        ]
    );
    assert_eq!(texts("Well, yes, it is."), ["Well, yes, it is."]);
    assert_eq!(
        texts("It has 2,102,650 people at 10:30 sharp."),
        ["It has 2,102,650 people at 10:30 sharp."]
    );
}

#[test]
fn the_first_unit_is_foreseen_where_only_the_next_character_is_missing() {
    let foreseen = |text: &str| {
        let mut cutter = UnitCutter::new(ENOUGH);
        let units = cutter.push(text);
        assert!(units.is_empty(), "{units:?}");
        let foreseen = cutter.foreseen();
        let next = cutter.push(" Then").into_iter().next();
        (foreseen.is_some(), foreseen == next)
    };
    for text in [
        "It is Paris.",
        "\nIs it?",
        "If you look closely,",
        "Take these four things:",
    ] {
        assert_eq!(foreseen(text), (true, true), "{text}");
    }
    // A number may go on, a name follows, a clause is too short, a mark may be closed.
    for text in ["It is 3.", "Well,", "It is Paris", "It is Paris.\"", ""] {
        assert!(!foreseen(text).0, "{text}");
    }
    // Wrong, which costs some work: who waits for the certain unit hears no difference.
    assert_eq!(foreseen("I asked Dr."), (true, false));
    let mut cutter = UnitCutter::new(ENOUGH);
    assert_eq!(cutter.push("It is Paris. It lies there.").len(), 1);
    assert_eq!(cutter.foreseen(), None, "nobody waits for the second one");
}

/// As [`cut`], where some words open a clause.
fn cut_before(text: &str) -> Vec<Unit> {
    let mut cutter = before();
    let mut units = cutter.push(text);
    units.extend(cutter.finish());
    units
}

fn before() -> UnitCutter {
    UnitCutter::new(ENOUGH).ending_before(["and", "because"].map(str::to_owned).into())
}

#[test]
fn the_first_unit_may_end_before_a_word_that_opens_a_clause() {
    let texts = |text: &str| -> Vec<(String, bool)> {
        let units = cut_before(text).into_iter();
        units.map(|unit| (unit.text, unit.goes_on)).collect()
    };
    let pairs = |pairs: &[(&str, bool)]| -> Vec<(String, bool)> {
        pairs
            .iter()
            .map(|(text, goes_on)| ((*text).to_owned(), *goes_on))
            .collect()
    };
    assert_eq!(
        texts("The sky is blue because it is, and because it is. And so on."),
        pairs(&[
            ("The sky is blue", true),
            (" because it is, and because it is.", false),
            (" And so on.", false)
        ])
    );
    // Too few words; part of a word; a mark is there already; nothing follows.
    for whole in [
        "He came and went.",
        "They were all quite becauselike.",
        "All of this and-or that.",
        "All of us are because",
    ] {
        assert_eq!(texts(whole), pairs(&[(whole, false)]), "{whole}");
    }
    assert_eq!(texts("It is all here, and there.")[0].0, "It is all here,");
}

#[test]
fn a_clause_is_foreseen_with_the_word_that_opens_the_next() {
    let mut cutter = before();
    assert!(cutter.push("The sky is blue bec").is_empty());
    assert_eq!(cutter.foreseen(), None);
    assert!(cutter.push("ause").is_empty());
    let foreseen = cutter.foreseen();
    assert_eq!(
        foreseen.as_ref().map(|unit| unit.text.as_str()),
        Some("The sky is blue")
    );
    assert_eq!(cutter.push(" of").into_iter().next(), foreseen);
}

#[test]
fn how_many_words_are_enough_can_be_said() {
    let texts = |enough| -> Vec<String> {
        let units = super::cut("Well, yes, it is. So, go on.", enough);
        units.into_iter().map(|unit| unit.text).collect()
    };
    assert_eq!(texts(1), ["Well,", " yes, it is.", " So, go on."]);
    assert_eq!(texts(2), ["Well, yes,", " it is.", " So, go on."]);
    assert_eq!(texts(100), ["Well, yes, it is.", " So, go on."]);
}

#[test]
fn abbreviations_numbers_and_addresses_are_not_cut() {
    for whole in [
        "Mr. Smith met Dr. Jones.",
        "Pi is 3.14 or so.",
        "Fruit, e.g. Apples.",
        "See https://example.com/a.b?c=d. for more",
        "J. R. R. Tolkien wrote it.",
        "The U.S. Army came.",
        "It is in no. 5 of vol. 2.",
        "He paid approx. 20 euros etc. and left.",
        "Wait... what is this?",
        "\"Really?\" he asked.",
    ] {
        assert_eq!(texts(whole), [whole], "{whole}");
    }
    assert_eq!(texts("No. That is wrong."), ["No.", "That is wrong."]);
    assert_eq!(texts("Come at 5 p.m. Bring cake."), ["Come at 5 p.m.", "Bring cake."]);
    assert_eq!(texts("It was I. We knew."), ["It was I.", "We knew."]);
}

#[test]
fn closing_quotes_and_citations_stay_with_their_sentence() {
    assert_eq!(texts("He said \"Go.\" She went."), ["He said \"Go.\"", "She went."]);
    assert_eq!(
        texts("It is in Paris.[1] The next.[2, 3] End."),
        ["It is in Paris.[1]", "The next.[2, 3]", "End."]
    );
    assert_eq!(texts("**Bold end.** Next one."), ["**Bold end.**", "Next one."]);
}

#[test]
fn lists_headings_and_paragraphs_end_units() {
    assert_eq!(
        texts("# Title\nTwo things:\n- milk\n- bread\n\nDone"),
        ["# Title", "Two things:", "- milk", "- bread", "Done"]
    );
    assert_eq!(
        texts("1. First thing\n2. Second thing"),
        ["1. First thing", "2. Second thing"]
    );
    let wrapped = "this is a long line that was broken to fit a page\nand here it goes on.";
    assert_eq!(texts(wrapped), [wrapped]);
}

#[test]
fn fenced_code_is_one_unit() {
    let units = cut("Look here:\n```python\nx = 1. \nprint(x)\n```\nThat prints one.");
    let kinds: Vec<_> = units.iter().map(|unit| (unit.text.trim(), unit.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("Look here:", UnitKind::Prose),
            ("```python\nx = 1. \nprint(x)\n```", UnitKind::Code),
            ("That prints one.", UnitKind::Prose)
        ]
    );
}

#[test]
fn long_sentences_are_cut_at_a_clause() {
    let long = format!("{}, {}", "word ".repeat(40).trim_end(), "more ".repeat(60).trim_end());
    let units = cut(&long);
    assert!(units.len() > 1);
    assert!(units[0].text.ends_with("word,"));
    assert!(units.iter().all(|unit| unit.text.len() <= MAX_UNIT_BYTES + 4));
    assert_eq!(cut(&"x".repeat(1000)).len(), 4);
}

#[test]
fn a_unit_comes_as_soon_as_what_follows_cannot_change_it() {
    let mut cutter = UnitCutter::new(ENOUGH);
    assert!(cutter.push("It is 3.").is_empty());
    assert!(cutter.push("14 metres.").is_empty());
    assert!(cutter.push(" ").is_empty());
    assert_eq!(cutter.push("N")[0].text, "It is 3.14 metres.");
    assert_eq!(cutter.flush()[0].text, " N");
    assert!(cutter.push(" \n").is_empty());
    assert!(cutter.flush().is_empty());
    assert_eq!(cutter.finish()[0].range, 20..22);
}

/// Text that is rich in what the rules look at.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "word",
        "Word",
        "Mr",
        "e.g",
        "3",
        "14",
        "I",
        ".",
        ".",
        ",",
        "!",
        "?",
        "…",
        ":",
        ";",
        "—",
        " ",
        " ",
        " ",
        "\n",
        "\n",
        "- ",
        "# ",
        "```",
        "`",
        "*",
        "**",
        "[1]",
        "[",
        "]",
        ")",
        "(",
        "\"",
        "”",
        "。",
        "é",
        "😀",
        "https://a.b/c",
        "|",
        "\r\n",
        "1. ",
        "and",
        " because ",
    ]);
    prop::collection::vec(piece, 0..250).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn units_tile_the_text(text in text()) {
        let units = cut(&text);
        prop_assert_eq!(units.iter().map(|unit| unit.text.as_str()).collect::<String>(), text.as_str());
        let mut end = 0;
        for unit in &units {
            prop_assert_eq!(unit.range.start, end);
            prop_assert_eq!(&text[unit.range.clone()], unit.text.as_str());
            end = unit.range.end;
        }
    }

    #[test]
    fn any_deltas_give_the_same_units(text in text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let mut at: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
        at.push(text.len());
        at.sort_unstable();
        for (mut cutter, whole) in [(UnitCutter::new(ENOUGH), cut(&text)), (before(), cut_before(&text))] {
            let mut units = Vec::new();
            let mut from = 0;
            for &end in &at {
                units.extend(cutter.push(&text[from..end]));
                from = end;
            }
            units.extend(cutter.finish());
            prop_assert_eq!(units, whole);
        }
    }

    #[test]
    fn anything_at_all_is_cut(text in ".{0,400}") {
        prop_assert_eq!(cut(&text).iter().map(|unit| unit.text.as_str()).collect::<String>(), text);
    }
}
