//! Messages as JSON, by the descriptors that the contracts come with.
//!
//! Two dialects: proto3 JSON as its specification has it, for `/ws`, where programs with generated code live on both
//! sides; and a plain one (names as in the .proto files, whole numbers as numbers, every field there) for REST.

use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use solo_proto::DESCRIPTOR_POOL;
use solo_proto::gateway::v1::{ConverseRequest, ConverseResponse};

use crate::error::Error;

/// A message of a conversation as proto3 JSON.
pub(crate) fn response_text(response: &ConverseResponse) -> String {
    value("solo.gateway.v1.ConverseResponse", response, &SerializeOptions::new()).to_string()
}

/// A message of a conversation from proto3 JSON.
///
/// # Errors
/// Says where the JSON goes wrong and what is there.
pub(crate) fn request_from_text(text: &str) -> Result<ConverseRequest, Error> {
    let bad = |problem: String| Error::invalid("BAD_FRAME", format!("this frame is no message: {problem}"));
    let mut json = serde_json::Deserializer::from_str(text);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let descriptor = descriptor("solo.gateway.v1.ConverseRequest");
    let message = DynamicMessage::deserialize_with_options(descriptor, &mut json, &options)
        .map_err(|error| bad(error.to_string()))?;
    json.end().map_err(|error| bad(error.to_string()))?;
    message.transcode_to().map_err(|error| bad(error.to_string()))
}

/// A message as plain JSON; `name` is its full name.
pub(crate) fn plain(name: &str, message: &impl Message) -> serde_json::Value {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false)
        .skip_default_fields(false);
    value(name, message, &options)
}

fn value(name: &str, message: &impl Message, options: &SerializeOptions) -> serde_json::Value {
    let mut dynamic = DynamicMessage::new(descriptor(name));
    dynamic
        .transcode_from(message)
        .expect("a message fits its own descriptor");
    dynamic
        .serialize_with_options(serde_json::value::Serializer, options)
        .expect("messages have string keys and finite shapes")
}

fn descriptor(name: &str) -> MessageDescriptor {
    DESCRIPTOR_POOL
        .get_message_by_name(name)
        .expect("the name is one of the contracts'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use solo_proto::gateway::v1::converse_request::Payload;
    use solo_proto::gateway::v1::converse_response;
    use solo_proto::gateway::v1::{StageTimes, StateChanged, TurnPhase, TurnSummary};

    #[test]
    fn requests_come_from_proto3_json() {
        let request = request_from_text(r#"{"text":{"text":"hi","speak":true}}"#).unwrap();
        assert!(matches!(request.payload, Some(Payload::Text(text)) if text.text == "hi" && text.speak));
        let open = request_from_text(
            r#"{"open":{"wakeMode":"WAKE_MODE_KEYWORD","audioIn":{"sampleRateHz":48000,"channels":1}}}"#,
        );
        assert!(matches!(open.unwrap().payload, Some(Payload::Open(open)) if open.wake_mode == 2));
    }

    #[test]
    fn wrong_frames_say_what_is_wrong() {
        for (frame, wanted) in [
            ("{", "EOF"),
            (r#"{"txet":{}}"#, "txet"),
            (r#"{"text":{"text":7}}"#, "string"),
            (r#"{"open":{"wakeMode":"LOUD"}}"#, "LOUD"),
            (r#"{} {}"#, "trailing"),
            ("[]", "invalid type"),
        ] {
            let error = request_from_text(frame).unwrap_err().to_string();
            assert!(
                error.starts_with("this frame is no message: ") && error.contains(wanted),
                "{frame}: {error}"
            );
        }
    }

    #[test]
    fn responses_are_proto3_json() {
        let payload = converse_response::Payload::State(StateChanged {
            phase: TurnPhase::Idle.into(),
        });
        let text = response_text(&ConverseResponse {
            turn_id: String::new(),
            payload: Some(payload),
        });
        assert_eq!(text, r#"{"state":{"phase":"TURN_PHASE_IDLE"}}"#);
    }

    #[test]
    fn plain_json_has_every_field_and_numbers() {
        let summary = TurnSummary {
            stages: Some(StageTimes {
                stt: Some(-5),
                ..StageTimes::default()
            }),
            ..TurnSummary::default()
        };
        let value = plain("solo.gateway.v1.TurnSummary", &summary);
        assert_eq!(value["stages"]["stt"], -5);
        assert_eq!(value["prompt_tokens"], 0);
        assert_eq!(value["stages"].get("endpoint"), None);
    }
}
