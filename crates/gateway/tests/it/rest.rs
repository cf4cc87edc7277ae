//! REST and the page.

use serde_json::json;
use solo_testkit::memory::hit;
use solo_testkit::{AgentScript, AgentStep};
use tonic::Status;

use crate::http::{ask, get, post_json};
use crate::world::World;

#[tokio::test]
async fn chat_answers_at_once() {
    let world = World::new().await;
    world.agent.reply("It is noon. Have lunch.");
    let answer = post_json(world.http, "/chat", json!({ "message": "What time is it?" })).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    assert!(answer.header("x-request-id").is_some());
    let body = answer.json();
    assert_eq!(
        (&body["reply"], &body["dialogue"]),
        (&json!("It is noon. Have lunch."), &json!("dialogue-1"))
    );
    assert_eq!(
        (&body["citations"], &body["usage"]["prompt_tokens"]),
        (&json!([]), &json!(10))
    );
    assert!(body["stages_ms"]["llm_first_token"].is_i64() && body["stages_ms"]["stt"].is_null());
    let again = post_json(
        world.http,
        "/chat",
        json!({ "message": "And now?", "dialogue": "dialogue-1" }),
    )
    .await;
    assert_eq!(again.json()["dialogue"], "dialogue-1");
    world.idle().await;
}

#[tokio::test]
async fn chat_can_speak() {
    let world = World::new().await;
    let answer = post_json(world.http, "/chat", json!({ "message": "Hello?", "speak": true }))
        .await
        .json();
    assert_eq!(answer["audio"]["media_type"], "audio/wav");
    // A header of 44 bytes and 12 bytes of text at 20 ms each.
    assert_eq!(
        answer["audio"]["data"].as_str().unwrap().len(),
        (44usize + 12 * 441 * 2).div_ceil(3) * 4
    );
    assert!(answer.get("speech_error").is_none());
}

#[tokio::test]
async fn chat_streams_to_who_asks_for_it() {
    let world = World::new().await;
    let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let answer = ask(world.http, "POST", "/chat", &headers, br#"{"message":"Hello?"}"#).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let text = answer.text();
    let events: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(events, ["text", "text", "done"], "{text}");
    assert!(text.contains(r#"data: {"delta":"Hello "}"#), "{text}");
    assert!(text.contains(r#""reply":"Hello there.""#), "{text}");
}

#[tokio::test]
async fn chat_that_fails_is_a_problem() {
    let world = World::new().await;
    let script = AgentScript::text("Well").then(AgentStep::FailStream(Status::resource_exhausted("the queue is full")));
    world.agent.script(script);
    let answer = post_json(world.http, "/chat", json!({ "message": "Hello?" })).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (429, Some("application/problem+json"))
    );
    let problem = answer.json();
    assert_eq!(
        (&problem["service"], &problem["status"]),
        (&json!("agent-svc"), &json!(429))
    );
    assert!(
        problem["detail"].as_str().unwrap().contains("the queue is full"),
        "{problem}"
    );
    let unknown = post_json(
        world.http,
        "/chat",
        json!({ "message": "Hello?", "dialogue": "nowhere" }),
    )
    .await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn wrong_requests_each_say_what_is_wrong() {
    let world = World::with("gateway.limits.max_body_bytes = 2000").await;
    let json_type = [("content-type", "application/json")];
    let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(5000));
    let form = [("content-type", "multipart/form-data; boundary=b")];
    let no_file = b"--b\r\ncontent-disposition: form-data; name=\"f\"\r\n\r\nx\r\n--b--\r\n";
    let cases = [
        (
            ask(world.http, "POST", "/chat", &json_type, b"{").await,
            400,
            "BAD_JSON",
        ),
        (
            ask(world.http, "POST", "/chat", &json_type, br#"{"massage":""}"#).await,
            400,
            "BAD_JSON",
        ),
        (
            ask(world.http, "POST", "/chat", &json_type, br#"{"message":" "}"#).await,
            400,
            "EMPTY_TEXT",
        ),
        (
            ask(world.http, "POST", "/chat", &[("content-type", "text/plain")], b"{}").await,
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            ask(world.http, "POST", "/chat", &json_type, long.as_bytes()).await,
            413,
            "BODY_TOO_LARGE",
        ),
        (
            ask(world.http, "POST", "/transcribe", &[], &[0; 5000]).await,
            413,
            "BODY_TOO_LARGE",
        ),
        (
            ask(world.http, "POST", "/transcribe", &[], b"").await,
            400,
            "EMPTY_AUDIO",
        ),
        (
            ask(world.http, "POST", "/transcribe", &form, no_file).await,
            400,
            "NO_FILE",
        ),
        (
            ask(world.http, "POST", "/transcribe?lang=en", &[], b"x").await,
            400,
            "BAD_QUERY",
        ),
        (
            post_json(world.http, "/speak", json!({ "text": "" })).await,
            400,
            "EMPTY_TEXT",
        ),
        (
            post_json(world.http, "/speak", json!({ "text": "hi", "voice": "nobody" })).await,
            404,
            "NOT_FOUND",
        ),
        (
            post_json(world.http, "/speak", json!({ "text": "hi", "ssml": "<speak/>" })).await,
            400,
            "TEXT_AND_SSML",
        ),
        (
            ask(
                world.http,
                "POST",
                "/speak",
                &[("accept", "image/png"), json_type[0]],
                br#"{"text":"hi"}"#,
            )
            .await,
            400,
            "FORMAT_UNSUPPORTED",
        ),
        (get(world.http, "/search").await, 400, "BAD_QUERY"),
        (
            ask(world.http, "POST", "/documents", &[], b"text").await,
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (get(world.http, "/documents/nothing").await, 404, "NOT_FOUND"),
        (get(world.http, "/nowhere").await, 404, "NO_SUCH_PAGE"),
        (get(world.http, "/chat").await, 405, "METHOD_NOT_ALLOWED"),
    ];
    for (answer, status, reason) in cases {
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["reason"]),
            (status, &json!(reason)),
            "{problem}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{problem}"
        );
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn strangers_are_refused() {
    let world = World::with(r#"gateway.allowed_origins = ["https://home.example"]"#).await;
    let refused = ask(world.http, "GET", "/status", &[("host", "evil.example")], b"").await;
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (403, &json!("HOST_NOT_ALLOWED"))
    );
    let refused = ask(world.http, "GET", "/status", &[("origin", "http://evil.example")], b"").await;
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (403, &json!("ORIGIN_NOT_ALLOWED"))
    );
    let origin = [("origin", "https://home.example")];
    let allowed = ask(world.http, "GET", "/healthz", &origin, b"").await;
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (200, Some("https://home.example"))
    );
    let preflight = ask(world.http, "OPTIONS", "/chat", &origin, b"").await;
    assert_eq!(preflight.status, 204);
}

#[tokio::test]
async fn recordings_are_transcribed_raw_and_from_forms() {
    let world = World::new().await;
    world.stt.transcript(Ok("good morning"));
    let raw = ask(
        world.http,
        "POST",
        "/transcribe?language=en",
        &[("content-type", "audio/wav")],
        b"RIFFxxxx",
    )
    .await
    .json();
    assert_eq!((&raw["text"], &raw["language"]), (&json!("good morning"), &json!("en")));
    assert_eq!(
        raw["segments"],
        json!([{ "start_ms": 0, "end_ms": 1000, "text": "good morning" }])
    );
    let form = [("content-type", "multipart/form-data; boundary=b")];
    let body = b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFFyyyy\r\n--b--\r\n";
    assert_eq!(
        ask(world.http, "POST", "/transcribe", &form, body).await.json()["text"],
        "good morning"
    );
    let given = world.stt.transcriptions();
    assert_eq!(
        (given[0].1.as_slice(), given[1].1.as_slice()),
        (&b"RIFFxxxx"[..], &b"RIFFyyyy"[..])
    );
    assert_eq!(given[0].0.message.language, "en");

    world
        .stt
        .transcript(Err(Status::invalid_argument("the WAV file is truncated")));
    let refused = ask(world.http, "POST", "/transcribe", &[], b"RIFF").await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["detail"].as_str().unwrap().contains("truncated"));
}

#[tokio::test]
async fn texts_are_spoken_as_wav() {
    let world = World::new().await;
    let answer = post_json(world.http, "/speak", json!({ "text": "Hello there. Good day." })).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("audio/wav")));
    assert_eq!((&answer.body[..4], &answer.body[8..12]), (&b"RIFF"[..], &b"WAVE"[..]));
    assert_eq!(answer.body.len(), 44 + 21 * 441 * 2);
}

#[tokio::test]
async fn a_caller_chooses_the_format_of_speech() {
    let world = World::new().await;
    let body = json!({ "text": "Hello there.", "format": "pcm" });
    let answer = post_json(world.http, "/speak", body).await;
    assert_eq!(answer.status, 200);
    let media_type = answer.header("content-type").unwrap();
    assert!(media_type.starts_with("audio/pcm;rate="), "{media_type}");
    assert_eq!(answer.body.len(), 12 * 441 * 2, "samples and no header");
    let headers = [("accept", "audio/pcm"), ("content-type", "application/json")];
    let same = ask(world.http, "POST", "/speak", &headers, br#"{"text":"Hello there."}"#).await;
    assert_eq!(same.body, answer.body);
    // The fake speaks s16le whatever it is asked for: that is not handed on under another name.
    let body = json!({ "text": "Hello there.", "format": "opus" });
    assert_eq!(post_json(world.http, "/speak", body).await.status, 503);
    let body = json!({ "text": "Hello there.", "format": "flac" });
    assert_eq!(post_json(world.http, "/speak", body).await.status, 400);
}

#[tokio::test]
async fn documents_come_and_go_and_are_found() {
    let world = World::new().await;
    let put = post_json(
        world.http,
        "/documents",
        json!({ "text": "The spare keys hang behind the door.", "title": "Keys" }),
    )
    .await;
    assert_eq!(put.status, 201);
    let id = put.json()["document"]["id"].as_str().unwrap().to_owned();
    assert_eq!(put.header("location"), Some(format!("/documents/{id}").as_str()));
    let markdown = [("content-type", "text/markdown; charset=utf-8")];
    let put = ask(
        world.http,
        "POST",
        "/documents?title=Tea",
        &markdown,
        b"# Tea\nGreen tea, three minutes.",
    )
    .await;
    assert_eq!((put.status, &put.json()["document"]["title"]), (201, &json!("Tea")));
    assert_eq!(world.memory.documents()[1].header.media_type, "text/markdown");
    assert_eq!(
        get(world.http, "/documents").await.json()["documents"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        get(world.http, &format!("/documents/{id}")).await.json()["title"],
        "Keys"
    );
    let found = get(world.http, "/search?q=where%20are%20the%20spare%20keys&limit=1")
        .await
        .json();
    assert_eq!(
        (&found[0]["source"], found.as_array().unwrap().len()),
        (&json!("Keys"), 1)
    );
    assert_eq!(world.memory.searches()[0].principal(), Some("local"));
    let passage = get(world.http, &format!("/documents/{id}/passage?start=4&end=14"))
        .await
        .json();
    assert_eq!(passage["text"], "spare keys");
    assert_eq!(passage["document"]["title"], "Keys");
    let whole = get(world.http, &format!("/documents/{id}/passage")).await.json();
    assert_eq!(whole["text"], "The spare keys hang behind the door.");
    assert_eq!(get(world.http, "/documents/x/passage").await.status, 404);
    assert_eq!(
        get(world.http, &format!("/documents/{id}/passage?from=1")).await.status,
        400
    );
    let gone = ask(world.http, "DELETE", &format!("/documents/{id}"), &[], b"").await;
    assert_eq!((gone.status, gone.json()), (200, json!({ "deleted": 1 })));
    world.memory.set_hits(vec![hit("Notes", "Something.", 0.5)]);
    let found = get(world.http, "/search?q=x").await.json();
    assert_eq!((&found[0]["id"], &found[0]["score"]), (&json!("notes-1"), &json!(0.5)));
}

#[tokio::test]
async fn readiness_tells_what_is_missing() {
    let mut world = World::new().await;
    assert_eq!(get(world.http, "/healthz").await.text(), "ok\n");
    world.servers.tts.take().unwrap().stop().await;
    let wait = async |wanted: u16, field: &'static str, service: &'static str| {
        solo_testkit::wait_for("readiness to change", crate::world::PATIENCE, async || {
            let answer = get(world.http, "/readyz").await;
            answer.status == wanted && answer.json()[field].as_array().unwrap().contains(&json!(service))
        })
        .await;
    };
    wait(200, "degraded", "tts-svc").await;
    let llm = world.servers.llm.take().unwrap();
    llm.set_not_serving().await;
    wait(503, "not_serving", "llm-svc").await;
    assert_eq!(get(world.http, "/readyz").await.json()["ready"], false);
}

#[tokio::test]
async fn status_lists_all_services() {
    let world = World::new().await;
    let status = get(world.http, "/status").await.json();
    assert_eq!(status["ready"], true);
    let services: Vec<&str> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|at| at["service"].as_str().unwrap())
        .collect();
    assert_eq!(
        services,
        [
            "gateway",
            "agent-svc",
            "llm-svc",
            "stt-svc",
            "tts-svc",
            "memory-svc",
            "wake-svc"
        ]
    );
    let gateway = &status["services"][0]["status"];
    assert_eq!(
        (&gateway["state"], gateway["pid"].as_u64()),
        (&json!("SERVICE_STATE_SERVING"), Some(u64::from(std::process::id())))
    );
    // The fakes have no status service, which is a fault that is told.
    assert!(!status["services"][1]["error"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let world = World::new().await;
    for (path, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/sound.js", "text/javascript; charset=utf-8"),
        ("/services.js", "text/javascript; charset=utf-8"),
        ("/audio.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
    ] {
        let answer = get(world.http, path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(media_type)),
            "{path}"
        );
        assert!(
            answer
                .header("content-security-policy")
                .unwrap()
                .contains("default-src 'none'")
        );
        let text = answer.text();
        for word in ["https://", "http://", "//cdn", "<script>", " onclick", "style="] {
            assert!(!text.contains(word), "{word} in {path}");
        }
    }
}
