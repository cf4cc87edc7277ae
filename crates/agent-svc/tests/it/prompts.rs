//! What the model is given to read.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use solo_proto::agent::v1::OpenDialogue;
use solo_testkit::llm::{count_tokens, message_text};
use tonic::Code;

use crate::support::Setup;

#[tokio::test]
async fn history_is_cut_from_the_oldest_to_fit_the_context() {
    let setup = Setup::with("max_tokens = 40").await;
    let system = {
        setup.talk().await.ask("t1", "Hello.").await;
        count_tokens(&setup.llm.requests()[0].message.messages)
    };
    let context = system + 40 + 60;
    setup.llm.set_context_length(context);
    // The size of a context is believed for a while; another model has not been asked yet.
    let open = OpenDialogue {
        model: "small".into(),
        ..OpenDialogue::default()
    };
    let mut talk = setup.open(open).await;
    for number in 0..12 {
        let words = vec![format!("word{number}"); 6].join(" ");
        assert_eq!(talk.ask(&format!("t{number}"), &words).await.reply(), "Hello there.");
    }
    let request = setup.llm.requests().pop().expect("a request").message;
    let tokens = count_tokens(&request.messages);
    assert!(tokens + 40 <= context, "{tokens} tokens and a reply of 40 in {context}");
    let texts: Vec<String> = request.messages.iter().map(message_text).collect();
    assert!(texts.last().is_some_and(|text| text.contains("word11")));
    assert!(
        texts.iter().any(|text| text.starts_with("word10")),
        "the newest exchange stays: {texts:?}"
    );
    assert!(
        !texts.iter().any(|text| text.contains("word0 ")),
        "the oldest goes: {texts:?}"
    );
}

#[tokio::test]
async fn a_question_longer_than_the_context_is_refused_with_numbers() {
    let setup = Setup::start().await;
    setup.llm.set_context_length(100);
    let failed = setup.talk().await.ask("t1", &"word ".repeat(500)).await;
    let failure = failed.failure();
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (Code::InvalidArgument as u32, "PROMPT_TOO_LONG")
    );
    assert!(failure.message.contains("room for 50"), "{}", failure.message);
}

#[tokio::test]
async fn short_prompts_are_counted_once() {
    let setup = Setup::start().await;
    let mut talk = setup.talk().await;
    for turn in ["t1", "t2", "t3"] {
        talk.ask(turn, "Hello.").await;
    }
    assert_eq!(setup.llm.counts().len(), 1);
}

#[tokio::test]
async fn the_model_knows_what_time_it_is_where_the_person_is() {
    let setup = Setup::start().await;
    for zone in ["Pacific/Kiritimati", "Pacific/Niue"] {
        let open = OpenDialogue {
            time_zone: zone.into(),
            ..OpenDialogue::default()
        };
        let before = Timestamp::now();
        setup.open(open).await.ask("t1", "What day is it?").await;
        let after = Timestamp::now();
        let request = setup.llm.requests().pop().expect("a request").message;
        let prompt = request.messages.last().map(message_text).expect("a prompt");
        let told = |moment: Timestamp| {
            let local = moment.to_zoned(TimeZone::get(zone).expect("a zone"));
            prompt.contains(&format!("(It is {} ({zone}).)", local.strftime("%A, %-d %B %Y, %H:%M")))
        };
        assert!(told(before) || told(after), "{zone}: {prompt}");
        assert!(
            !message_text(&request.messages[0]).contains("20"),
            "the system message has no time"
        );
    }
}

#[tokio::test]
async fn the_language_of_the_person_is_named() {
    let setup = Setup::start().await;
    let open = OpenDialogue {
        locale: "de-DE".into(),
        ..OpenDialogue::default()
    };
    setup.open(open).await.ask("t1", "Hallo.").await;
    let system = message_text(&setup.llm.requests()[0].message.messages[0]);
    assert!(
        system.ends_with("The user's language is de-DE; answer in it."),
        "{system}"
    );
}
