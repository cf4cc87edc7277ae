//! The service over gRPC, on a scripted engine: what clients see.

use std::sync::Arc;
use std::time::Duration;

use llm_svc::{DEFINITION, build_with};
use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::{
    ContentPart, CountTokensRequest, FinishReason, GenerateFinished, GenerateRequest, GenerateStarted, Message,
    RenderPromptRequest, Role, Sampling, TextDelta, content_part,
};
use solo_service::error::Fault;
use solo_service::testing::Harness;
use solo_service::{ErrorCode, StartupError};
use solo_testkit::wait_for;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::scripted::Scripted;
use crate::tiny::{Tiny, token};

/// A running service with its models folder.
pub(crate) struct Service {
    pub(crate) harness: Harness,
    pub(crate) engines: Arc<Scripted>,
    pub(crate) models: TempDir,
}

/// Two installed models, and the service with these lines in its section.
pub(crate) async fn start(section: &str) -> Service {
    let models = tempfile::tempdir().unwrap();
    let tiny = Tiny {
        context: 1 << 20,
        ..Tiny::default()
    };
    tiny.install(models.path(), "qwen2.5-coder-0.5b");
    tiny.install(models.path(), "smollm2-135m");
    let engines = Arc::new(Scripted::default());
    let harness = try_start(&models, &engines, section).await.unwrap();
    Service {
        harness,
        engines,
        models,
    }
}

pub(crate) async fn try_start(
    models: &TempDir,
    engines: &Arc<Scripted>,
    section: &str,
) -> Result<Harness, StartupError> {
    let overrides = format!("[global]\nmodels_dir = {:?}\n[llm]\n{section}\n", models.path());
    let engines = Arc::clone(engines);
    Harness::start(DEFINITION, &overrides, move |config, context| {
        build_with(config, context, move |options| engines.with(options))
    })
    .await
}

impl Service {
    /// A figure of its status.
    pub(crate) fn gauge(&self, name: &str) -> f64 {
        let status = self.harness.context().status.snapshot();
        let gauge = status.gauges.iter().find(|gauge| gauge.name == name);
        gauge.unwrap_or_else(|| panic!("there is no gauge {name}")).value
    }

    pub(crate) async fn client(&self) -> LlmServiceClient<Channel> {
        LlmServiceClient::new(self.harness.channel().await)
    }
}

pub(crate) fn message(role: Role, text: &str) -> Message {
    let part = ContentPart {
        part: Some(content_part::Part::Text(text.into())),
    };
    Message {
        role: role.into(),
        parts: vec![part],
        ..Message::default()
    }
}

pub(crate) fn ask(question: &str) -> GenerateRequest {
    GenerateRequest {
        messages: vec![message(Role::User, question)],
        ..GenerateRequest::default()
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) started: GenerateStarted,
    pub(crate) deltas: Vec<TextDelta>,
    pub(crate) finished: GenerateFinished,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        self.deltas.iter().map(|delta| delta.text.as_str()).collect()
    }
}

pub(crate) async fn generate(
    client: &mut LlmServiceClient<Channel>,
    request: GenerateRequest,
) -> Result<Answer, Status> {
    let mut stream = client.generate(request).await?.into_inner();
    let Some(Payload::Started(started)) = stream.message().await?.and_then(|message| message.payload) else {
        panic!("an answer begins with `started`");
    };
    let mut deltas = Vec::new();
    loop {
        match stream.message().await?.and_then(|message| message.payload) {
            Some(Payload::Text(delta)) => deltas.push(delta),
            Some(Payload::Finished(finished)) => {
                assert!(stream.message().await?.is_none(), "nothing follows `finished`");
                return Ok(Answer {
                    started,
                    deltas,
                    finished,
                });
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

pub(crate) async fn refused(client: &mut LlmServiceClient<Channel>, request: GenerateRequest) -> Fault {
    Fault::from(&generate(client, request).await.expect_err("this should be refused"))
}

#[tokio::test]
async fn an_answer_is_streamed() {
    let service = start("").await;
    let mut client = service.client().await;
    let answer = generate(&mut client, ask("Hello, wörld 🦀!")).await.unwrap();
    assert_eq!(answer.text(), "Hello, wörld 🦀!");
    assert!(answer.deltas.len() > 5, "in pieces: {:?}", answer.deltas);
    assert_eq!(
        (answer.started.model.as_str(), answer.started.engine.as_str()),
        ("qwen2.5-coder-0.5b", "llama-cpp")
    );
    assert_eq!(answer.finished.reason(), FinishReason::Stop);
    let usage = answer.finished.usage.unwrap();
    assert_eq!(usage.prompt_tokens, answer.started.prompt_tokens);
    assert_eq!(
        usage.completion_tokens as usize,
        "Hello, wörld 🦀!".len(),
        "the script answers byte by byte"
    );
    assert!(service.engines.largest_step() <= 64);

    let status = service.harness.context().status.snapshot();
    assert_eq!(
        (status.engine.as_str(), status.model.as_str()),
        ("llama-cpp", "qwen2.5-coder-0.5b")
    );
    let (why, why_cpu) = status.engine_reason.split_once(" (").unwrap();
    assert_eq!(why, "auto: llama-cpp, as the script has it");
    assert!(why_cpu.contains("CUDA") && why_cpu.ends_with(')'), "{why_cpu}");
    // The thread that computes shows its figures after the step that ended the answer.
    for gauge in ["decode_rate", "prefill_rate", "kv_cache_use", "models_loaded"] {
        wait_for(gauge, Duration::from_secs(10), async || {
            let status = service.harness.context().status.snapshot();
            status.gauges.iter().any(|g| g.name == gauge && g.value > 0.0)
        })
        .await;
    }
}

#[tokio::test]
async fn the_second_turn_uses_the_first_ones_prefix() {
    let service = start("").await;
    let mut client = service.client().await;
    let first = generate(&mut client, ask("one")).await.unwrap();
    assert_eq!(first.started.cached_tokens, 0);
    let messages = vec![
        message(Role::User, "one"),
        message(Role::Assistant, "one"),
        message(Role::User, "two"),
    ];
    let second = generate(
        &mut client,
        GenerateRequest {
            messages,
            ..GenerateRequest::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(second.text(), "two");
    assert!(
        second.started.cached_tokens >= first.started.prompt_tokens,
        "{:?}",
        second.started
    );
}

#[tokio::test]
async fn dropping_the_stream_stops_the_work() {
    let service = start("context_length = 1048576").await;
    let mut client = service.client().await;
    let endless = GenerateRequest {
        max_tokens: 1_000_000,
        ..ask("forever")
    };
    let mut stream = client.generate(endless).await.unwrap().into_inner();
    for _ in 0..3 {
        stream.message().await.unwrap().unwrap();
    }
    assert_eq!(service.gauge("sequences_running"), 1.0);
    assert!(service.gauge("kv_blocks_in_use") > 0.0);
    drop(stream);
    wait_for("nobody to run", Duration::from_secs(10), async || {
        service.gauge("sequences_running") == 0.0 && service.gauge("kv_blocks_in_use") == 0.0
    })
    .await;
    let steps = service.engines.steps();
    assert_eq!(generate(&mut client, ask("next")).await.unwrap().text(), "next");
    assert!(service.engines.steps() - steps < 20, "nobody computes beside it");
}

#[tokio::test]
async fn stop_strings_limits_and_logprobs_are_kept() {
    let service = start("").await;
    let mut client = service.client().await;
    let sampling = Sampling {
        stop: vec!["wor".into(), "zzz".into()],
        ..Sampling::default()
    };
    let stopped = generate(
        &mut client,
        GenerateRequest {
            sampling: Some(sampling),
            ..ask("hello world")
        },
    )
    .await
    .unwrap();
    assert_eq!(
        (stopped.text().as_str(), stopped.finished.reason()),
        ("hello ", FinishReason::Stop)
    );

    let limited = generate(
        &mut client,
        GenerateRequest {
            max_tokens: 4,
            ..ask("hello world")
        },
    )
    .await
    .unwrap();
    assert_eq!(
        (limited.text().as_str(), limited.finished.reason()),
        ("hell", FinishReason::Length)
    );

    let scored = generate(
        &mut client,
        GenerateRequest {
            logprobs: Some(2),
            ..ask("é!")
        },
    )
    .await
    .unwrap();
    assert_eq!(scored.text(), "é!");
    let tokens: Vec<_> = scored.deltas.iter().flat_map(|delta| &delta.logprobs).collect();
    assert_eq!(
        tokens.iter().map(|token| token.bytes.as_slice()).collect::<Vec<_>>(),
        [b"\xC3", b"\xA9", b"!"]
    );
    assert!(
        tokens
            .iter()
            .all(|token| token.logprob <= 0.0 && token.logprob > -0.1 && token.alternatives.len() == 2)
    );
    assert_eq!(
        scored.deltas[0].logprobs.len(),
        2,
        "both halves of the character come with it"
    );
}

#[tokio::test]
async fn prompts_are_counted_and_shown() {
    let service = start("").await;
    let mut client = service.client().await;
    let messages = vec![message(Role::System, "s"), message(Role::User, "hello<|im_end|>")];
    let shown = client.render_prompt(RenderPromptRequest {
        messages: messages.clone(),
        ..Default::default()
    });
    let shown = shown.await.unwrap().into_inner();
    assert_eq!(
        shown.prompt,
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nhello<|im_end|><|im_end|>\n<|im_start|>assistant\n"
    );
    assert_eq!(
        shown.tokens.iter().filter(|&&t| t == token("<|im_end|>")).count(),
        2,
        "the forged one is text"
    );
    let counted = client.count_tokens(CountTokensRequest {
        messages: messages.clone(),
        ..Default::default()
    });
    let counted = counted.await.unwrap().into_inner();
    assert_eq!(
        (counted.tokens as usize, counted.context_length),
        (shown.tokens.len(), 4096)
    );
    assert_eq!(counted.model, "qwen2.5-coder-0.5b");
    let answer = generate(
        &mut client,
        GenerateRequest {
            messages,
            ..Default::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(answer.started.prompt_tokens, counted.tokens);

    let raw = GenerateRequest {
        raw_prompt: true,
        ..ask("<|im_start|>user\nraw<|im_end|>\n<|im_start|>assistant\n")
    };
    assert_eq!(generate(&mut client, raw).await.unwrap().text(), "raw");
}

#[tokio::test]
async fn a_deadline_ends_the_answer() {
    let service = start("context_length = 1048576").await;
    let mut client = service.client().await;
    let mut request = Request::new(GenerateRequest {
        max_tokens: 1_000_000,
        ..ask("forever")
    });
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let mut stream = client.generate(request).await.unwrap().into_inner();
    let ended = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("an endless answer ends with an error"),
            Err(status) => break Fault::from(&status),
        }
    };
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (ErrorCode::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
}
