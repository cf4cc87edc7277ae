//! What a misbehaving client asks for, and what it means to do with the answer.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;
use solo_proto::llm::v1::{GenerateRequest, ResponseFormat, Role, Sampling, response_format};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::llm::client::{json_schema, messages};
use crate::llm::{CONTEXT, prompts};

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It reads to the end.
    Finish,
    /// It vanishes after so many messages.
    After(u32),
    /// It drops the call after so long, whatever has come.
    DropCall(Duration),
    /// It reads one message, none for so long, and vanishes.
    NotReading(Duration),
}

/// One request.
#[derive(Clone)]
pub(super) struct Asked {
    generate: GenerateRequest,
    priority: &'static str,
    principal: String,
    /// When the service must have given up.
    pub(super) deadline: Option<Duration>,
    /// What becomes of the client.
    pub(super) fate: Fate,
    /// With which code it must be refused, if it must.
    pub(super) bad: Option<Code>,
}

/// Without the prompt, which says nothing.
impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked")
            .field("max_tokens", &self.generate.max_tokens)
            .field("n", &self.generate.n)
            .field("constrained", &self.is_constrained())
            .field("seeded", &self.is_seeded())
            .field("priority", &self.priority)
            .field("deadline", &self.deadline)
            .field("fate", &self.fate)
            .field("bad", &self.bad)
            .finish_non_exhaustive()
    }
}

impl Asked {
    /// Anything that a client may come up with.
    pub(super) fn at_random(dice: &mut StdRng) -> Self {
        let number = dice.random_range(0..100_000);
        let length = match dice.random_range(0..10) {
            0..6 => dice.random_range(0..60),
            6..9 => dice.random_range(60..400),
            _ => dice.random_range(400..1200),
        };
        // Half share a prefix with others.
        let chat = if dice.random_bool(0.5) {
            prompts::shared(number)
        } else {
            prompts::cold(number, length)
        };
        let mut asked = Self {
            generate: GenerateRequest {
                messages: messages(&chat),
                sampling: Some(Sampling {
                    temperature: Some(dice.random_range(0.0..1.5)),
                    // Seeds go through a lane of their own, one at a time; most requests are to share steps.
                    seed: dice.random_bool(0.25).then(|| dice.random()),
                    ..Sampling::default()
                }),
                max_tokens: dice.random_range(1..120),
                n: if dice.random_bool(0.1) {
                    dice.random_range(2..4)
                } else {
                    1
                },
                cache_hint: if dice.random_bool(0.3) {
                    format!("dialogue-{}", number % 20)
                } else {
                    String::new()
                },
                ..GenerateRequest::default()
            },
            priority: ["background", "normal", "spoken"][dice.random_range(0..3)],
            principal: format!("client-{}", number % 7),
            deadline: dice
                .random_bool(0.25)
                .then(|| Duration::from_millis(dice.random_range(50..8000))),
            fate: match dice.random_range(0..10) {
                0..4 => Fate::Finish,
                4..7 => Fate::After(dice.random_range(1..30)),
                7..9 => Fate::DropCall(Duration::from_millis(dice.random_range(1..4000))),
                _ => Fate::NotReading(Duration::from_millis(dice.random_range(10..3000))),
            },
            bad: None,
        };
        if dice.random_bool(0.12) {
            asked.generate.response_format = Some(format(dice));
        }
        if dice.random_bool(0.04) {
            asked.spoil(dice);
        }
        asked
    }

    /// Makes it a request that must be refused.
    fn spoil(&mut self, dice: &mut StdRng) {
        self.deadline = None;
        self.fate = Fate::Finish;
        self.bad = Some(match dice.random_range(0..3) {
            0 => {
                "no-such-model".clone_into(&mut self.generate.model);
                Code::NotFound
            }
            1 => {
                let long = prompts::text(dice.random_range(0..1000), CONTEXT + 500);
                self.generate.messages = messages(&vec![(Role::User, long)]);
                Code::InvalidArgument
            }
            _ => {
                self.generate.messages.clear();
                Code::InvalidArgument
            }
        });
    }

    /// As it goes out.
    pub(super) fn request(&self) -> Request<GenerateRequest> {
        let mut request = Request::new(self.generate.clone());
        let metadata = request.metadata_mut();
        metadata.insert("solo-priority", MetadataValue::from_static(self.priority));
        if let Ok(principal) = self.principal.parse() {
            metadata.insert("solo-principal", principal);
        }
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        request
    }

    /// Answers that it wants.
    pub(super) fn choices(&self) -> u32 {
        self.generate.n.max(1)
    }

    /// True when the answer must have a form.
    pub(super) fn is_constrained(&self) -> bool {
        self.generate.response_format.is_some()
    }

    /// True when it goes through the lane where nobody shares steps.
    fn is_seeded(&self) -> bool {
        let sampling = self.generate.sampling.as_ref();
        sampling.is_some_and(|sampling| sampling.seed.is_some())
    }
}

fn format(dice: &mut StdRng) -> ResponseFormat {
    match dice.random_range(0..3) {
        0 => json_schema(&json!({
            "type": "object",
            "properties": {"name": {"type": "string"}, "kind": {"enum": ["a", "b", "c"]}},
            "required": ["name", "kind"],
            "additionalProperties": false,
        })),
        1 => json_schema(&json!({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 8})),
        _ => ResponseFormat {
            format: Some(response_format::Format::Regex("[a-z]{3,20}( [a-z]{3,20}){0,5}".into())),
        },
    }
}
