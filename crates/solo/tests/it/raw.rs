//! `ask --raw` against a language model that speaks the contract and nothing else.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use solo_proto::llm::v1::response_format::Format;
use solo_proto::llm::v1::tool_choice::Mode;
use solo_proto::llm::v1::{FinishReason, GenerateRequest, ToolCallDelta};
use solo_testkit::{FakeLlm, FakeServer, LlmScript, LlmStep, serve_at};

use crate::sandbox::{Sandbox, text};

/// A sandbox whose llm-svc is a fake.
struct Raw {
    sandbox: Sandbox,
    llm: FakeLlm,
    _server: FakeServer,
    _runtime: tokio::runtime::Runtime,
}

impl Raw {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let llm = FakeLlm::new();
        let address = ([127, 0, 0, 1], sandbox.port("gateway")).into();
        let server = runtime.block_on(serve_at(address, llm.service()));
        Self {
            sandbox,
            llm,
            _server: server,
            _runtime: runtime,
        }
    }

    fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.sandbox.path(name), content).unwrap();
        name.to_owned()
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.sandbox.solo(&[&["ask", "--raw"], arguments].concat())
    }

    fn asked(&self) -> GenerateRequest {
        self.llm.requests().last().unwrap().message.clone()
    }
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, words: &[&str]) {
    assert!(!output.status.success(), "{}", text(output));
    let said = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}

#[test]
fn the_answer_is_printed_and_everything_reaches_the_model() {
    let raw = Raw::new();
    let arguments = [
        "Say",
        "hello",
        "--model",
        "m1",
        "--engine",
        "candle",
        "--max-tokens",
        "7",
        "--temperature",
        "0.5",
        "--seed",
        "18446744073709551615",
        "--system",
        "Be brief.",
    ];
    assert_eq!(out(&raw.ask(&arguments)), "Hello there.\n");
    let asked = raw.asked();
    assert_eq!(
        (asked.model.as_str(), asked.engine.as_str(), asked.max_tokens),
        ("m1", "candle", 7)
    );
    let sampling = asked.sampling.unwrap();
    assert_eq!((sampling.temperature, sampling.seed), (Some(0.5), Some(u64::MAX)));
    let texts: Vec<String> = asked.messages.iter().map(solo_testkit::llm::message_text).collect();
    assert_eq!(texts, ["Be brief.", "Say hello"]);
    assert_eq!(
        (asked.tools.len(), asked.response_format, asked.tool_choice),
        (0, None, None)
    );
}

#[test]
fn json_is_one_object() {
    let raw = Raw::new();
    let written: Value = serde_json::from_str(&out(&raw.ask(&["hi", "--json"]))).unwrap();
    let usage =
        json!({"prompt_tokens": 5, "cached_tokens": 0, "completion_tokens": 2, "prefill_ms": 1, "decode_ms": 1});
    let wanted = json!({
        "model": "fake-model", "engine": "fake", "text": "Hello there.", "tool_calls": [], "finish_reason": "stop",
        "usage": usage, "queue_ms": 0,
    });
    assert_eq!(written, wanted);
}

#[test]
fn a_schema_goes_along_unchanged() {
    let raw = Raw::new();
    let schema = r#"{"type": "object", "properties": {"n": {"type": "integer", "maximum": 9007199254740991, "minimum": -0.125}}}"#;
    let file = raw.file("schema.json", schema);
    out(&raw.ask(&["hi", "--schema", &file]));
    let Some(Format::JsonSchema(sent)) = raw.asked().response_format.unwrap().format else {
        panic!()
    };
    let back = format!("{sent:?}");
    assert!(
        back.contains("NumberValue(9007199254740991.0)") && back.contains("NumberValue(-0.125)"),
        "{back}"
    );

    let mut child = raw.sandbox.command(&["ask", "--raw", "hi", "--schema", "-"]);
    let mut child = child
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(schema.as_bytes()).unwrap();
    out(&child.wait_with_output().unwrap());
    assert_eq!(
        raw.asked().response_format.unwrap().format,
        Some(Format::JsonSchema(sent))
    );
    refused(
        &raw.ask(&["-", "--schema", "-"]),
        &["cannot both come from standard input"],
    );
}

/// The deepest schema that is let through is decoded at the other end; one level more is refused here, in our words.
#[test]
fn depth_ends_here_and_not_on_the_wire() {
    let raw = Raw::new();
    let deep = |levels: usize| {
        let schema = format!("{}true{}", "{\"not\": ".repeat(levels), "}".repeat(levels));
        raw.file("deep.json", &schema)
    };
    let mut deepest = 0;
    for levels in 1..60 {
        let output = raw.ask(&["hi", "--schema", &deep(levels)]);
        if !output.status.success() {
            refused(&output, &["nested too deeply for the wire", "help:"]);
            break;
        }
        deepest = levels;
    }
    assert!((20..59).contains(&deepest), "{deepest} levels");
    assert_eq!(raw.llm.requests().len(), deepest);
}

#[test]
fn expressions_and_grammars_are_told_apart() {
    let raw = Raw::new();
    let format = || raw.asked().response_format.unwrap().format.unwrap();
    out(&raw.ask(&["hi", "--regex", "[0-9]+"]));
    assert_eq!(format(), Format::Regex("[0-9]+".into()));
    let file = raw.file("g.txt", "root ::= \"a\"\n");
    out(&raw.ask(&["hi", "--grammar", &file]));
    assert_eq!(format(), Format::Gbnf("root ::= \"a\"\n".into()));
    let file = raw.file("g.lark", "start: \"a\"\n");
    out(&raw.ask(&["hi", "--grammar", &file]));
    assert_eq!(format(), Format::Lark("start: \"a\"\n".into()));
}

#[test]
fn calls_are_printed_with_their_arguments() {
    let raw = Raw::new();
    let piece = |call: u32, id: &str, name: &str, json: &str| {
        LlmStep::ToolCall(ToolCallDelta {
            index: 0,
            call,
            id: id.into(),
            name: name.into(),
            arguments_json_delta: json.into(),
        })
    };
    let script = || {
        LlmScript::text("Let me see.")
            .then(piece(0, "c0", "add", "{\"a\": 1, "))
            .then(piece(0, "", "", "\"b\": 2}"))
            .then(piece(1, "c1", "now", "{}"))
            .then(LlmStep::Finish(FinishReason::ToolCalls))
    };
    let file = raw.file(
        "tools.json",
        r#"[{"name": "add", "parameters": {"type": "object"}}, {"name": "now"}]"#,
    );
    raw.llm.script(script());
    let printed = out(&raw.ask(&["hi", "--tools", &file, "--tool-choice", "required"]));
    assert_eq!(printed, "Let me see.\nadd {\n  \"a\": 1,\n  \"b\": 2\n}\nnow {}\n");
    let choice = raw.asked().tool_choice.unwrap();
    assert_eq!((choice.mode(), choice.parallel), (Mode::Required, true));

    raw.llm.script(script());
    let printed = out(&raw.ask(&["hi", "--tools", &file, "--tool-choice", "add", "--json"]));
    let written: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(written["finish_reason"], "tool_calls");
    assert_eq!(
        written["tool_calls"],
        json!([{"id": "c0", "name": "add", "arguments": {"a": 1, "b": 2}}, {"id": "c1", "name": "now", "arguments": {}}])
    );
    let choice = raw.asked().tool_choice.unwrap();
    assert_eq!((choice.mode(), choice.name.as_str()), (Mode::Named, "add"));
}

#[test]
fn what_is_wrong_is_said_before_anybody_is_asked() {
    let raw = Raw::new();
    let broken = raw.file("broken.json", "{\"a\": 1,\n \"b\" 2}");
    refused(
        &raw.ask(&["hi", "--schema", &broken]),
        &["broken.json: it is no JSON", "line 2 column 6", "help:"],
    );
    let number = raw.file("number.json", "{\"maximum\": 9007199254740993}");
    refused(
        &raw.ask(&["hi", "--schema", &number]),
        &["line 1 column 13", "9007199254740993 would become 9007199254740992"],
    );
    let tools = raw.file("tools.json", r#"{"name": "a"}"#);
    refused(
        &raw.ask(&["hi", "--tools", &tools]),
        &["an array of tools is wanted", "help:"],
    );
    refused(
        &raw.ask(&["hi", "--schema", "nowhere.json"]),
        &["nowhere.json cannot be read"],
    );
    let good = raw.file("good.json", r#"[{"name": "add"}]"#);
    let output = raw.ask(&["hi", "--tools", &good, "--tool-choice", "sub"]);
    refused(&output, &["there is no tool \"sub\"", "add"]);
    assert_eq!(output.status.code(), Some(2));
    refused(&raw.ask(&["hi", "--temperature", "3"]), &["0 to 2"]);
    refused(
        &raw.ask(&["hi", "--regex", "a", "--schema", &good]),
        &["cannot be used with"],
    );
    refused(&raw.ask(&["hi", "--last"]), &["cannot be used with"]);
    // Without --raw nobody would obey them.
    let output = raw.sandbox.solo(&["ask", "hi", "--schema", &good]);
    refused(&output, &["--raw"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(raw.llm.requests().is_empty());
}

#[test]
fn the_services_own_words_come_through() {
    let raw = Raw::new();
    raw.llm.script(LlmScript::fail(tonic::Status::invalid_argument(
        "the schema cannot be compiled: x",
    )));
    let output = raw.ask(&["hi"]);
    refused(&output, &["llm-svc: the schema cannot be compiled: x"]);
    assert_eq!(output.status.code(), Some(1));
    raw.llm
        .script(LlmScript::text("Half an ").then(LlmStep::Fail(tonic::Status::unavailable("stopping"))));
    let output = raw.ask(&["hi"]);
    refused(&output, &["llm-svc: stopping"]);
    assert_eq!(output.status.code(), Some(69));
    raw.llm
        .script(LlmScript::text("Long").then(LlmStep::Finish(FinishReason::Length)));
    let output = raw.ask(&["hi"]);
    assert_eq!(out(&output), "Long\n");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("--max-tokens"),
        "{}",
        text(&output)
    );

    let alone = Sandbox::new();
    let output = alone.solo(&["ask", "--raw", "hi"]);
    refused(&output, &["Solo is not running", "solo up"]);
    assert_eq!(output.status.code(), Some(69));
}
