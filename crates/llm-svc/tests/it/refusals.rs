//! What is refused over gRPC: each case in its own words and with its own code, and the service lives on.

use std::time::Duration;

use futures::StreamExt;
use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::tool_choice::Mode;
use solo_proto::llm::v1::{
    CountTokensRequest, GenerateRequest, Message, ResponseFormat, Role, Sampling, Tool, ToolChoice, response_format,
};
use solo_service::ErrorCode;
use solo_testkit::wait_for;

use crate::grpc::{ask, generate, message, refused, start};

#[tokio::test]
async fn wrong_requests_are_refused_each_in_its_own_words() {
    let service = start("context_length = 128\nmax_prompt_bytes = 4096").await;
    let mut client = service.client().await;
    let with = |sampling: Sampling| GenerateRequest {
        sampling: Some(sampling),
        ..ask("x")
    };
    let role = |role: i32| GenerateRequest {
        messages: vec![Message {
            role,
            ..message(Role::User, "x")
        }],
        ..ask("x")
    };
    let regex = |regex: &str| ResponseFormat {
        format: Some(response_format::Format::Regex(regex.into())),
    };
    let tool = |name: &str| Tool {
        name: name.into(),
        ..Tool::default()
    };
    let stop = vec!["s".into(); 17];
    let cases = [
        (
            ask(&"x".repeat(5000)),
            ErrorCode::InvalidArgument,
            "PROMPT_TOO_LARGE",
            "5000 bytes, at most 4096",
        ),
        (
            ask(&"x ".repeat(300)),
            ErrorCode::InvalidArgument,
            "CONTEXT_EXCEEDED",
            "the context of qwen2.5-coder-0.5b holds 128",
        ),
        (
            GenerateRequest {
                model: "gpt-9".into(),
                ..ask("x")
            },
            ErrorCode::NotFound,
            "UNKNOWN_MODEL",
            "there is no model \"gpt-9\"",
        ),
        (
            GenerateRequest {
                model: "/etc/passwd".into(),
                ..ask("x")
            },
            ErrorCode::NotFound,
            "UNKNOWN_MODEL",
            "/etc/passwd",
        ),
        (
            GenerateRequest {
                model: "whisper-base".into(),
                ..ask("x")
            },
            ErrorCode::NotFound,
            "UNKNOWN_MODEL",
            "whisper-base",
        ),
        (
            GenerateRequest {
                model: "qwen2.5-coder-1.5b".into(),
                ..ask("x")
            },
            ErrorCode::NotFound,
            "MODEL_NOT_INSTALLED",
            "run `solo models pull qwen2.5-coder-1.5b`",
        ),
        (
            role(77),
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "messages[0].role is 77",
        ),
        (
            role(0),
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "messages[0].role is unset",
        ),
        (
            GenerateRequest::default(),
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "messages is empty",
        ),
        (
            GenerateRequest {
                engine: "vllm".into(),
                ..ask("x")
            },
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "`vllm`",
        ),
        (
            GenerateRequest {
                logprobs: Some(21),
                ..ask("x")
            },
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "logprobs is 21",
        ),
        (
            with(Sampling {
                temperature: Some(f32::NAN),
                ..Default::default()
            }),
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "temperature is NaN",
        ),
        (
            with(Sampling {
                top_p: Some(-0.1),
                ..Default::default()
            }),
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "top_p is -0.1",
        ),
        (
            with(Sampling {
                stop,
                ..Default::default()
            }),
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "17 strings",
        ),
        (
            with(Sampling {
                logit_bias: [(9_999, 1.0)].into(),
                ..Default::default()
            }),
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "token 9999",
        ),
        (
            GenerateRequest {
                tools: vec![Tool::default()],
                ..ask("x")
            },
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "tools[0].name: is \"\": 1 to 64 letters",
        ),
        (
            GenerateRequest {
                tools: vec![tool("clock"), tool("clock")],
                ..ask("x")
            },
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "tools[1].name: is \"clock\", as another tool's",
        ),
        (
            GenerateRequest {
                tools: vec![tool("clock")],
                tool_choice: Some(ToolChoice {
                    mode: Mode::Named.into(),
                    name: "oven".into(),
                    parallel: false,
                }),
                ..ask("x")
            },
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "tool_choice.name: is \"oven\", which is none of the tools",
        ),
        (
            GenerateRequest {
                tool_choice: Some(ToolChoice {
                    mode: Mode::Required.into(),
                    ..ToolChoice::default()
                }),
                ..ask("x")
            },
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "there are no tools",
        ),
        (
            GenerateRequest {
                tools: vec![tool("clock")],
                response_format: Some(regex("a+")),
                ..ask("x")
            },
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "exclude each other",
        ),
        (
            GenerateRequest {
                response_format: Some(regex("")),
                ..ask("x")
            },
            ErrorCode::InvalidArgument,
            "GRAMMAR_NOT_SUPPORTED",
            "response_format.regex: is no regex that can be used: it is empty",
        ),
        (
            GenerateRequest { n: 9, ..ask("x") },
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "n is 9: 1 to 8 is wanted",
        ),
        (
            GenerateRequest {
                raw_prompt: true,
                ..ask("")
            },
            ErrorCode::InvalidArgument,
            "INVALID_REQUEST",
            "empty prompt",
        ),
    ];
    for (request, code, reason, words) in cases {
        let fault = refused(&mut client, request).await;
        assert_eq!((fault.code, fault.reason.as_str()), (code, reason), "{fault:?}");
        assert!(
            fault.message.contains(words),
            "{:?} does not say {words:?}",
            fault.message
        );
    }
    assert_eq!(
        generate(&mut client, ask("fine")).await.unwrap().text(),
        "fine",
        "and it still serves"
    );
}

#[tokio::test]
async fn a_damaged_file_is_told_with_the_remedy() {
    let service = start("").await;
    let path = service.models.path().join("smollm2-135m/model.gguf");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let mut client = service.client().await;
    let request = GenerateRequest {
        model: "smollm2-135m".into(),
        ..ask("x")
    };
    let fault = refused(&mut client, request.clone()).await;
    assert_eq!(
        (fault.code, fault.reason.as_str()),
        (ErrorCode::FailedPrecondition, "MODEL_DAMAGED")
    );
    assert!(
        fault.message.contains("cut short") && fault.message.contains("run `solo models verify smollm2-135m`"),
        "{fault:?}"
    );
    // Mended, it works at once.
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(generate(&mut client, request).await.unwrap().text(), "x");
}

#[tokio::test]
async fn an_engine_that_fails_is_an_error_and_the_next_request_works() {
    let service = start("").await;
    let mut client = service.client().await;
    let fault = refused(&mut client, ask("fail")).await;
    assert_eq!(
        (fault.code, fault.reason.as_str()),
        (ErrorCode::Internal, "ENGINE_FAILED")
    );
    assert!(fault.message.starts_with("internal error"), "{}", fault.message);
    let fault = refused(&mut client, ask("nothing")).await;
    assert_eq!(
        (fault.code, fault.reason.as_str()),
        (ErrorCode::FailedPrecondition, "MODEL_DAMAGED")
    );
    assert_eq!(generate(&mut client, ask("again")).await.unwrap().text(), "again");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let service = start("queue = 1\nparallel = 1").await;
    let mut client = service.client().await;
    let mut running = client.generate(ask("wait")).await.unwrap().into_inner();
    assert!(matches!(
        running.message().await.unwrap().unwrap().payload,
        Some(Payload::Started(_))
    ));
    let waiting = client.generate(ask("second")).await.unwrap().into_inner();
    let status = &service.harness.context().status;
    wait_for("a waiting request", Duration::from_secs(10), async || {
        status.snapshot().queue.is_some_and(|queue| queue.depth == 1)
    })
    .await;
    let fault = refused(&mut client, ask("third")).await;
    assert_eq!(
        (fault.code, fault.reason.as_str()),
        (ErrorCode::ResourceExhausted, "QUEUE_FULL")
    );
    // What needs no engine is answered meanwhile.
    let count = CountTokensRequest {
        messages: vec![message(Role::User, "x")],
        ..Default::default()
    };
    assert!(client.count_tokens(count).await.is_ok());
    service.engines.open_gate();
    let answers: Vec<_> = waiting.collect().await;
    assert!(matches!(
        answers.last().unwrap().as_ref().unwrap().payload,
        Some(Payload::Finished(_))
    ));
}
