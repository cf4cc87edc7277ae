//! A conversation with the gateway over gRPC: what `ask`, `chat` and `talk` have in common.

use std::time::Duration;

use solo_proto::agent::v1::ActionDecision;
use solo_proto::audio::v1::AudioChunk;
use solo_proto::gateway::v1::converse_request::Payload as Request;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::gateway_service_client::GatewayServiceClient;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::{
    ConverseRequest, ConverseResponse, Interrupt, OpenSession, SessionControl, SessionOpened, TextInput,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::connection;
use crate::failure::{Exit, Failure};
use crate::services::{self, GATEWAY};
use crate::settings::Settings;

/// How long the gateway may take to open a conversation.
const OPENING: Duration = Duration::from_secs(10);

/// An open conversation.
pub struct Session {
    /// What the gateway said when it opened.
    pub opened: SessionOpened,
    requests: Sender,
    responses: Streaming<ConverseResponse>,
}

/// The sending half. Cheap to clone; the conversation's requests end when all are dropped.
#[derive(Clone)]
pub struct Sender(mpsc::Sender<ConverseRequest>);

impl Sender {
    /// Sends; false when the conversation is over.
    pub async fn send(&self, payload: Request) -> bool {
        let request = ConverseRequest {
            payload: Some(payload),
            ..ConverseRequest::default()
        };
        self.0.send(request).await.is_ok()
    }

    /// Sends audio, and what words are read from where that is something else; false when the conversation is over.
    pub async fn audio(&self, chunk: AudioChunk, words_data: Vec<u8>) -> bool {
        let request = ConverseRequest {
            payload: Some(Request::Audio(chunk)),
            words_data,
        };
        self.0.send(request).await.is_ok()
    }

    /// Sends a control; false when the conversation is over.
    pub async fn control(&self, control: Control) -> bool {
        self.send(Request::Control(SessionControl { control: Some(control) }))
            .await
    }

    /// Sends a turn in writing.
    pub async fn text(&self, text: &str) -> bool {
        self.send(Request::Text(TextInput {
            text: text.into(),
            speak: false,
        }))
        .await
    }

    /// Stops the running turn.
    pub async fn interrupt(&self) -> bool {
        self.control(Control::Interrupt(Interrupt {})).await
    }

    /// Says whether an action may be done.
    pub async fn decide(&self, action_id: &str, approved: bool) -> bool {
        self.send(Request::Decision(ActionDecision {
            action_id: action_id.into(),
            approved,
            always: false,
        }))
        .await
    }
}

impl Session {
    /// Opens a conversation.
    pub async fn open(settings: &Settings, open: OpenSession) -> Result<Self, Failure> {
        let gateway = gateway()?;
        let channel = connection::to(settings, gateway).await?;
        let (sender, receiver) = mpsc::channel(16);
        let requests = Sender(sender);
        requests.send(Request::Open(open)).await;
        let opening =
            async {
                let response = GatewayServiceClient::new(channel)
                    .converse(ReceiverStream::new(receiver))
                    .await;
                let mut responses = response
                    .map_err(|status| Failure::from_status(GATEWAY, &status))?
                    .into_inner();
                match responses
                    .message()
                    .await
                    .map_err(|status| Failure::from_status(GATEWAY, &status))?
                    .and_then(|m| m.payload)
                {
                    Some(Payload::Opened(opened)) => Ok((opened, responses)),
                    Some(Payload::Error(error)) => Err(crate::turn::failure_of(&error)),
                    _ => Err(Failure::failed("gateway: the conversation was not opened")
                        .help("`solo logs gateway` may say why")),
                }
            };
        let (opened, responses) = tokio::time::timeout(OPENING, opening).await.map_err(|_| {
            Failure::new(
                Exit::Unavailable,
                format!("gateway: no answer within {} s", OPENING.as_secs()),
            )
            .help("see how it is with `solo ps`, and why with `solo logs gateway`")
        })??;
        Ok(Self {
            opened,
            requests,
            responses,
        })
    }

    /// The sending half.
    pub fn sender(&self) -> Sender {
        self.requests.clone()
    }

    /// The next message; none when the gateway has ended the conversation.
    pub async fn next(&mut self) -> Result<Option<Payload>, Failure> {
        Ok(self.next_of_turn().await?.map(|(_, payload)| payload))
    }

    /// The next message with the turn that it belongs to (empty: none); none when the gateway has ended the conversation.
    pub async fn next_of_turn(&mut self) -> Result<Option<(String, Payload)>, Failure> {
        loop {
            match self.responses.message().await {
                Ok(Some(ConverseResponse {
                    payload: Some(payload),
                    turn_id,
                })) => return Ok(Some((turn_id, payload))),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(status) => return Err(Failure::from_status(GATEWAY, &status)),
            }
        }
    }

    /// Says that nothing more will be sent; the gateway ends the conversation when it has said all.
    pub fn into_responses(self) -> Responses {
        Responses(self.responses)
    }
}

/// What is still to come of a conversation in which nothing more is sent.
pub struct Responses(Streaming<ConverseResponse>);

impl Responses {
    /// The next message; none at the end, however it came.
    pub async fn next(&mut self) -> Option<Payload> {
        loop {
            match self.0.message().await {
                Ok(Some(ConverseResponse {
                    payload: Some(payload), ..
                })) => return Some(payload),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

/// The gateway among the services.
pub fn gateway() -> Result<&'static services::Service, Failure> {
    services::parse(GATEWAY).map_err(Failure::failed)
}

/// What is said when a conversation ends in the middle of a turn.
pub fn cut_off() -> Failure {
    Failure::new(
        Exit::Unavailable,
        "gateway: the conversation ended in the middle of the turn",
    )
    .help("see how it is with `solo ps`, and why with `solo logs gateway`")
}
