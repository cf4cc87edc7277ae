//! What the service promises when many ask, over gRPC on real weights: answers that obey their schemas, calls of listed
//! tools, the same text for the same seed, nothing left behind.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use llm_svc::{DEFINITION, build};
use serde_json::{Value, json};
use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::tool_choice::Mode;
use solo_proto::llm::v1::{
    FinishReason, GenerateRequest, ResponseFormat, Sampling, Tool, ToolCallDelta, ToolChoice, response_format,
};
use solo_service::testing::Harness;
use solo_testkit::wait_for;
use tonic::transport::Channel;

use crate::drive::device;
use crate::grpc::{ask, message};

const MODELS: [&str; 2] = ["qwen2.5-coder-0.5b", "smollm2-135m"];
const ENGINES: [&str; 2] = ["llama-cpp", "candle"];

async fn serve(section: &str) -> Harness {
    for id in MODELS {
        solo_testkit::require_model(id, "model.gguf");
    }
    let text = format!(
        "[global]\nmodels_dir = {:?}\n[llm]\nmax_loaded_models = 4\ndevice = \"{}\"\n{section}\n",
        solo_testkit::models_dir(),
        device()
    );
    Harness::start(DEFINITION, &text, build).await.unwrap()
}

async fn client(harness: &Harness) -> LlmServiceClient<Channel> {
    LlmServiceClient::new(harness.channel().await)
}

fn gauge(harness: &Harness, name: &str) -> f64 {
    let status = harness.context().status.snapshot();
    let gauge = status.gauges.iter().find(|gauge| gauge.name == name);
    gauge.unwrap_or_else(|| panic!("there is no gauge {name}")).value
}

/// A JSON object as the wire has it.
fn structure(value: &Value) -> prost_types::Struct {
    fn wire(value: &Value) -> prost_types::Value {
        use prost_types::value::Kind;
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(flag) => Kind::BoolValue(*flag),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(values) => Kind::ListValue(prost_types::ListValue {
                values: values.iter().map(wire).collect(),
            }),
            Value::Object(_) => Kind::StructValue(structure(value)),
        };
        prost_types::Value { kind: Some(kind) }
    }
    let fields = value.as_object().unwrap().iter();
    prost_types::Struct {
        fields: fields.map(|(key, value)| (key.clone(), wire(value))).collect(),
    }
}

/// Twenty schemas: nested, enums, bounded and unbounded arrays, unions, numbers, references, optional fields.
fn schemas() -> Vec<Value> {
    let text = json!({"type": "string"});
    let object = |properties: Value, required: &[&str]| json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    vec![
        object(json!({"city": text, "country": text}), &["city", "country"]),
        object(json!({"answer": {"type": "boolean"}}), &["answer"]),
        object(json!({"colour": {"enum": ["red", "green", "blue"]}}), &["colour"]),
        object(
            json!({"age": {"type": "integer", "minimum": 0, "maximum": 120}}),
            &["age"],
        ),
        object(
            json!({"names": {"type": "array", "items": text, "minItems": 2, "maxItems": 4}}),
            &["names"],
        ),
        object(json!({"items": {"type": "array", "items": text}}), &["items"]),
        object(
            json!({"price": {"type": "number"}, "currency": {"enum": ["EUR", "USD"]}}),
            &["price", "currency"],
        ),
        object(
            json!({"person": object(json!({"name": text, "address": object(json!({"street": text, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}}), &["street", "zip"])}), &["name", "address"])}),
            &["person"],
        ),
        object(
            json!({"value": {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 12}, {"type": "null"}]}}),
            &["value"],
        ),
        object(
            json!({"kind": {"const": "note"}, "text": {"type": "string", "maxLength": 40}}),
            &["kind", "text"],
        ),
        object(json!({"on": {"type": "string", "format": "date"}}), &["on"]),
        object(
            json!({"rows": {"type": "array", "items": object(json!({"x": {"type": "integer"}, "y": {"type": "integer"}}), &["x", "y"]), "minItems": 1, "maxItems": 3}}),
            &["rows"],
        ),
        object(json!({"a": text, "b": text, "c": text}), &["b"]),
        json!({"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 9}, "minItems": 3, "maxItems": 3}),
        json!({"enum": ["yes", "no", "maybe"]}),
        json!({"anyOf": [object(json!({"error": text}), &["error"]), object(json!({"ok": {"const": true}}), &["ok"])]}),
        json!({"$defs": {"node": {"type": "object", "properties": {"name": text, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}}, "required": ["name"], "additionalProperties": false}}, "$ref": "#/$defs/node"}),
        object(
            json!({"pair": {"type": "array", "prefixItems": [text, {"type": "number"}], "minItems": 2, "maxItems": 2, "items": false}}),
            &["pair"],
        ),
        object(
            json!({"tags": {"type": "array", "items": {"enum": ["new", "old", "hot"]}, "maxItems": 5}, "score": {"type": "number", "minimum": 0, "maximum": 1}}),
            &["tags", "score"],
        ),
        object(
            json!({"code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}, "qty": {"type": "integer", "exclusiveMinimum": 0, "maximum": 99}}),
            &["code", "qty"],
        ),
    ]
}

/// What came of a request.
#[derive(Debug, Default)]
struct Whole {
    text: String,
    calls: Vec<(String, String)>,
    reason: FinishReason,
    tokens: u32,
}

async fn whole(client: &mut LlmServiceClient<Channel>, request: GenerateRequest) -> Whole {
    let mut stream = client.generate(request).await.unwrap().into_inner();
    let mut whole = Whole::default();
    while let Some(message) = stream.message().await.unwrap() {
        match message.payload.unwrap() {
            Payload::Text(delta) => whole.text.push_str(&delta.text),
            Payload::ToolCall(ToolCallDelta {
                call,
                name,
                arguments_json_delta,
                ..
            }) => {
                if call as usize == whole.calls.len() {
                    whole.calls.push((name, String::new()));
                }
                whole.calls[call as usize].1.push_str(&arguments_json_delta);
            }
            Payload::Finished(finished) => {
                whole.reason = finished.reason();
                whole.tokens = finished.usage.unwrap().completion_tokens;
            }
            Payload::Started(_) => {}
        }
    }
    whole
}

/// How often each schema is asked for on each model and engine; 10 makes 200 requests of each.
fn rounds() -> usize {
    std::env::var("SOLO_SCHEMA_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number of rounds"))
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_every_answer_satisfies_its_schema() {
    let harness = serve("").await;
    let channel = client(&harness).await;
    let schemas = schemas();
    assert_eq!(schemas.len(), 20);
    for model in MODELS {
        for engine in ENGINES {
            let requests = (0..rounds() * schemas.len()).map(|index| {
                let (schema, mut client) = (schemas[index % schemas.len()].clone(), channel.clone());
                let request = GenerateRequest {
                    model: model.into(),
                    engine: engine.into(),
                    response_format: Some(ResponseFormat {
                        format: Some(response_format::Format::JsonSchema(structure(&schema))),
                    }),
                    sampling: Some(Sampling {
                        temperature: Some(0.8),
                        ..Sampling::default()
                    }),
                    max_tokens: 80,
                    ..ask(&format!("Make up an example, number {index}, and answer in JSON."))
                };
                async move { (whole(&mut client, request).await, schema) }
            });
            let answers: Vec<(Whole, Value)> = futures::stream::iter(requests).buffer_unordered(8).collect().await;
            for (answer, schema) in &answers {
                let value: Value = serde_json::from_str(&answer.text)
                    .unwrap_or_else(|error| panic!("{model} on {engine}: {error} in {:?} for {schema}", answer.text));
                let valid = jsonschema::validator_for(schema).unwrap();
                assert!(
                    valid.is_valid(&value),
                    "{model} on {engine}: {value} is none of {schema}"
                );
                assert_eq!(answer.reason, FinishReason::Stop, "{answer:?}");
            }
            println!("{model} on {engine}: {} answers parse and validate", answers.len());
        }
    }
    harness.stop().await.unwrap();
}

fn tools() -> Vec<(Tool, Value)> {
    let tool = |name: &str, description: &str, parameters: Value| {
        let wire = Tool {
            name: name.into(),
            description: description.into(),
            parameters: Some(structure(&parameters)),
        };
        (wire, parameters)
    };
    let object = |properties: Value, required: &[&str]| json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    vec![
        tool(
            "get_weather",
            "The weather in a city",
            object(
                json!({"city": {"type": "string", "maxLength": 40}, "unit": {"enum": ["celsius", "fahrenheit"]}}),
                &["city"],
            ),
        ),
        tool(
            "set_timer",
            "Rings after some minutes",
            object(
                json!({"minutes": {"type": "integer", "minimum": 1, "maximum": 600}}),
                &["minutes"],
            ),
        ),
        tool(
            "play_music",
            "Plays a song or an artist",
            object(json!({"query": {"type": "string", "maxLength": 60}}), &["query"]),
        ),
        tool(
            "send_message",
            "Sends a message to a person",
            object(
                json!({"to": {"type": "string", "maxLength": 40}, "text": {"type": "string", "maxLength": 120}}),
                &["to", "text"],
            ),
        ),
        tool(
            "lights",
            "Switches the lights of a room",
            object(
                json!({"room": {"enum": ["kitchen", "bath", "hall"]}, "on": {"type": "boolean"}}),
                &["room", "on"],
            ),
        ),
    ]
}

/// Tokens of an answer that may call tools.
const MOST_TOKENS: u32 = 160;

const WISHES: [&str; 10] = [
    "What is the weather in Paris?",
    "Set a timer for ten minutes.",
    "Play something by Nina Simone.",
    "Tell Anna that I am late.",
    "Turn on the kitchen lights.",
    "Is it raining in Oslo?",
    "Wake me in half an hour.",
    "Lights off in the hall, please.",
    "Put on some jazz.",
    "Write to Bob: see you at eight.",
];

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_calls_name_listed_tools_and_their_arguments_validate() {
    let harness = serve("").await;
    let channel = client(&harness).await;
    let tools = tools();
    let modes = [Mode::Auto, Mode::Required, Mode::Auto, Mode::Required, Mode::None];
    let requests = (0..50).map(|index| {
        let (mode, mut client) = (modes[index / 10], channel.clone());
        let request = GenerateRequest {
            tools: tools.iter().map(|(tool, _)| tool.clone()).collect(),
            tool_choice: Some(ToolChoice {
                mode: mode.into(),
                name: String::new(),
                parallel: index % 2 == 0,
            }),
            sampling: Some(Sampling {
                temperature: Some(if index < 20 { 0.0 } else { 0.7 }),
                ..Sampling::default()
            }),
            max_tokens: MOST_TOKENS,
            ..ask(WISHES[index % 10])
        };
        async move { (whole(&mut client, request).await, mode, WISHES[index % 10]) }
    });
    let answers: Vec<(Whole, Mode, &str)> = futures::stream::iter(requests).buffer_unordered(8).collect().await;
    let mut called = 0;
    for (answer, mode, wish) in &answers {
        println!("{mode:?} {wish:?}: {:?} {:?}", answer.calls, answer.text);
        for (name, arguments) in &answer.calls {
            let (_, parameters) = tools
                .iter()
                .find(|(tool, _)| tool.name == *name)
                .expect("a listed tool");
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            assert!(
                jsonschema::validator_for(parameters).unwrap().is_valid(&arguments),
                "{name}: {arguments}"
            );
        }
        match mode {
            Mode::None => assert!(answer.calls.is_empty() && answer.reason != FinishReason::ToolCalls),
            Mode::Required => assert!(!answer.calls.is_empty(), "{answer:?}"),
            _ => {}
        }
        // Whoever goes on calling until no token is left ends for that reason, with whole calls all the same.
        match answer.reason {
            FinishReason::Length => assert_eq!(answer.tokens, MOST_TOKENS, "{answer:?}"),
            reason => assert_eq!(answer.calls.is_empty(), reason != FinishReason::ToolCalls, "{answer:?}"),
        }
        called += usize::from(!answer.calls.is_empty());
    }
    println!("{called} of {} answers call tools", answers.len());
    harness.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_the_same_seed_gives_the_same_text_alone_and_among_eight() {
    let harness = serve("").await;
    let channel = client(&harness).await;
    for engine in ENGINES {
        let seeded = |seed: u64| GenerateRequest {
            model: MODELS[1].into(),
            engine: engine.into(),
            sampling: Some(Sampling {
                temperature: Some(1.0),
                seed: Some(seed),
                ..Sampling::default()
            }),
            max_tokens: 32,
            ..ask("Tell me a story about a dragon.")
        };
        let alone = whole(&mut channel.clone(), seeded(7)).await.text;
        assert!(alone.len() > 20, "{alone:?}");
        // Half of the others have seeds, half have none.
        let crowd = (0..8).map(|index| {
            let mut request = if index == 3 { seeded(7) } else { seeded(100 + index) };
            if index % 2 == 0 {
                request.messages = vec![message(solo_proto::llm::v1::Role::User, &format!("Count to {index}0."))];
                if let Some(sampling) = &mut request.sampling {
                    sampling.seed = None;
                }
            }
            let mut client = channel.clone();
            async move { whole(&mut client, request).await.text }
        });
        let texts = futures::future::join_all(crowd).await;
        assert_eq!(texts[3], alone, "{engine}");
    }
    harness.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "needs models: cargo make test-models"]
async fn model_clients_that_vanish_leave_nothing_behind() {
    let harness = Arc::new(serve("queue = 64").await);
    let channel = client(&harness).await;
    let clients = (0..24_u32).map(|index| {
        let mut client = channel.clone();
        let request = GenerateRequest {
            model: MODELS[1].into(),
            max_tokens: 200,
            ..ask(&"word ".repeat(20 * index as usize))
        };
        async move {
            let mut stream = client.generate(request).await.unwrap().into_inner();
            // Some leave at once, some after a few messages, some stay.
            for _ in 0..(index % 6) * 4 {
                if stream.message().await.unwrap().is_none() {
                    break;
                }
            }
        }
    });
    futures::future::join_all(clients).await;
    wait_for("everybody to be gone", Duration::from_secs(60), async || {
        gauge(&harness, "sequences_running") == 0.0
            && gauge(&harness, "sequences_waiting") == 0.0
            && gauge(&harness, "kv_blocks_in_use") == 0.0
    })
    .await;
    assert!(gauge(&harness, "kv_blocks_kept") > 0.0, "what was computed is cache");
    let answer = whole(&mut channel.clone(), ask("What is the capital of France?")).await;
    assert!(answer.text.contains("Paris"), "{answer:?}");
}
