//! A client of Wyoming small enough to say anything, also what is wrong.

use bytes::BytesMut;
use gateway::framing::{Event, FrameLimits, Framer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{PATIENCE, World, gauge};

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    framer: Framer,
}

impl Client {
    /// Connects to "stt", "tts" or "wake".
    pub(crate) async fn to(world: &World, port: &str) -> Self {
        let name = format!("wyoming_{port}_port");
        let port = gauge(&world.gateway, &name).unwrap() as u16;
        Self::at((std::net::Ipv4Addr::LOCALHOST, port).into()).await
    }

    pub(crate) async fn at(address: std::net::SocketAddr) -> Self {
        let limits = FrameLimits {
            header: 1 << 20,
            data: 1 << 20,
            payload: 1 << 20,
        };
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            framer: Framer::new(limits),
        }
    }

    /// Says these very bytes. A gateway that hangs up on them may do so before it has read them all.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn say(&mut self, kind: &str, data: Value) {
        self.raw(&Event::new(kind, data).encode()).await;
    }

    /// So many bytes of silence in chunks of `size` bytes, as an utterance without its end.
    pub(crate) async fn audio(&mut self, rate: u32, channels: u32, bytes: usize, size: usize) {
        let format = json!({ "rate": rate, "width": 2, "channels": channels });
        self.say("audio-start", format.clone()).await;
        for piece in vec![0; bytes].chunks(size) {
            let chunk = Event {
                payload: piece.to_vec().into(),
                ..Event::new("audio-chunk", format.clone())
            };
            self.raw(&chunk.encode()).await;
        }
    }

    /// The next event; `None` when the gateway has hung up.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.framer.next_event().unwrap() {
                return Some(event);
            }
            let mut read = BytesMut::new();
            let length = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut read))
                .await
                .expect("the gateway answers")
                .unwrap();
            if length == 0 {
                return None;
            }
            self.framer.buffer().extend_from_slice(&read);
        }
    }

    /// True when the gateway says something, false when it hangs up, however rudely.
    pub(crate) async fn hears_anything(&mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut byte));
        read.await.expect("the gateway answers").is_ok_and(|length| length == 1)
    }

    /// The next event, which is of this kind.
    pub(crate) async fn expect(&mut self, kind: &str) -> Event {
        let event = self
            .next()
            .await
            .unwrap_or_else(|| panic!("hung up in place of {kind}"));
        assert_eq!(event.kind, kind, "{:?}", event.data);
        event
    }

    /// The error that ends the connection: its code and text.
    pub(crate) async fn failure(&mut self) -> (String, String) {
        let error = self.expect("error").await;
        assert!(self.next().await.is_none(), "the connection ends");
        let text = |key: &str| error.data[key].as_str().unwrap().to_owned();
        (text("code"), text("text"))
    }
}
