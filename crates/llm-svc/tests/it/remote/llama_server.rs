//! llama.cpp's own server, built by others, behind the engine `openai`. It is installed by `scripts/dev.sh peers`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt;
use llm_svc::answer::Reason;
use llm_svc::backend::Backend;
use llm_svc::backend::openai::OpenAi;
use llm_svc::backend::settings::{GrammarStyle, Limits};
use llm_svc::chat::{Message, Role, ToolCall, ToolChoice};
use llm_svc::llm::{Answered, Format, Generation, Input};
use llm_svc::sampling::Sampling;
use llm_svc::{DEFINITION, build};
use serde_json::{Value, json};
use solo_service::testing::Harness;
use solo_service::{ErrorCode, ServiceError};
use solo_testkit::wait_for;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::remote::service::conversation;
use crate::remote::{dialogue, failure, limits, openai_config, question, weather, whole};

const CONTEXT: usize = 512;
/// What the busy machine of a developer may take for a hundred tokens.
const SLOW: Duration = Duration::from_secs(300);

/// A running server; it ends when this is dropped, because its standard input ends.
struct Server {
    url: String,
    _process: Child,
}

/// The Python that has the server, or `None` where there is no Python at all.
fn python() -> Option<PathBuf> {
    let cache = solo_testkit::models_dir();
    let python = cache.parent().unwrap().join("venv-llama-server/bin/python");
    let python = match std::env::var_os("SOLO_LLAMA_SERVER_PYTHON") {
        Some(named) => named.into(),
        None => python,
    };
    if python.is_file() {
        return Some(python);
    }
    let probe = std::process::Command::new("python3").arg("--version").output();
    assert!(
        probe.is_err(),
        "llama.cpp's server is not installed (looked for {}): run `scripts/dev.sh peers`",
        python.display()
    );
    eprintln!(
        "\n!!! SKIPPED: there is no Python here, so no llama.cpp server to test the engine `openai` against !!!\n"
    );
    None
}

/// The server on an installed model.
async fn start(id: &str) -> Option<Server> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/llama_server.py");
    let model = solo_testkit::require_model(id, "model.gguf");
    let mut process = Command::new(python()?)
        .arg(script)
        .arg(model)
        .arg(CONTEXT.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(SLOW, lines.next_line()).await.unwrap().unwrap();
    let line = line.expect("the server says where it listens");
    Some(Server {
        url: line.strip_prefix("listening ").unwrap().to_owned(),
        _process: process,
    })
}

fn backend(server: &Server) -> OpenAi {
    let mut config = openai_config(&server.url);
    config.grammar_style = GrammarStyle::LlamaServer;
    config.limits = Limits {
        first_token_timeout_s: SLOW.as_secs_f64(),
        idle_timeout_s: SLOW.as_secs_f64(),
        ..limits()
    };
    OpenAi::new(config, None).unwrap()
}

fn sampled(text: &str, seed: u64) -> Generation {
    let sampling = Sampling {
        temperature: 1.0,
        top_p: 0.95,
        seed: Some(seed),
        ..Sampling::default()
    };
    Generation {
        sampling,
        max_tokens: 24,
        ..question(text)
    }
}

#[tokio::test]
#[ignore = "needs real weights and llama.cpp's server"]
async fn model_a_real_server_streams() {
    let Some(server) = start("smollm2-135m").await else {
        return;
    };
    let backend = backend(&server);
    assert_eq!(backend.models().await.unwrap(), ["smollm2"]);

    let request = Generation {
        logprobs: Some(2),
        max_tokens: 12,
        ..question("Say hello.")
    };
    let answer = whole(backend.generate(request).await.unwrap()).await.unwrap();
    let finished = answer.finished[0];
    assert!(
        finished.completion_tokens <= 12 && finished.prompt_tokens > 5,
        "{finished:?}"
    );
    let scores = answer.pieces.iter().filter_map(|piece| match piece {
        Answered::Text { tokens, .. } => Some(tokens),
        _ => None,
    });
    let scores: Vec<_> = scores.flatten().collect();
    assert!(
        scores.len() >= 2 && answer.pieces.len() > 3,
        "it comes in pieces: {:?}",
        answer.pieces
    );
    assert!(
        scores
            .iter()
            .all(|score| score.chosen.logprob <= 0.0 && score.alternatives.len() == 2)
    );
    let bytes: Vec<u8> = scores.iter().flat_map(|score| score.bytes.clone()).collect();
    assert!(
        String::from_utf8_lossy(&bytes).contains(answer.texts[0].trim()),
        "the tokens are the text's"
    );

    let counting = Generation {
        input: Input::Raw("1, 2, 3, 4, 5, 6,".into()),
        stop: vec![" 9".into()],
        max_tokens: 30,
        ..question("")
    };
    let counted = whole(backend.generate(counting).await.unwrap()).await.unwrap();
    assert_eq!(
        (counted.texts[0].as_str(), counted.finished[0].reason),
        (" 7, 8,", Reason::Stop)
    );

    let first = whole(backend.generate(sampled("Tell a story.", 7)).await.unwrap())
        .await
        .unwrap();
    let again = whole(backend.generate(sampled("Tell a story.", 7)).await.unwrap())
        .await
        .unwrap();
    let other = whole(backend.generate(sampled("Tell a story.", 8)).await.unwrap())
        .await
        .unwrap();
    assert_eq!(first.texts, again.texts, "same seed, same text");
    assert_ne!(first.texts, other.texts);

    let several = Generation {
        count: 2,
        ..sampled("Tell a story.", 9)
    };
    let several = whole(backend.generate(several).await.unwrap()).await.unwrap();
    assert_eq!((several.texts.len(), several.finished.len()), (2, 2));
}

#[tokio::test]
#[ignore = "needs real weights and llama.cpp's server"]
async fn model_a_real_server_obeys_and_refuses() {
    let Some(server) = start("smollm2-135m").await else {
        return;
    };
    let backend = backend(&server);
    let schema = json!({
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "warm": {"type": "boolean"}},
        "required": ["city", "warm"], "additionalProperties": false,
    });
    let request = Generation {
        format: Some(Format::JsonSchema(schema.clone())),
        ..question("Is it warm in Rome?")
    };
    let answer = whole(backend.generate(request).await.unwrap()).await.unwrap();
    let value: Value = serde_json::from_str(&answer.texts[0]).unwrap();
    jsonschema::validate(&schema, &value).unwrap();

    let grammar = Generation {
        format: Some(Format::Gbnf("root ::= \"yes\" | \"no\"".into())),
        ..question("Is it warm in Rome?")
    };
    let answer = whole(backend.generate(grammar).await.unwrap()).await.unwrap();
    assert!(["yes", "no"].contains(&answer.texts[0].as_str()), "{:?}", answer.texts);

    let nonsense = Generation {
        format: Some(Format::JsonSchema(json!({"type": "nonsense"}))),
        ..question("?")
    };
    let error = failure(backend.generate(nonsense).await).await;
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::InvalidArgument, "REMOTE_REFUSED")
    );
    assert!(error.to_string().contains("nonsense"), "{error}");

    let error = failure(backend.generate(question(&"word ".repeat(700))).await).await;
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::InvalidArgument, "CONTEXT_EXCEEDED")
    );
    assert!(error.to_string().contains(&CONTEXT.to_string()), "{error}");

    // This model's template knows no tools, and the server says nothing of it.
    let must = Generation {
        tools: vec![weather()],
        tool_choice: ToolChoice::Required,
        max_tokens: 8,
        ..question("What is the weather in Oslo?")
    };
    let error = failure(backend.generate(must).await).await;
    assert!(error.to_string().contains("called no tool"), "{error}");
}

#[tokio::test]
#[ignore = "needs real weights and llama.cpp's server"]
async fn model_a_real_server_calls_tools() {
    let Some(server) = start("qwen2.5-coder-0.5b").await else {
        return;
    };
    let backend = backend(&server);
    let ask = |messages, tool_choice| Generation {
        tools: vec![weather()],
        tool_choice,
        ..dialogue(messages)
    };
    let mut messages = vec![Message::new(Role::User, "What is the weather in Oslo?")];
    for choice in [ToolChoice::Required, ToolChoice::Named("weather".into())] {
        let answer = whole(backend.generate(ask(messages.clone(), choice)).await.unwrap())
            .await
            .unwrap();
        assert_eq!(answer.finished[0].reason, Reason::ToolCalls);
        assert!(!answer.calls.is_empty());
        for call in &answer.calls {
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            assert!(call.name == "weather" && arguments["city"].is_string(), "{call:?}");
        }
        if messages.len() == 1 {
            let call = &answer.calls[0];
            messages.push(Message {
                tool_calls: vec![ToolCall {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    arguments: serde_json::from_str(&call.arguments).unwrap(),
                }],
                ..Message::new(Role::Assistant, "")
            });
            messages.push(Message {
                tool_call_id: call.id.clone(),
                ..Message::new(Role::Tool, "Rain, 7 degrees.")
            });
            messages.push(Message::new(Role::User, "And in Rome?"));
        }
    }
    let answer = whole(backend.generate(ask(messages, ToolChoice::None)).await.unwrap())
        .await
        .unwrap();
    assert!(answer.calls.is_empty());
}

#[tokio::test]
#[ignore = "needs real weights and llama.cpp's server"]
async fn model_a_real_server_hears_that_nobody_listens() {
    let Some(server) = start("smollm2-135m").await else {
        return;
    };
    let backend = backend(&server);
    let busy = async || {
        let slots = reqwest::Client::new()
            .get(format!("{}/slots", server.url))
            .send()
            .await
            .unwrap();
        let slots: Value = serde_json::from_slice(&slots.bytes().await.unwrap()).unwrap();
        let slots = slots.as_array().unwrap().iter();
        slots.filter(|slot| slot["is_processing"] == json!(true)).count()
    };
    let endless = Generation {
        input: Input::Raw("1, 2, 3, 4, 5, 6,".into()),
        max_tokens: 400,
        ..question("")
    };
    let mut answer = backend.generate(endless).await.unwrap();
    while !matches!(answer.next().await.unwrap().unwrap(), Answered::Text { .. }) {}
    assert_eq!(busy().await, 1);
    drop(answer);
    wait_for("the slot to be free", SLOW, async || busy().await == 0).await;
}

#[tokio::test]
#[ignore = "needs real weights and llama.cpp's server"]
async fn model_a_conversation_on_a_real_server() {
    let Some(server) = start("smollm2-135m").await else {
        return;
    };
    let url = format!("{}/v1", server.url);
    let section = format!(
        "[llm]\nengine = \"openai\"\nmodel = \"smollm2\"\nmax_tokens = 24\n[llm.openai]\nbase_url = {url:?}\n\
         context_length = {CONTEXT}\n"
    );
    let harness = Harness::start(DEFINITION, &section, build).await.unwrap();
    conversation(&harness, "openai").await;
    harness.stop().await.unwrap();
}
