//! The service with a server in place of its engine, over gRPC.

use llm_svc::{DEFINITION, build};
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::{
    CountTokensRequest, FinishReason, GenerateRequest, GetModelRequest, ListModelsRequest, RenderPromptRequest, Role,
};
use solo_service::error::Fault;
use solo_service::testing::Harness;
use solo_service::{ErrorCode, StartupError};
use tokio::net::TcpListener;

use crate::grpc::{ask, generate, message, refused, start};
use crate::remote::echo;
use crate::remote::openai::simple;
use crate::remote::peer::{Peer, Reply};

/// The service with these sections.
async fn service(sections: &str) -> Result<Harness, StartupError> {
    Harness::start(DEFINITION, sections, build).await
}

fn ollama(url: &str, model: &str, more: &str) -> String {
    format!("[llm]\nengine = \"ollama\"\nmodel = {model:?}\n[llm.ollama]\nbase_url = {url:?}\n{more}\n")
}

/// The conversation that every engine must hold.
pub(crate) async fn conversation(harness: &Harness, engine: &str) {
    let mut client = LlmServiceClient::new(harness.channel().await);
    let first = generate(&mut client, ask("Remember the word crab.")).await.unwrap();
    assert_eq!(first.started.engine, engine);
    assert!(!first.text().is_empty());
    let request = GenerateRequest {
        messages: vec![
            message(Role::System, "Be brief."),
            message(Role::User, "Remember the word crab."),
            message(Role::Assistant, &first.text()),
            message(Role::User, "Which word?"),
        ],
        max_tokens: 16,
        ..ask("")
    };
    let second = generate(&mut client, request).await.unwrap();
    let usage = second.finished.usage.unwrap();
    assert!(!second.text().is_empty() && usage.completion_tokens <= 16 && usage.prompt_tokens > 0);
    assert!(matches!(
        second.finished.reason(),
        FinishReason::Stop | FinishReason::Length
    ));
}

#[tokio::test]
async fn a_conversation_on_ollama() {
    let harness = service(&ollama(&echo::start().await, "echo", "")).await.unwrap();
    conversation(&harness, "ollama").await;
    let status = harness.context().status.snapshot();
    assert_eq!(
        (status.engine.as_str(), status.model.as_str(), status.device.as_str()),
        ("ollama", "echo", "remote")
    );
    let mut client = LlmServiceClient::new(harness.channel().await);
    let models = client
        .list_models(ListModelsRequest {})
        .await
        .unwrap()
        .into_inner()
        .models;
    assert_eq!(
        (models[0].id.as_str(), models[0].engine.as_str()),
        ("echo:latest", "ollama")
    );
    assert!(models[0].installed && models[0].context_length == 4096);
    assert!(models.iter().skip(1).all(|model| model.engine != "ollama"));
    let model = client
        .get_model(GetModelRequest::default())
        .await
        .unwrap()
        .into_inner()
        .model
        .unwrap();
    assert_eq!(model.id, "echo");
    let unknown = client
        .get_model(GetModelRequest { model: "other".into() })
        .await
        .unwrap_err();
    assert_eq!(Fault::from(&unknown).reason, "UNKNOWN_MODEL");
    harness.stop().await.unwrap();
}

#[tokio::test]
async fn tokens_are_estimated_and_prompts_are_the_servers() {
    let harness = service(&ollama(&echo::start().await, "echo", "context_length = 1000"))
        .await
        .unwrap();
    let mut client = LlmServiceClient::new(harness.channel().await);
    let messages = vec![message(Role::User, "How many tokens might this be? 🦀")];
    let request = CountTokensRequest {
        messages: messages.clone(),
        ..CountTokensRequest::default()
    };
    let counted = client.count_tokens(request).await.unwrap().into_inner();
    assert!(counted.estimated && counted.context_length == 1000 && counted.model == "echo");
    assert_eq!(counted.tokens, 16 + 8 + 31_u32.div_ceil(3) + 1);
    let request = RenderPromptRequest {
        messages,
        ..RenderPromptRequest::default()
    };
    let fault = Fault::from(&client.render_prompt(request).await.unwrap_err());
    assert_eq!(
        (fault.code, fault.reason.as_str()),
        (ErrorCode::FailedPrecondition, "UNSUPPORTED_BY_ENGINE")
    );
}

#[tokio::test]
async fn a_service_without_its_server_does_not_start() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let patience = "[llm.ollama.limits]\nstart_timeout_s = 0.3";
    let error = service(&ollama(&url, "echo", patience)).await.err().unwrap();
    assert_eq!(error.exit_code(), 69);
    assert!(
        error.to_string().contains("start it, or correct llm.ollama.base_url"),
        "{error}"
    );

    let missing = service(&ollama(&echo::start().await, "other", "")).await.err().unwrap();
    assert_eq!(missing.exit_code(), 66);
    assert!(missing.to_string().contains("`ollama pull other`"), "{missing}");

    let key = service(&ollama(&url, "echo", "api_key_env = \"SOLO_TEST_NO_SUCH_KEY\""))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&key, StartupError::Config(text) if text.contains("SOLO_TEST_NO_SUCH_KEY")),
        "{key}"
    );
}

#[tokio::test]
async fn a_server_that_fails_later_is_an_error_per_request() {
    let list = || Reply::ok([r#"{"data":[{"id":"a/b"}]}"#]);
    let peer = Peer::start([list(), Reply::status(500, ["boom"]), simple("hi")]).await;
    let url = format!("{}/v1", peer.url);
    let section = format!("[llm]\nengine = \"openai\"\nmodel = \"a/b\"\n[llm.openai]\nbase_url = {url:?}\n");
    let harness = service(&section).await.unwrap();
    let mut client = LlmServiceClient::new(harness.channel().await);
    let fault = refused(&mut client, ask("?")).await;
    assert_eq!(
        (fault.code, fault.reason.as_str()),
        (ErrorCode::Unavailable, "REMOTE_FAILED")
    );
    let answer = generate(&mut client, ask("?")).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.started.model.as_str()), ("hi", "a/b"));
    assert_eq!(peer.seen()[2].body["max_tokens"], 512);
}

#[tokio::test]
async fn a_request_may_name_a_server_that_is_enabled() {
    let url = echo::start().await;
    let service = start(&format!("[llm.ollama]\nenabled = true\nbase_url = {url:?}\n")).await;
    let mut client = service.client().await;
    let named = |engine: &str| GenerateRequest {
        model: "echo".into(),
        engine: engine.into(),
        ..ask("hello there")
    };
    let answer = generate(&mut client, named("ollama")).await.unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.started.engine.as_str()),
        ("hello there", "ollama")
    );
    let fault = refused(&mut client, named("openai")).await;
    assert_eq!(
        (fault.code, fault.reason.as_str()),
        (ErrorCode::FailedPrecondition, "ENGINE_NOT_ENABLED")
    );
    assert!(fault.message.contains("llm.openai.enabled = true"), "{}", fault.message);
    let models = client
        .list_models(ListModelsRequest {})
        .await
        .unwrap()
        .into_inner()
        .models;
    assert_eq!(models[0].id, "qwen2.5-coder-0.5b");
    assert!(
        models
            .iter()
            .any(|model| model.id == "echo:latest" && model.engine == "ollama")
    );
}
