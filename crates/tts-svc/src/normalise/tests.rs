use proptest::prelude::*;

use super::*;
use crate::units;

fn said(text: &str) -> String {
    let spoken: Vec<_> = units::cut(text).iter().map(|unit| spoken(unit, "en-US")).collect();
    spoken
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join(" / ")
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (written, expected) in cases {
        assert_eq!(said(written), *expected, "{written:?}");
    }
}

#[test]
fn marks_are_not_read() {
    check(&[
        (
            "**Bold** and *soft* and __both__ ~~gone~~.",
            "Bold and soft and both gone.",
        ),
        ("## A heading ##", "A heading"),
        ("- one\n- [x] two\n* three", "one / two / three"),
        ("> quoted words", "quoted words"),
        ("Call `max_len()` now.", "Call max len now."),
        ("Two \\* two.", "Two * two."),
        ("---", ""),
        ("line<br>break", "line break"),
        ("a snake_case name", "a snake case name"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b. / 1, 2."),
    ]);
}

#[test]
fn links_citations_and_addresses_are_said_sensibly() {
    check(&[
        ("See [the manual](https://x.org/m?a=1) first.", "See the manual first."),
        ("![A cat](cat.png) sleeps.", "A cat sleeps."),
        (
            "It is Paris [1]. So [2, 3] they say [^n].",
            "It is Paris. / So they say.",
        ),
        ("Both agree.[1][2]", "Both agree."),
        (
            "Go to https://www.example.com/docs/get-started?q=1#top.",
            "Go to example dot com slash docs slash get started.",
        ),
        ("(see http://a.org/x)", "see a dot org slash x"),
        ("At <https://a.org> too", "At a dot org too"),
        ("www.solo.dev/84f3a9c0de is it", "solo dot dev is it"),
    ]);
}

#[test]
fn pictures_have_no_sound() {
    check(&[
        ("Done 🎉👍🏽!", "Done!"),
        ("🙂", ""),
        ("❤️ it → now ✅", "it to now"),
        ("👩‍🚀🇫🇷", ""),
    ]);
    assert_eq!(said("..."), "");
}

#[test]
fn money_dates_and_abbreviations_become_words() {
    check(&[
        (
            "It costs $3.50, not $1 or €2.5 million.",
            "It costs 3 dollars and 50 cents, not 1 dollar or 2.5 million euros.",
        ),
        ("Only £0.05!", "Only 5 pence!"),
        ("On 2026-11-23 at 10:30.", "On November 23, 2026 at 10:30."),
        (
            "Mr. Smith vs. Dr. Jones, e.g. in St. Paul.",
            "Mister Smith versus Doctor Jones, / for example in Saint Paul.",
        ),
        ("Milk, bread, etc.", "Milk, bread, et cetera."),
        ("The U.S. has no. 5.", "The U S has number 5."),
        ("At 5 p.m. sharp.", "At 5 p m sharp."),
        (
            "It is 21 °C or 70°F.",
            "It is 21 degrees Celsius or 70 degrees Fahrenheit.",
        ),
        ("Take 5–10 of them — or more.", "Take 5 to 10 of them, / or more."),
        ("Pi (about 3.14) is .5 less.", "Pi, about 3.14, is .5 less."),
        ("1. First thing", "1. First thing"),
    ]);
}

#[test]
fn code_is_only_mentioned() {
    assert_eq!(said("```\nlet x = 1;\n```"), "Code block.");
    let unit = &units::cut("```\nx\n```")[0];
    assert_eq!(spoken(unit, "de-DE"), "");
}

#[test]
fn other_languages_get_no_english_words() {
    let unit = &units::cut("Das kostet $3 bei https://a.de/x **ja**.")[0];
    assert_eq!(spoken(unit, "de-DE"), "Das kostet $3 bei a.de ja.");
}

proptest! {
    #[test]
    fn any_text_gives_words_or_nothing(text in "(\\PC|[\\n*_`\\[\\]()<>#|$.,1a ]){0,200}") {
        for unit in units::cut(&text) {
            for language in ["en-US", "fr"] {
                let spoken = spoken(&unit, language);
                prop_assert!(spoken.is_empty() || spoken.chars().any(char::is_alphanumeric));
                prop_assert!(!spoken.contains("  ") && !spoken.contains(['\0', '\n']));
                prop_assert_eq!(spoken.trim(), spoken.as_str());
            }
        }
    }
}
