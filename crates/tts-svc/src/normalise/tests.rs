use proptest::prelude::*;

use super::*;
use crate::units;

fn said(text: &str) -> String {
    let units = units::cut(text, 4);
    let spoken: Vec<_> = units.iter().map(|unit| joined(&spoken(unit, "en-US"))).collect();
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
        ("At 5 p.m. sharp.", "At 5 PM sharp."),
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
fn numbers_are_said_as_a_person_would() {
    check(&[
        (
            "Wake me at 9:00 or 10:05, not 10:30am.",
            "Wake me at 9 o'clock or 10 oh 5, / not 10 30 AM.",
        ),
        ("It opens at 9:00 a.m. daily.", "It opens at 9 AM daily."),
        (
            "Born in 1999, or in 1905 or the 1990s.",
            "Born in 19 99, or in 19 oh 5 or the 19 nineties.",
        ),
        ("On 11/23/2026 we go.", "On November 23, 20 26 we go."),
        (
            "Use 3/4 of it, or 2 1/2 cups.",
            "Use 3 quarters of it, / or 2 and one half cups.",
        ),
        ("It takes 5-10 min.", "It takes 5 to 10 min."),
        (
            "Run 5 km, lift 1 kg, read 3GB!",
            "Run 5 kilometers, lift 1 kilogram, / read 3 gigabytes!",
        ),
        (
            "Call 555-1234 or (555) 123-4567.",
            "Call 5 5 5, 1 2 3 4 or 5 5 5, 1 2 3, 4 5 6 7.",
        ),
        (
            "Henry VIII and Chapter IV, MIX it.",
            "Henry the 8th and Chapter 4, / MIX it.",
        ),
        ("Issue #12 is in C#.", "Issue number 12 is in C sharp."),
        ("Ask ann.lee@example.org.", "Ask ann dot lee at example dot org."),
        ("The U.S.A. won.", "The U S ay won."),
        ("Take 1,234 of 3.5% at 21st.", "Take 1,234 of 3.5% at 21st."),
    ]);
}

#[test]
fn words_know_where_they_stand() {
    let text = "See **the** [manual](https://x.org): $5!";
    let unit = &units::cut(text, 9)[0];
    let words = spoken(unit, "en-US");
    let said: Vec<_> = words
        .iter()
        .map(|word| (word.text.as_str(), &text[word.from.clone()]))
        .collect();
    assert_eq!(
        said,
        [
            ("See", "See"),
            ("the", "the"),
            ("manual:", "manual](https://x.org):"),
            ("5", "$5!"),
            ("dollars!", "$5!")
        ]
    );
}

#[test]
fn code_is_only_mentioned() {
    assert_eq!(said("```\nlet x = 1;\n```"), "Code block.");
    let unit = &units::cut("```\nx\n```", 4)[0];
    assert_eq!(spoken(unit, "de-DE"), []);
}

#[test]
fn other_languages_get_no_english_words() {
    let unit = &units::cut("Das kostet $3 bei https://a.de/x **ja**.", 4)[0];
    assert_eq!(joined(&spoken(unit, "de-DE")), "Das kostet $3 bei a.de ja.");
}

proptest! {
    #[test]
    fn any_text_gives_words_or_nothing(text in "(\\PC|[\\n*_`\\[\\]()<>#|$.,1a ]){0,200}") {
        for unit in units::cut(&text, 4) {
            for language in ["en-US", "fr"] {
                let words = spoken(&unit, language);
                for word in &words {
                    prop_assert!(unit.text.get(word.from.clone()).is_some(), "{:?} of {:?}", word, unit.text);
                }
                prop_assert!(words.is_sorted_by_key(|word| word.from.start));
                let spoken = joined(&words);
                prop_assert!(spoken.is_empty() || spoken.chars().any(char::is_alphanumeric));
                prop_assert!(!spoken.contains("  ") && !spoken.contains(['\0', '\n']));
                prop_assert_eq!(spoken.trim(), spoken.as_str());
            }
        }
    }
}
