//! What a schema costs.
//!
//! Two schemas: one string, in which every token needs its mask and none is forced, so that the whole cost of constraining
//! shows; and records with enums, bounds and arrays, as tools have them, where the engine may feed what the schema leaves
//! no choice about in one go. Each is compared with the same prompt without a schema, made as many tokens long. The rate
//! is that of the whole request — the compiling of the schema is in it, the prompt is in the prefix cache for both — and
//! counts the tokens of the answer, forced ones included: they are what the client gets.

use serde_json::{Value, json};

use super::{Samples, Stage};
use crate::llm::client::{Chat, json_schema, request};
use crate::llm::{Who, prompts};
use solo_proto::llm::v1::Role;

const MAX_TOKENS: u32 = 128;

/// Both schemas, beside the same request without one.
pub async fn constrained(stage: &mut Stage, samples: &mut Samples, round: usize) {
    let number = 40_000 + round;
    let question = prompts::question(round);
    let string = vec![
        (
            Role::System,
            format!("{} You answer in JSON.", prompts::text(number, 12)),
        ),
        (
            Role::User,
            format!("{question} Give it all in one string, as {{\"answer\": \"…\"}}."),
        ),
    ];
    let schema = json!({
        "type": "object",
        "properties": {"answer": {"type": "string"}},
        "required": ["answer"],
        "additionalProperties": false,
    });
    pair(stage, samples, round, "string", &string, &schema).await;

    let record = vec![
        (
            Role::System,
            format!("{} You answer in JSON.", prompts::text(number, 14)),
        ),
        (
            Role::User,
            "Invent ten members of a sailing club: name, age, role, boats, home.".to_owned(),
        ),
    ];
    pair(stage, samples, round, "record", &record, &members()).await;
}

fn members() -> Value {
    json!({
        "type": "array",
        "minItems": 10,
        "maxItems": 10,
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "age": {"type": "integer", "minimum": 18, "maximum": 99},
                "role": {"enum": ["member", "captain", "treasurer", "guest"]},
                "boats": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
                "home": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "island": {"type": "boolean"}},
                    "required": ["city", "island"],
                    "additionalProperties": false,
                },
            },
            "required": ["name", "age", "role", "boats", "home"],
            "additionalProperties": false,
        },
    })
}

async fn pair(stage: &mut Stage, samples: &mut Samples, round: usize, name: &str, chat: &Chat, schema: &Value) {
    // Not timed: it brings the prompt into the prefix cache, for both.
    stage.ours.ask(request(chat, 1)).await.expect("llm-svc answers");
    let order = if round.is_multiple_of(2) {
        [true, false]
    } else {
        [false, true]
    };
    let mut rates = [0.0; 2];
    for by_schema in order {
        let mut request = request(chat, MAX_TOKENS);
        if by_schema {
            request.response_format = Some(json_schema(schema));
        }
        match stage.ours.ask(request).await {
            Ok(answer) => {
                if answer.tokens < MAX_TOKENS / 2 {
                    eprintln!("{name}, by schema {by_schema}: {} tokens only", answer.tokens);
                }
                rates[usize::from(by_schema)] = answer.whole_rate();
            }
            Err(status) => {
                return samples.note(format!("Structured output was not measured: {}.", status.message()));
            }
        }
    }
    samples.record(format!("{name} free"), Who::Ours, rates[0]);
    samples.record(format!("{name} schema"), Who::Ours, rates[1]);
}
