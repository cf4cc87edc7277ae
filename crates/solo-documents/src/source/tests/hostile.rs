//! Programs that are broken, deep, long or slow to read.

use proptest::prelude::*;

use super::*;

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn what_is_broken_is_outlined_as_far_as_it_makes_sense() {
    let program = "fn whole() {}\n\nimpl Store {\n    fn open(&self -> {\n\nfn last() {}\n";
    let titles: Vec<String> = shown(program, Language::Rust);
    assert!(titles.iter().any(|line| line.contains("fn whole |")), "{titles:?}");
    assert!(titles.iter().any(|line| line.contains("fn last |")), "{titles:?}");
    for language in Language::ALL {
        for text in [
            "",
            "\n",
            "}",
            "class",
            "\u{FEFF}",
            "äöü 一二三 \u{1F600}",
            "My sister likes tulips.",
        ] {
            assert_eq!(outline(text, language, PATIENCE), Ok(vec![]), "{language:?} {text}");
        }
    }
}

#[test]
fn grammars_fit() {
    for language in Language::ALL {
        assert!(Parser::new().set_language(&language.grammar()).is_ok(), "{language:?}");
    }
}

#[test]
fn nesting_is_divided_down_to_a_depth() {
    let deep = "class A {\n".repeat(50_000) + "void f() {}\n" + &"}\n".repeat(50_000);
    let headings = outline(&deep, Language::Java, PATIENCE).unwrap();
    let levels: Vec<u8> = headings.iter().map(|heading| heading.level).collect();
    assert_eq!(levels, [1, 2, 3, 4, 5, 6]);
    for text in ["(", "[", "{", "x=", "if x:\n ", "a.b(", "<a>"] {
        for language in Language::ALL {
            // None of these defines anything, if it can be parsed in time at all.
            if let Ok(headings) = outline(&text.repeat(3_000), language, SHORT) {
                assert_eq!(headings, [], "{language:?} {text}");
            }
        }
    }
}

#[test]
fn what_takes_too_much_is_read_without_an_outline_and_that_is_said() {
    let line = "fn a(){}".repeat((10 << 20) / 8);
    let long = extract(line.clone(), Some(Language::Rust));
    assert_eq!((long.text, long.outline), (line, Outline::default()));
    assert!(
        long.warnings[0].contains("more than 1048576 bytes"),
        "{:?}",
        long.warnings
    );
    let many = "fn a(){}\n".repeat(MAX_DEFINITIONS + 1);
    assert_eq!(outline(&many, Language::Rust, PATIENCE), Err(Without::TooMany));
    assert_eq!(
        outline(&many[9..], Language::Rust, PATIENCE).unwrap().len(),
        MAX_DEFINITIONS
    );
    // The scanner looks for the end of each of these.
    let slow = "r#\"".repeat(40_000);
    assert_eq!(outline(&slow, Language::Rust, SHORT), Err(Without::TooSlow));
    assert_eq!(extract(slow.clone(), None).text, slow);
}

#[test]
fn a_comment_far_from_everything_is_looked_at_once() {
    let program = format!(
        "// c\n{}x = {{\n{}}};\nfunction f() {{}}\n",
        "\n".repeat(500_000),
        "a:1,".repeat(125_000)
    );
    // Looking at the blank lines for each property takes minutes.
    let headings = outline(&program, Language::JavaScript, Duration::from_secs(60)).unwrap();
    let titles: Vec<&str> = headings.iter().map(|heading| heading.title.as_str()).collect();
    assert_eq!(titles, ["function f"]);
}

#[test]
fn looking_for_definitions_takes_no_longer_than_is_allowed() {
    // Too short for its grammar to ask how long it may take.
    let program = "fn a() {}\n";
    let (language, now) = (Language::Rust, Instant::now());
    let tree = parse(program, language, now + PATIENCE).unwrap();
    let found = definitions(program, language, &tree, now);
    assert_eq!(found.err(), Some(Without::TooSlow));
}

#[test]
fn a_heading_ends_where_a_character_begins() {
    assert_eq!(head_end("f() {\n  ä", 4), Some(6));
    assert_eq!(head_end("f() ä", 4), Some(4));
    assert_eq!(head_end("f() ä", 5), None, "the middle of a character");
}

#[test]
fn titles_are_short_lines() {
    let program = format!(
        "impl Open for (\n    {}u8\n) {{\n    fn open() {{}}\n}}\n",
        "u8, ".repeat(200)
    );
    let headings = outline(&program, Language::Rust, PATIENCE).unwrap();
    assert!(
        headings[0].title.starts_with("impl Open for ( u8, u8,"),
        "{:?}",
        headings[0]
    );
    assert_eq!(headings[0].title.chars().count(), MAX_TITLE_CHARS);
}

#[test]
fn a_definition_inside_what_leads_to_another_comes_before_it() {
    let program = "template <class T = struct X { int a; }> void g() {}\n";
    let headings = outline(program, Language::Cpp, PATIENCE).unwrap();
    let found: Vec<(&str, usize)> = headings
        .iter()
        .map(|heading| (heading.title.as_str(), heading.span.start))
        .collect();
    assert_eq!(found, [("struct X", 20), ("g()", 41)]);
    let mut above = 0;
    for Heading { span, .. } in headings {
        assert!(above <= span.start, "{span:?} after {above}");
        assert!(program.get(span.clone()).is_some(), "{span:?}");
        above = span.end;
    }
}

/// What programs are made of; `~` stands for a line break.
const PARTS: &str = r##"fn a|impl T for |struct S|class C|def f(self):|function g|func (r *R) h|namespace n|template <class T>|
template <class T = struct S {|void k|typedef struct|export default |const x = |=> |type X |mod m |@decorator|#[attribute]|interface I |if x:|return|{|}|(|)|[|]|<|>|
;|:|,|"|'|`|()|{}|~|~    |~~| |// c~|# c~|/* c */|/// ä~|/*|"""|#endif~|\~|r#"|一|x"##;

/// Parts of programs in any order.
fn programs() -> impl Strategy<Value = String> {
    let parts: Vec<String> = PARTS
        .replace('\n', "")
        .split('|')
        .map(|part| part.replace('~', "\n"))
        .collect();
    let part = (prop::sample::select(parts), prop::option::weighted(0.1, "\\PC{0,6}"));
    prop::collection::vec(part, 0..120).prop_map(|parts| {
        let parts = parts.into_iter().map(|(part, odd)| part + &odd.unwrap_or_default());
        parts.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn headings_lie_in_the_text_in_order(text in programs(), language in prop::sample::select(Language::ALL.to_vec())) {
        let mut above = 0;
        for heading in outline(&text, language, PATIENCE).unwrap() {
            let span = heading.span;
            prop_assert!(above <= span.start, "{:?} after {}", span, above);
            prop_assert!(text.get(span.clone()).is_some(), "{:?}", span);
            prop_assert!((1..=MAX_LEVEL).contains(&heading.level));
            prop_assert!(heading.title.chars().count() <= MAX_TITLE_CHARS);
            above = span.end;
        }
    }
}
