//! Examples and properties of headings.

use proptest::prelude::*;

use super::*;

#[test]
fn markdown_headings_are_those_of_commonmark() {
    let text = "---\ntitle: x\n---\nTitle\n=====\n\n```\n# no\n```\n####### no\n#no\n ## Yes ##\nText\n---\n\n---\n    # code\n#\n";
    let headings: Vec<_> = markdown(text)
        .into_iter()
        .map(|heading| (heading.level, heading.title))
        .collect();
    assert_eq!(
        headings,
        [
            (1, "Title".into()),
            (2, "Yes".into()),
            (2, "Text".into()),
            (1, String::new())
        ]
    );
}

/// Lines that are headings, that nearly are, and that change what headings are.
fn texts() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => " {0,4}#{1,7} ?[a-zäß ]{0,9}#{0,2}",
        4 => "[a-z一-龥 ]{0,9}",
        2 => " {0,4}(=|-){1,4}",
        1 => " {0,4}(```|~~~|````)[a-z]{0,2}",
        1 => Just("...".to_owned()),
        1 => "\\PC{0,20}",
    ];
    let end = prop_oneof![4 => Just("\n"), 1 => Just("\r\n"), 1 => Just("")];
    prop::collection::vec((line, end), 0..40)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn headings_are_whole_lines_in_order(text in texts()) {
        let mut above = 0;
        for heading in markdown(&text) {
            let Range { start, end } = heading.span;
            prop_assert!(above <= start && start < end, "{:?} after {}", start..end, above);
            prop_assert!(start == 0 || text.as_bytes()[start - 1] == b'\n');
            prop_assert!(end == text.len() || text.as_bytes()[end - 1] == b'\n');
            above = end;
        }
    }
}
