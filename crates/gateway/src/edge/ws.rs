//! `/ws`: `solo.gateway.v1.Converse`, message for message. Text frames are proto3 JSON, binary frames are audio.
//!
//! A wrong frame is answered with an error message; the socket stays open, and so does the conversation.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use solo_proto::audio::v1::AudioChunk;
use solo_proto::gateway::v1::converse_request::Payload;
use solo_proto::gateway::v1::{ConverseRequest, ConverseResponse, converse_response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::convert::{self, Manner};
use crate::error::Error;
use crate::session::{self, End, Gone, Next, Outbox, Outgoing};
use crate::{Gateway, json};

/// A frame of ours goes out at least this often, so that a dead connection is noticed.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that says nothing at all for so long, not even a pong, is gone.
const SILENT_FOR: Duration = Duration::from_secs(70);
/// Messages that may wait for the conversation.
const WAITING: usize = 64;

type Sink = SplitSink<WebSocket, Message>;

/// Turns the request into a WebSocket.
pub(super) async fn upgrade(State(gateway): State<Arc<Gateway>>, upgrade: WebSocketUpgrade) -> Response {
    // A frame that is too large is read and refused; one that is much too large closes the socket.
    let limit = gateway.config.limits.max_frame_bytes * 4;
    upgrade
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_failed_upgrade(|error| tracing::debug!(%error, "no websocket came of it"))
        .on_upgrade(async move |socket| serve(gateway, socket).await)
}

async fn serve(gateway: Arc<Gateway>, socket: WebSocket) {
    let (mut sink, mut frames) = socket.split();
    let shutdown = gateway.context.shutdown.clone();
    let opened = tokio::select! {
        opened = open(&gateway, &mut sink, &mut frames) => opened,
        () = shutdown.cancelled() => return close(&mut sink, close_code::RESTART, "the gateway is restarting").await,
    };
    let Some((sender, outbox, outgoing)) = opened else {
        return;
    };
    let limit = gateway.config.limits.max_frame_bytes;
    let read = async {
        read(&mut frames, limit, &sender, &outbox).await;
        // The conversation learns that the client is gone, and ends what is written.
        let _ = sender.send(Err(Gone)).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = write(&mut sink, outgoing) => {}
        () = read => {}
    }
}

type Opened = (mpsc::Sender<Result<ConverseRequest, Gone>>, Outbox, Outgoing);

/// Waits for a frame that opens a conversation. `None`: the client went away first.
async fn open(gateway: &Arc<Gateway>, sink: &mut Sink, frames: &mut SplitStream<WebSocket>) -> Option<Opened> {
    loop {
        let error = match next(frames, gateway.config.limits.max_frame_bytes).await? {
            Ok(ConverseRequest {
                payload: Some(Payload::Open(open)),
                ..
            }) => {
                let (sender, receiver) = mpsc::channel(WAITING);
                let opened = Manner::try_from(open)
                    .and_then(|manner| session::start(gateway, manner, ReceiverStream::new(receiver)));
                match opened {
                    Ok((outbox, outgoing)) => return Some((sender, outbox, outgoing)),
                    Err(error) => error,
                }
            }
            Ok(_) => Error::NotNow {
                reason: "NOT_OPENED",
                problem: "the first message must be `open`",
            },
            Err(error) => error,
        };
        sink.send(text_frame(&complaint(&error))).await.ok()?;
    }
}

/// Hands on what the client sends, until it is gone.
async fn read(
    frames: &mut SplitStream<WebSocket>,
    limit: usize,
    sender: &mpsc::Sender<Result<ConverseRequest, Gone>>,
    outbox: &Outbox,
) {
    while let Some(message) = next(frames, limit).await {
        match message {
            Ok(message) => {
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // A client that does not read is noticed by the conversation.
                outbox.push(complaint(&error));
            }
        }
    }
}

/// The client's next message, or what is wrong with its frame. `None`: it is gone.
async fn next(frames: &mut SplitStream<WebSocket>, limit: usize) -> Option<Result<ConverseRequest, Error>> {
    loop {
        let frame = match tokio::time::timeout(SILENT_FOR, frames.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "websocket broke");
                return None;
            }
            Ok(None) => return None,
            Err(_) => {
                tracing::debug!("a websocket client is gone without a word");
                return None;
            }
        };
        let bytes = match &frame {
            Message::Text(text) => text.len(),
            Message::Binary(data) => data.len(),
            _ => 0,
        };
        if bytes > limit {
            return Some(Err(Error::Exhausted {
                reason: "FRAME_TOO_LARGE",
                problem: format!(
                    "a frame of {bytes} bytes; at most {limit} are taken (gateway.limits.max_frame_bytes)"
                ),
            }));
        }
        match frame {
            Message::Text(text) => return Some(json::request_from_text(&text)),
            Message::Binary(data) => {
                let chunk = AudioChunk {
                    data: data.into(),
                    first_sample: 0,
                };
                return Some(Ok(ConverseRequest {
                    payload: Some(Payload::Audio(chunk)),
                    ..ConverseRequest::default()
                }));
            }
            // Pings are answered by the library.
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return None,
        }
    }
}

/// Sends what the conversation says, until it is over or the client is gone.
async fn write(sink: &mut Sink, mut outgoing: Outgoing) {
    let mut ping = tokio::time::interval(PING_EVERY);
    loop {
        let frame = tokio::select! {
            next = outgoing.next() => match next {
                Next::Message(message) => frame_of(*message),
                Next::End(End::Done) => return close(sink, close_code::NORMAL, "").await,
                Next::End(End::Draining) => {
                    return close(sink, close_code::RESTART, "the gateway is restarting").await;
                }
                Next::End(End::TooSlow) => {
                    return close(sink, close_code::POLICY, "messages were not read").await;
                }
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
        };
        if let Err(error) = sink.send(frame).await {
            tracing::debug!(%error, "a websocket client is gone");
            return;
        }
    }
}

async fn close(sink: &mut Sink, code: u16, reason: &'static str) {
    // Who is gone needs no goodbye.
    let _ = sink
        .send(Message::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        })))
        .await;
}

fn frame_of(message: ConverseResponse) -> Message {
    match message.payload {
        Some(converse_response::Payload::Audio(chunk)) => Message::Binary(chunk.data.into()),
        _ => text_frame(&message),
    }
}

fn text_frame(message: &ConverseResponse) -> Message {
    Message::Text(json::response_text(message).into())
}

/// An error that belongs to a frame and not to a turn.
fn complaint(error: &Error) -> ConverseResponse {
    let payload = converse_response::Payload::Error(convert::turn_error(error, ""));
    ConverseResponse {
        turn_id: String::new(),
        payload: Some(payload),
    }
}
