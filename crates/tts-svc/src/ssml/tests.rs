use proptest::prelude::*;

use super::*;

/// Passages as text, rate and gain; breaks in ms.
fn items(document: &str) -> Vec<String> {
    let item = |item: Item| match item {
        Item::Passage(passage) => {
            let manner = match (passage.rate, passage.gain) {
                (1.0, 1.0) => String::new(),
                (rate, gain) => format!(" @{rate:.2} x{gain:.2}"),
            };
            format!(
                "{}{manner}{}",
                passage.text.trim(),
                if passage.joined { " …" } else { "" }
            )
        }
        Item::Break(length) => format!("<{} ms>", length.as_millis()),
    };
    parse(document).unwrap().into_iter().map(item).collect()
}

#[track_caller]
fn refused(document: &str) -> String {
    let error = parse(document).unwrap_err();
    format!("{} {error}", error.reason())
}

#[test]
fn text_breaks_and_manners_become_items() {
    assert_eq!(
        items(
            "<?xml version=\"1.0\"?><speak version=\"1.1\" xml:lang=\"en-US\" xmlns=\"http://www.w3.org/2001/10/synthesis\">
              Hello <!-- nobody hears this --> there.<break time=\"1.5s\"/>
              <p><s>One.</s><s>Two</s></p>
              <prosody rate=\"50%\" volume=\"soft\">Slow <prosody rate=\"fast\">then</prosody></prosody> so.
            </speak>"
        ),
        [
            "Hello  there.",
            "<1500 ms>",
            "One.",
            "Two",
            "<300 ms>",
            "Slow @0.50 x0.50 …",
            "then @0.62 x0.50 …",
            "so."
        ]
    );
    assert_eq!(items("<speak> </speak>"), Vec::<String>::new());
    assert_eq!(
        items("<speak>a<break/><break strength=\"x-strong\"/>b<break strength=\"none\"/>c</speak>"),
        ["a", "<1400 ms>", "b", "c"]
    );
    assert_eq!(
        items("<speak>It is <emphasis>very</emphasis> big</speak>"),
        ["It is …", "very @0.92 x1.20 …", "big"]
    );
}

#[test]
fn aliases_and_interpretations_are_said() {
    let said = |kind: &str, text: &str| {
        items(&format!(
            "<speak><say-as interpret-as=\"{kind}\">{text}</say-as></speak>"
        ))
        .concat()
    };
    assert_eq!(
        items("<speak>The <sub alias=\"World Wide Web\">WWW</sub>.</speak>"),
        ["The World Wide Web."]
    );
    assert_eq!(said("cardinal", " 1,234 "), "1,234");
    assert_eq!(said("ordinal", "22"), "22nd");
    assert_eq!(said("characters", "a-1b"), "ay dash 1 B");
    assert_eq!(said("digits", "007"), "0 0 7");
    assert_eq!(said("telephone", "+1 (555) 123-4567"), "plus 1, 5 5 5, 1 2 3, 4 5 6 7");
    assert_eq!(said("date", "2026-11-23"), "November 23rd, 20 26");
    assert_eq!(said("date\" format=\"dmy", "1.2.1905"), "February 1st, 19 oh 5");
    assert_eq!(said("time", "2:30pm"), "2:30 PM");
    assert_eq!(said("currency", "$3.50"), "$3.50");
    assert_eq!(said("fraction", "7/16"), "7 over 16");
}

#[test]
fn what_is_not_supported_is_named_with_its_place() {
    let all = "supported are speak, p, s, break, emphasis, say-as, prosody and sub";
    for (document, expected) in [
        (
            "<speak>a\n<audio src=\"x\"/></speak>",
            format!("SSML_UNSUPPORTED line 2, column 1: <audio> is not supported; {all}"),
        ),
        (
            "<speak><prosody pitch=\"high\">x</prosody></speak>",
            "SSML_UNSUPPORTED line 1, column 8: the attribute \"pitch\" of <prosody> is not supported; supported: rate, volume"
                .into(),
        ),
        (
            "<speak><p xml:lang=\"de\">x</p></speak>",
            "SSML_UNSUPPORTED line 1, column 8: the attribute \"xml:lang\" of <p> is not supported; it has none that is supported"
                .into(),
        ),
        (
            "<speak><say-as interpret-as=\"smell\">x</say-as></speak>",
            "SSML_UNSUPPORTED line 1, column 8: interpret-as is \"smell\"".into(),
        ),
        (
            "<speak><say-as interpret-as=\"ordinal\">x</say-as></speak>",
            "SSML_INVALID line 1, column 8: \"x\" cannot be read as ordinal; a whole number is wanted".into(),
        ),
        ("<speak><?x y?></speak>", "SSML_UNSUPPORTED line 1, column 8: a processing".into()),
        ("<speak><break time=\"1h\"/></speak>", "SSML_INVALID line 1, column 8: time is \"1h\"".into()),
        ("<speak><break time=\"11s\"/></speak>", "SSML_INVALID line 1, column 8: time is \"11s\"".into()),
        ("<speak><break>x</break></speak>", "SSML_INVALID line 1, column 8: <break> must be empty".into()),
        ("<speak><sub>x</sub></speak>", "SSML_INVALID line 1, column 8: <sub> needs".into()),
        ("<speak><sub alias=\"y\"><s>x</s></sub></speak>", "SSML_INVALID line 1, column 23: <sub> takes text".into()),
        ("<speak><prosody rate=\"9\">x</prosody></speak>", "SSML_INVALID line 1, column 8: rate is \"9\"".into()),
        ("<speak><prosody volume=\"6dB\">x</prosody></speak>", "SSML_INVALID line 1, column 8: volume is".into()),
        ("<speak><emphasis level=\"x\">x</emphasis></speak>", "SSML_INVALID line 1, column 8: level is".into()),
        ("<speak version=\"2\">x</speak>", "SSML_INVALID line 1, column 1: version is \"2\"".into()),
        ("<speak><speak/></speak>", "SSML_INVALID line 1, column 8: <speak> stands inside".into()),
        ("<p>x</p>", "SSML_INVALID line 1, column 1: the document begins with <p>".into()),
        ("<speak>", "SSML_INVALID line 1".into()),
        ("hello", "SSML_INVALID line 1, column 1".into()),
    ] {
        let found = refused(document);
        assert!(found.starts_with(&expected), "{document}: {found}");
    }
}

#[test]
fn bombs_are_refused() {
    let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><speak>&b;</speak>";
    assert!(refused(laughs).contains("a document type is not accepted"));
    assert!(refused("<speak>&unknown;</speak>").starts_with("SSML_INVALID"));
    let deep = |depth: usize| format!("<speak>{}x{}</speak>", "<s>".repeat(depth), "</s>".repeat(depth));
    assert!(parse(&deep(MAX_DEPTH - 1)).is_ok());
    assert!(refused(&deep(9_000)).contains("more than 32 deep"));
    let wide = format!("<speak>{}</speak>", "<break/>".repeat(MAX_NODES as usize));
    assert!(refused(&wide).contains("more than 20000"));
}

#[test]
fn passages_know_where_they_stand() {
    let document = "<speak>A &amp; B <sub alias=\"see you\">CU</sub>!</speak>";
    let items = parse(document).unwrap();
    let [Item::Passage(passage)] = &items[..] else {
        panic!("one passage: {items:?}");
    };
    assert_eq!(passage.text, "A & B see you!");
    let sent = |range| &document[passage.sent(range)];
    assert_eq!(sent(0..1), "A");
    assert_eq!(sent(2..3), "&amp;");
    assert_eq!(sent(4..5), "B");
    assert_eq!(sent(6..9), "<sub alias=\"see you\">CU</sub>");
    assert_eq!(sent(13..14), "!");
    assert_eq!(sent(0..14), "A &amp; B <sub alias=\"see you\">CU</sub>!");
}

proptest! {
    #[test]
    fn any_document_is_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<s>", "</s>", "<p>", "</p>", "<break/>", "<emphasis>", "</emphasis>", "text. ", "&amp;", "&#65;", "<![CDATA[x]]>", "é", "\r\n",
        ]), 0..40)
    ) {
        let document = format!("<speak>{}</speak>", pieces.concat());
        if let Ok(items) = parse(&document) {
            for item in items {
                if let Item::Passage(passage) = item {
                    let sent = passage.sent(0..passage.text.len());
                    prop_assert!(document.get(sent).is_some());
                }
            }
        }
    }
}
