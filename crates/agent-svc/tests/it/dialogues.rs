//! Dialogues that are listed, found and deleted, each principal's own.

use solo_proto::agent::v1::*;
use solo_testkit::LlmScript;
use tonic::{Code, Request};

use crate::support::{Setup, Talk};

fn of<T>(principal: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("solo-principal", principal.parse().expect("ASCII"));
    request
}

async fn titles(setup: &Setup, principal: &str, page_size: u32, page_token: &str) -> (Vec<String>, String) {
    let request = ListDialoguesRequest {
        page_size,
        page_token: page_token.into(),
    };
    let page = setup
        .client()
        .await
        .list_dialogues(of(principal, request))
        .await
        .expect("listed")
        .into_inner();
    (
        page.dialogues.into_iter().map(|dialogue| dialogue.title).collect(),
        page.next_page_token,
    )
}

#[tokio::test]
async fn dialogues_are_listed_in_pages_newest_first() {
    let setup = Setup::start().await;
    for number in 1..=5 {
        setup.talk().await.ask("t1", &format!("Number {number}")).await;
    }
    drop(setup.talk().await);
    let (first, token) = titles(&setup, "local", 2, "").await;
    assert_eq!(first, ["Number 5", "Number 4"]);
    let (second, token) = titles(&setup, "local", 2, &token).await;
    assert_eq!(second, ["Number 3", "Number 2"]);
    let (third, token) = titles(&setup, "local", 2, &token).await;
    assert_eq!(
        (third, token),
        (vec!["Number 1".to_owned()], String::new()),
        "one without turns is not listed"
    );
    for request in [
        ListDialoguesRequest {
            page_size: 1001,
            page_token: String::new(),
        },
        ListDialoguesRequest {
            page_size: 0,
            page_token: "nonsense".into(),
        },
    ] {
        let refused = setup.client().await.list_dialogues(request).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn words_are_found_in_what_was_said_and_answered() {
    let setup = Setup::start().await;
    setup
        .llm
        .script(LlmScript::text("In the blue tin."))
        .script(LlmScript::text("Übermorgen."));
    let mut talk = setup.talk().await;
    talk.ask("t1", "Where are my keys?").await;
    talk.ask("t2", "When is the picnic?").await;
    let find = async |principal: &str, text: &str| {
        let request = SearchDialoguesRequest {
            text: text.into(),
            limit: 0,
        };
        let hits = setup
            .client()
            .await
            .search_dialogues(of(principal, request))
            .await
            .expect("found")
            .into_inner()
            .hits;
        hits.into_iter()
            .map(|hit| hit.turn.expect("a turn").id)
            .collect::<Vec<_>>()
    };
    assert_eq!(find("local", "KEYS").await, ["t1"]);
    assert_eq!(find("local", "tin blue").await, ["t1"]);
    assert_eq!(find("local", "ubermorgen").await, ["t2"]);
    assert_eq!(find("local", "the").await, ["t2", "t1"], "newest first");
    assert!(find("local", "keys picnic").await.is_empty(), "all words, in one turn");
    assert!(find("eve", "keys").await.is_empty());
    assert!(find("local", "\" OR *").await.is_empty());
    let refused = setup
        .client()
        .await
        .search_dialogues(SearchDialoguesRequest::default())
        .await
        .expect_err("no words");
    assert_eq!(refused.code(), Code::InvalidArgument);
    talk.heard("t1", "In the".len(), true);
    talk.ask("t3", "Go on.").await;
    assert!(find("local", "tin").await.is_empty(), "what was not heard is not found");
}

#[tokio::test]
async fn deleting_takes_ones_own_dialogues_and_nobody_elses() {
    let setup = Setup::start().await;
    let mut mine = setup.talk().await;
    mine.ask("t1", "Mine.").await;
    setup.talk().await.ask("t1", "Mine too.").await;
    let open = OpenDialogue::default();
    let mut hers = Talk::open(setup.client().await, open, "eve").await.expect("open");
    hers.ask("t1", "Hers.").await;
    let mut client = setup.client().await;
    let one = |id: &str| DeleteDialoguesRequest {
        selector: Some(delete_dialogues_request::Selector::Id(id.into())),
    };
    let all = |yes| DeleteDialoguesRequest {
        selector: Some(delete_dialogues_request::Selector::All(yes)),
    };

    let refused = client
        .delete_dialogues(of("local", one(&hers.dialogue)))
        .await
        .expect_err("not mine");
    assert_eq!(refused.code(), Code::NotFound);
    let refused = client
        .get_dialogue(of(
            "local",
            GetDialogueRequest {
                id: hers.dialogue.clone(),
            },
        ))
        .await;
    assert_eq!(refused.expect_err("not mine").code(), Code::NotFound);
    assert_eq!(setup.gauge("turns"), 3.0);

    let deleted = client
        .delete_dialogues(of("local", one(&mine.dialogue)))
        .await
        .expect("deleted")
        .into_inner();
    assert_eq!(deleted.deleted, 1);
    assert_eq!(titles(&setup, "local", 0, "").await.0, ["Mine too."]);
    let refused = client
        .delete_dialogues(of("local", all(false)))
        .await
        .expect_err("no selector");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        client
            .delete_dialogues(of("local", all(true)))
            .await
            .expect("deleted")
            .into_inner()
            .deleted,
        1
    );
    assert_eq!(titles(&setup, "eve", 0, "").await.0, ["Hers."]);
    assert_eq!((setup.gauge("dialogues"), setup.gauge("turns")), (1.0, 1.0));

    mine.commit("t2", "Still there?");
    let ended = mine.next().await.expect_err("its dialogue was deleted");
    assert_eq!(ended.code(), Code::NotFound);
}

#[tokio::test]
async fn there_are_no_tools_yet() {
    let setup = Setup::start().await;
    let tools = setup
        .client()
        .await
        .list_tools(ListToolsRequest {})
        .await
        .expect("listed")
        .into_inner()
        .tools;
    assert!(tools.is_empty());
}

#[tokio::test]
async fn conversations_leave_after_the_days_that_are_set_and_no_sooner() {
    let setup = Setup::with("keep_dialogues_days = 30\n").await;
    for text in ["An old one", "A newer one"] {
        setup.talk().await.ask("t1", text).await;
    }
    let database = sqlx::SqlitePool::connect(setup.database().to_str().expect("UTF-8"))
        .await
        .expect("the database opens");
    for (title, days) in [("An old one", 31), ("A newer one", 29)] {
        let aged = sqlx::query("UPDATE dialogues SET updated_at = updated_at - ?1 WHERE title = ?2")
            .bind(days * 86_400_000_i64)
            .bind(title)
            .execute(&database)
            .await
            .expect("it is made older");
        assert_eq!(aged.rows_affected(), 1);
    }
    database.close().await;
    let setup = setup.kill_and_restart().await;
    setup.wait_gauge("dialogues", 1.0).await;
    assert_eq!(titles(&setup, "local", 10, "").await.0, ["A newer one"]);
}
