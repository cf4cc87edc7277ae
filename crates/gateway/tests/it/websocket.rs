//! The same conversation over `/ws`.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::listen_response::Payload as Said;
use solo_testkit::stt::final_text;
use solo_testkit::{Cue, ListenCue};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::world::{PATIENCE, World};

struct Socket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    audio: Vec<u8>,
}

impl Socket {
    async fn connect(world: &World) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", world.http))
            .await
            .unwrap();
        Self {
            socket,
            audio: Vec::new(),
        }
    }

    async fn send(&mut self, message: Value) {
        self.raw(Message::text(message.to_string())).await;
    }

    async fn raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// The next text frame's message; audio on the way is collected.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("something is said")?;
            match frame.unwrap() {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Binary(data) => self.audio.extend_from_slice(&data),
                Message::Close(frame) => {
                    return Some(json!({ "closed": frame.map(|frame| u16::from(frame.code)) }));
                }
                _ => {}
            }
        }
    }

    /// Reads up to the first message that has this field.
    async fn until(&mut self, field: &str) -> Value {
        loop {
            let message = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the socket closed before {field}"));
            if let Some(value) = message.get(field) {
                return value.clone();
            }
        }
    }
}

#[tokio::test]
async fn a_turn_in_writing() {
    let world = World::new().await;
    let mut socket = Socket::connect(&world).await;
    socket.send(json!({ "open": {} })).await;
    assert!(!socket.until("opened").await["sessionId"].as_str().unwrap().is_empty());
    socket.send(json!({ "text": { "text": "Hello?" } })).await;
    assert_eq!(socket.until("state").await["phase"], "TURN_PHASE_THINKING");
    assert_eq!(socket.until("reply").await["delta"], "Hello ");
    let summary = socket.until("summary").await;
    assert_eq!(
        (&summary["reply"], &summary["dialogueId"]),
        (&json!("Hello there."), &json!("dialogue-1"))
    );
}

#[tokio::test]
async fn a_turn_by_button_with_audio_both_ways() {
    let world = World::new().await;
    world.stt.listen(vec![ListenCue::say(
        Cue::Control(Action::Finalize),
        Said::Final(final_text("hi", 0, 9000)),
    )]);
    let mut socket = Socket::connect(&world).await;
    socket
        .send(json!({ "open": {
            "audioIn": { "encoding": "ENCODING_S16LE", "sampleRateHz": 48000, "channels": 1 },
            "audioOut": { "sampleRateHz": 24000 },
            "wakeMode": "WAKE_MODE_PUSH_TO_TALK",
        } }))
        .await;
    assert_eq!(socket.until("opened").await["audioOut"]["sampleRateHz"], 24000);
    socket.send(json!({ "control": { "listen": {} } })).await;
    socket.until("state").await;
    // Pieces of odd sizes: a sample may be cut in two.
    let second = vec![0u8; 96_000];
    for piece in second.chunks(1001) {
        socket.raw(Message::binary(piece.to_vec())).await;
    }
    socket.send(json!({ "control": { "endOfSpeech": {} } })).await;
    assert_eq!(socket.until("final").await["text"], "hi");
    let summary = socket.until("summary").await;
    assert!(
        summary["voiceToVoiceMs"].is_string(),
        "whole numbers of 64 bits are strings in proto3 JSON: {summary}"
    );
    assert_eq!(socket.audio.len(), 12 * 480 * 2);
    assert_eq!(world.stt.samples(), 16_000);
}

#[tokio::test]
async fn wrong_frames_are_answered_and_the_socket_stays_open() {
    let world = World::new().await;
    let mut socket = Socket::connect(&world).await;
    socket.raw(Message::text("{oops")).await;
    assert_eq!(socket.until("error").await["reason"], "BAD_FRAME");
    socket.send(json!({ "text": { "text": "too early" } })).await;
    assert_eq!(socket.until("error").await["reason"], "NOT_OPENED");
    socket
        .send(json!({ "open": { "audioIn": { "sampleRateHz": 0, "channels": 1 } } }))
        .await;
    let error = socket.until("error").await;
    assert_eq!(
        (&error["reason"], &error["code"]),
        (&json!("BAD_AUDIO_FORMAT"), &json!(3))
    );
    socket.send(json!({ "open": { "wakeMode": 77 } })).await;
    assert_eq!(socket.until("error").await["reason"], "UNKNOWN_WAKE_MODE");
    socket.raw(Message::text("x".repeat(2_000_000))).await;
    assert_eq!(socket.until("error").await["reason"], "FRAME_TOO_LARGE");
    socket.send(json!({ "open": {} })).await;
    socket.until("opened").await;
    socket.raw(Message::text(r#"{"txet":{}}"#)).await;
    let error = socket.until("error").await;
    assert!(error["message"].as_str().unwrap().contains("txet"), "{error}");
    socket.raw(Message::binary(vec![0, 0])).await;
    assert_eq!(socket.until("error").await["reason"], "NO_AUDIO_IN");
    socket.send(json!({ "text": { "text": "Hello?" } })).await;
    assert_eq!(socket.until("summary").await["reply"], "Hello there.");
}

#[tokio::test]
async fn pages_of_strangers_get_no_socket() {
    let world = World::new().await;
    let mut request = format!("ws://{}/ws", world.http).into_client_request().unwrap();
    request
        .headers_mut()
        .insert("origin", "http://evil.example".parse().unwrap());
    let Err(Error::Http(response)) = tokio_tungstenite::connect_async(request).await else {
        panic!("a refusal is wanted")
    };
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn a_restart_says_goodbye() {
    let world = World::new().await;
    let mut waiting = Socket::connect(&world).await;
    let mut idle = Socket::connect(&world).await;
    idle.send(json!({ "open": {} })).await;
    idle.until("opened").await;
    world.gateway.begin_stop();
    assert_eq!(idle.until("closed").await, 1012);
    assert_eq!(waiting.until("closed").await, 1012);
    world.gateway.stop().await.unwrap();
}
