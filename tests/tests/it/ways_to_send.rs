//! However a question is sent, it is the same question: at any rate, in pieces of any size, sooner or later than a mouth would,
//! and again when the connection broke in its middle.

use std::time::Duration;

use futures::SinkExt;
use serde_json::{Value, json};
use solo_audio::{SampleRate, pcm, resample_i16, wav};
use solo_proto::gateway::v1::converse_response::Payload as Heard;
use solo_proto::gateway::v1::{OpenSession, WakeMode};
use solo_tests::{Stack, fixture, words};
use tokio_stream::StreamExt;
use tokio_tungstenite::tungstenite::Message;

use crate::conversation::{Conversation, s16le};

const QUESTION: &str = "What is the capital of France?";
/// Sizes of pieces, in bytes, one after another: none is a frame of anything, and most cut a sample in two.
const ODD: [usize; 5] = [1, 777, 3, 4_999, 250];
/// Silence after the question, by which its end is found, in ms.
const SILENCE_MS: u64 = 2_000;

/// How a client sends.
#[derive(Debug, Clone, Copy)]
struct Way {
    hz: u32,
    channels: u32,
    pieces: Pieces,
    /// Seconds that a second of audio takes.
    pace: f64,
}

#[derive(Debug, Clone, Copy)]
enum Pieces {
    /// 20 ms each.
    Even,
    Odd,
}

impl Way {
    /// The question with silence after it, in pieces, each with the time that it takes.
    fn pieces(self) -> Vec<(Vec<u8>, Duration)> {
        let speech = wav::read_speech(&std::fs::read(fixture("question_only.wav")).unwrap()).unwrap();
        let rate = SampleRate::new(self.hz).unwrap();
        let mut samples = resample_i16(&speech, SampleRate::SPEECH, rate);
        samples.resize(samples.len() + rate.samples_in_ms(SILENCE_MS) as usize, 0);
        let frames: Vec<i16> = samples
            .iter()
            .flat_map(|sample| std::iter::repeat_n(*sample, self.channels as usize))
            .collect();
        let bytes = pcm::to_s16le(&frames);
        let second = self.hz as usize * self.channels as usize * 2;
        let mut sizes = ODD.iter().cycle();
        let mut rest = bytes.as_slice();
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let size = match self.pieces {
                Pieces::Even => second / 50,
                Pieces::Odd => *sizes.next().unwrap(),
            };
            let (piece, more) = rest.split_at(size.min(rest.len()));
            let takes = Duration::from_secs_f64(self.pace * piece.len() as f64 / second as f64);
            pieces.push((piece.to_vec(), takes));
            rest = more;
        }
        pieces
    }

    /// Any speech begins a turn.
    fn opening(self, dialogue_id: &str) -> OpenSession {
        OpenSession {
            audio_in: Some(s16le(self.hz, self.channels)),
            wake_mode: WakeMode::Open.into(),
            dialogue_id: dialogue_id.into(),
            ..OpenSession::default()
        }
    }
}

const MANY: [Way; 6] = [
    way(8_000, 1, Pieces::Even, 0.0),
    way(16_000, 1, Pieces::Even, 1.0),
    way(16_000, 1, Pieces::Even, 2.0),
    way(16_000, 2, Pieces::Odd, 0.0),
    way(44_100, 1, Pieces::Odd, 0.0),
    way(48_000, 2, Pieces::Even, 0.5),
];

const fn way(hz: u32, channels: u32, pieces: Pieces, pace: f64) -> Way {
    Way {
        hz,
        channels,
        pieces,
        pace,
    }
}

/// The question's words, as the conversation heard them.
async fn transcript(conversation: &mut Conversation) -> String {
    loop {
        match conversation.next().await.unwrap() {
            Heard::Final(last) => return last.text,
            Heard::Rejected(rejected) => panic!("{rejected:?}"),
            Heard::Error(error) => panic!("{error:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs models: cargo make test-models"]
async fn every_way_gives_the_same_words() {
    let stack = Stack::up();
    for way in MANY {
        let mut conversation = Conversation::open_with(stack.layout.port("gateway"), way.opening("")).await;
        for (piece, takes) in way.pieces() {
            conversation.speak(&piece).await;
            tokio::time::sleep(takes).await;
        }
        let heard = transcript(&mut conversation).await;
        assert_eq!(words(&heard), words(QUESTION), "{way:?}: {heard}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs models: cargo make test-models"]
async fn every_way_gives_the_same_words_over_a_websocket() {
    let stack = Stack::up();
    for way in MANY {
        let address = format!("ws://127.0.0.1:{}/ws", stack.layout.http());
        let (mut socket, _) = tokio_tungstenite::connect_async(address).await.unwrap();
        let open = json!({ "open": {
            "audioIn": { "encoding": "ENCODING_S16LE", "sampleRateHz": way.hz, "channels": way.channels },
            "wakeMode": "WAKE_MODE_OPEN",
        } });
        socket.send(Message::text(open.to_string())).await.unwrap();
        for (piece, takes) in way.pieces() {
            socket.send(Message::binary(piece)).await.unwrap();
            tokio::time::sleep(takes).await;
        }
        let heard = tokio::time::timeout(Duration::from_secs(120), async {
            loop {
                let Message::Text(text) = socket.next().await.unwrap().unwrap() else {
                    continue;
                };
                let said: Value = serde_json::from_str(&text).unwrap();
                assert!(
                    said.get("error").is_none() && said.get("rejected").is_none(),
                    "{way:?}: {said}"
                );
                if let Some(last) = said.get("final") {
                    break last["text"].as_str().unwrap().to_owned();
                }
            }
        })
        .await
        .expect("the gateway understands within two minutes");
        assert_eq!(words(&heard), words(QUESTION), "{way:?}: {heard}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs models: cargo make test-models"]
async fn a_question_is_asked_again_when_the_connection_broke_in_its_middle() {
    let stack = Stack::up();
    let port = stack.layout.port("gateway");
    let mut written = Conversation::open(port).await;
    written.ask("Say hello.", false).await;
    let before = written.until_end().await.unwrap().summary.unwrap().dialogue_id;
    drop(written);

    let way = way(16_000, 1, Pieces::Even, 1.0);
    let pieces = way.pieces();
    let broken = Conversation::open_with(port, way.opening(&before)).await;
    for (piece, takes) in &pieces[..60] {
        broken.speak(piece).await;
        tokio::time::sleep(*takes).await;
    }
    drop(broken);

    let mut again = Conversation::open_with(port, way.opening(&before)).await;
    for (piece, _) in &pieces {
        again.speak(piece).await;
    }
    let heard = transcript(&mut again).await;
    assert_eq!(words(&heard), words(QUESTION), "{heard}");
    let outcome = again.until_end().await.unwrap();
    let summary = outcome.summary.unwrap_or_else(|| panic!("{:?}", outcome.error));
    assert_eq!(summary.dialogue_id, before, "the dialogue goes on");
}
