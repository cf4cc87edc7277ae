//! llm-svc as any client sees it: gRPC, and a clock.

use std::time::Instant;

use solo_proto::llm::v1::content_part::Part;
use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::{
    ContentPart, GenerateRequest, Message, RenderPromptRequest, ResponseFormat, Role, Sampling, response_format,
};
use tonic::transport::Channel;

use super::Timed;

/// What is said, by whom, oldest first.
pub type Chat = Vec<(Role, String)>;

/// A client with a connection of its own.
#[derive(Clone)]
pub struct Ours(LlmServiceClient<Channel>);

impl Ours {
    /// A client on a connection.
    pub fn new(channel: Channel) -> Self {
        Self(LlmServiceClient::new(channel))
    }

    /// Asks, and reads the answer to its end.
    ///
    /// # Errors
    /// What the service answers instead.
    pub async fn ask(&mut self, request: GenerateRequest) -> Result<Timed, tonic::Status> {
        let start = Instant::now();
        let mut stream = self.0.generate(request).await?.into_inner();
        let (mut first, mut text) = (None, String::new());
        while let Some(message) = stream.message().await? {
            match message.payload {
                Some(Payload::Text(delta)) => {
                    first.get_or_insert_with(|| start.elapsed());
                    text.push_str(&delta.text);
                }
                Some(Payload::Finished(finished)) => {
                    let total = start.elapsed();
                    let usage = finished.usage.unwrap_or_default();
                    return Ok(Timed {
                        ttft: first.unwrap_or(total),
                        total,
                        tokens: usage.completion_tokens,
                        prompt_tokens: usage.prompt_tokens,
                        cached_tokens: usage.cached_tokens,
                        prefill_ms: usage.prefill_ms,
                        text,
                    });
                }
                _ => {}
            }
        }
        Err(tonic::Status::data_loss("the stream ended without `finished`"))
    }

    /// The tokens that the model is given for a dialogue.
    ///
    /// # Errors
    /// What the service answers instead.
    pub async fn tokens(&mut self, chat: &Chat) -> Result<Vec<u32>, tonic::Status> {
        let request = RenderPromptRequest {
            messages: messages(chat),
            ..RenderPromptRequest::default()
        };
        Ok(self.0.render_prompt(request).await?.into_inner().tokens)
    }
}

/// A request as the measurements make it: the likeliest token, always.
pub fn request(chat: &Chat, max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        messages: messages(chat),
        sampling: Some(Sampling {
            temperature: Some(0.0),
            ..Sampling::default()
        }),
        max_tokens,
        ..GenerateRequest::default()
    }
}

/// A format that wants JSON of a schema.
///
/// # Panics
/// When the schema is no object.
pub fn json_schema(schema: &serde_json::Value) -> ResponseFormat {
    let prost_types::Value { kind } = value(schema);
    let Some(prost_types::value::Kind::StructValue(schema)) = kind else {
        panic!("a schema is an object");
    };
    ResponseFormat {
        format: Some(response_format::Format::JsonSchema(schema)),
    }
}

/// A dialogue in the contract's words.
pub fn messages(chat: &Chat) -> Vec<Message> {
    let message = |(role, text): &(Role, String)| Message {
        role: *role as i32,
        parts: vec![ContentPart {
            part: Some(Part::Text(text.clone())),
        }],
        ..Message::default()
    };
    chat.iter().map(message).collect()
}

fn value(json: &serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(bool) => Kind::BoolValue(*bool),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.iter().map(value).collect(),
        }),
        serde_json::Value::Object(members) => Kind::StructValue(prost_types::Struct {
            fields: members.iter().map(|(name, json)| (name.clone(), value(json))).collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}
