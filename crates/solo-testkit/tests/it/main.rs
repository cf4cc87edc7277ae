//! The fakes keep what they promise: others' tests stand on them.

use std::time::Duration;

use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::{ContentPart, GenerateRequest, Message, Role, content_part};
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::{DocumentHeader, PutDocumentRequest, SearchRequest, put_document_request, search_request};
use solo_proto::stt::v1::stt_service_client::SttServiceClient;
use solo_proto::tts::v1::tts_service_client::TtsServiceClient;
use solo_proto::tts::v1::{SynthesizeRequest, speech_event, speech_mark, synthesize_request};
use solo_testkit::{FakeLlm, FakeMemory, FakeStt, FakeTts, Gate, LlmScript, serve_at, wait_for};
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

fn question(text: &str) -> GenerateRequest {
    let part = ContentPart {
        part: Some(content_part::Part::Text(text.into())),
    };
    let message = Message {
        role: Role::User.into(),
        parts: vec![part],
        ..Message::default()
    };
    GenerateRequest {
        messages: vec![message],
        ..GenerateRequest::default()
    }
}

#[tokio::test]
async fn llm_says_its_script_and_records_the_request() {
    let llm = FakeLlm::new();
    llm.script(LlmScript::text("One two."))
        .script(LlmScript::fail(Status::resource_exhausted("full")));
    let server = llm.serve().await;
    let mut client = LlmServiceClient::new(server.channel().await);
    let mut stream = client
        .generate(question("Count."))
        .await
        .expect("accepted")
        .into_inner();
    let mut text = String::new();
    while let Some(message) = stream.message().await.expect("no error") {
        if let Some(Payload::Text(delta)) = message.payload {
            text.push_str(&delta.text);
        }
    }
    assert_eq!(text, "One two.");
    let refused = client.generate(question("Again.")).await.expect_err("scripted to fail");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(llm.requests().len(), 2);
    assert_eq!(llm.requests()[0].message, question("Count."));
    assert_eq!(llm.cancelled(), 0);
}

#[tokio::test]
async fn llm_notices_that_the_client_left() {
    let llm = FakeLlm::new();
    let gate = Gate::closed();
    llm.script(LlmScript::text("Never").then_gate(&gate).then_text("heard"));
    let server = llm.serve().await;
    let mut client = LlmServiceClient::new(server.channel().await);
    let stream = client
        .generate(question("Hello?"))
        .await
        .expect("accepted")
        .into_inner();
    gate.reached().await;
    assert_eq!(llm.running(), 1);
    drop(stream);
    llm.wait_cancelled(1).await;
    assert_eq!((llm.running(), gate.waiting()), (0, 0));
}

#[tokio::test]
async fn stopping_a_server_breaks_its_streams_and_frees_its_port() {
    let llm = FakeLlm::new();
    let gate = Gate::closed();
    llm.script(LlmScript::text("Half").then_gate(&gate));
    let server = llm.serve().await;
    let addr = server.addr;
    let mut client = LlmServiceClient::new(server.channel().await);
    let mut stream = client
        .generate(question("Hello?"))
        .await
        .expect("accepted")
        .into_inner();
    gate.reached().await;
    server.stop().await;
    let error = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if it were complete"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
        ),
        "{error:?}"
    );
    let again = serve_at(addr, llm.service()).await;
    assert_eq!(again.addr, addr);
    let mut client = LlmServiceClient::new(again.channel().await);
    client
        .generate(question("Back?"))
        .await
        .expect("the restarted server answers");
}

#[tokio::test]
async fn health_follows_what_the_test_says() {
    let server = FakeLlm::new().serve().await;
    let mut health = HealthClient::new(server.channel().await);
    for service in ["", "solo.llm.v1.LlmService"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        server.set_serving().await;
        let status = health
            .check(request.clone())
            .await
            .expect("health answers")
            .into_inner()
            .status();
        assert_eq!(status, ServingStatus::Serving, "{service:?}");
        server.set_not_serving().await;
        let status = health
            .check(request)
            .await
            .expect("health answers")
            .into_inner()
            .status();
        assert_eq!(status, ServingStatus::NotServing, "{service:?}");
    }
}

#[tokio::test]
async fn memory_finds_what_was_stored_for_the_same_principal_only() {
    let memory = FakeMemory::new();
    let server = memory.serve().await;
    let mut client = MemoryServiceClient::new(server.channel().await);
    let header = DocumentHeader {
        title: "Spare keys".into(),
        ..DocumentHeader::default()
    };
    let messages = [
        put_document_request::Payload::Header(header),
        put_document_request::Payload::Data(b"The spare keys are in the blue tin.".to_vec()),
    ]
    .map(|payload| PutDocumentRequest { payload: Some(payload) });
    client.put_document(tokio_stream::iter(messages)).await.expect("stored");
    let search = SearchRequest {
        query: Some(search_request::Query::Text("where are my spare keys".into())),
        ..SearchRequest::default()
    };
    let mut other = tonic::Request::new(search.clone());
    other
        .metadata_mut()
        .insert("solo-principal", "somebody-else".parse().expect("ASCII"));
    let hits = client.search(search).await.expect("searched").into_inner().hits;
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].citation.as_ref().expect("cited").title, "Spare keys");
    assert!(
        client
            .search(other)
            .await
            .expect("searched")
            .into_inner()
            .hits
            .is_empty()
    );
    assert_eq!(memory.searches()[1].principal(), Some("somebody-else"));
}

#[tokio::test]
async fn tts_marks_agree_with_its_text_and_its_samples() {
    let tts = FakeTts::new();
    let server = tts.serve().await;
    let mut client = TtsServiceClient::new(server.channel().await);
    let text = "Good morning. How are you?";
    let request = SynthesizeRequest {
        input: Some(synthesize_request::Input::Text(text.into())),
        voice: None,
    };
    let mut stream = client.synthesize(request).await.expect("accepted").into_inner();
    let (mut units, mut samples, mut total) = (Vec::new(), 0, None);
    while let Some(message) = stream.message().await.expect("no error") {
        match message.event.and_then(|event| event.payload).expect("a payload") {
            speech_event::Payload::Mark(mark) if mark.kind() == speech_mark::Kind::Unit => {
                assert_eq!(mark.start_sample, samples);
                units.push(text[mark.text_start as usize..mark.text_end as usize].to_owned());
            }
            speech_event::Payload::Audio(chunk) => {
                assert_eq!(chunk.first_sample, samples);
                samples += chunk.data.len() as u64 / 2;
            }
            speech_event::Payload::Summary(summary) => total = Some(summary.samples),
            _ => {}
        }
    }
    assert_eq!(units, ["Good morning.", "How are you?"]);
    assert_eq!(total, Some(samples));
}

#[tokio::test]
async fn stt_follows_its_cues() {
    use solo_proto::audio::v1::AudioChunk;
    use solo_proto::stt::v1::{
        ListenConfig, ListenControl, ListenRequest, listen_control, listen_request, listen_response,
    };
    let stt = FakeStt::new();
    stt.listen(solo_testkit::stt::utterance("what time is it", 1600, 4800, 1600));
    let server = stt.serve().await;
    let mut client = SttServiceClient::new(server.channel().await);
    let mut payloads = vec![listen_request::Payload::Config(ListenConfig::default())];
    for chunk in 0..5 {
        let audio = AudioChunk {
            data: vec![0; 3200],
            first_sample: chunk * 1600,
        };
        payloads.push(listen_request::Payload::Audio(audio));
    }
    let finalize = ListenControl {
        action: listen_control::Action::Finalize.into(),
    };
    payloads.push(listen_request::Payload::Control(finalize));
    let messages = payloads.into_iter().map(|payload| ListenRequest {
        payload: Some(payload),
        ..ListenRequest::default()
    });
    let mut stream = client
        .listen(tokio_stream::iter(messages))
        .await
        .expect("accepted")
        .into_inner();
    let mut kinds = Vec::new();
    while let Some(message) = stream.message().await.expect("no error") {
        kinds.push(match message.payload.expect("a payload") {
            listen_response::Payload::Started(_) => "started".to_owned(),
            listen_response::Payload::VoiceActivity(activity) => format!("{:?}", activity.kind()),
            listen_response::Payload::TurnEnd(_) => "turn end".to_owned(),
            listen_response::Payload::Final(words) => words.text,
            other => panic!("unexpected {other:?}"),
        });
    }
    assert_eq!(kinds, ["started", "Started", "Ended", "turn end", "what time is it"]);
    assert_eq!(stt.samples(), 8000);
}

#[tokio::test]
#[should_panic(expected = "in vain for pigs to fly")]
async fn waiting_in_vain_says_for_what() {
    wait_for("pigs to fly", Duration::from_millis(20), async || false).await;
}
