//! A client's side of both streams.

use std::time::Duration;

use futures::StreamExt;
use solo_audio::pcm;
use solo_proto::audio::v1::{AudioChunk, AudioFormat};
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::stt_service_client::SttServiceClient;
use solo_proto::stt::v1::{
    ListenConfig, ListenControl, ListenRequest, ListenResponse, TranscribeConfig, TranscribeRequest,
    TranscribeResponse, listen_request, listen_response, transcribe_request,
};
use solo_service::testing::Harness;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

/// Longer than anything that works takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A live stream.
pub(crate) struct Live {
    send: mpsc::Sender<ListenRequest>,
    answers: Streaming<ListenResponse>,
    position: u64,
}

impl Live {
    /// Opens a stream and takes its first message.
    pub(crate) async fn open(harness: &Harness, config: ListenConfig) -> Self {
        let mut live = Self::open_raw(harness, listen_request::Payload::Config(config))
            .await
            .expect("it listens");
        let first = live.next().await;
        assert!(matches!(first, listen_response::Payload::Started(_)), "{first:?}");
        live
    }

    /// Opens a stream with any first message.
    pub(crate) async fn open_raw(harness: &Harness, first: listen_request::Payload) -> Result<Self, Status> {
        let (send, requests) = mpsc::channel(4_096);
        send.send(ListenRequest {
            payload: Some(first),
            ..ListenRequest::default()
        })
        .await
        .unwrap();
        let mut client = SttServiceClient::new(harness.channel().await);
        let answers = client.listen(ReceiverStream::new(requests)).await?.into_inner();
        Ok(Self {
            send,
            answers,
            position: 0,
        })
    }

    pub(crate) async fn send(&self, payload: listen_request::Payload) {
        self.send_raw(ListenRequest {
            payload: Some(payload),
            ..ListenRequest::default()
        })
        .await;
    }

    pub(crate) async fn send_raw(&self, request: ListenRequest) {
        self.send.send(request).await.expect("the stream is open");
    }

    /// Sends audio, 20 ms a message.
    pub(crate) async fn say(&mut self, samples: &[i16]) {
        for chunk in samples.chunks(320) {
            let chunk = AudioChunk {
                data: pcm::to_s16le(chunk),
                first_sample: self.position,
            };
            self.position += chunk.data.len() as u64 / 2;
            self.send(listen_request::Payload::Audio(chunk)).await;
        }
    }

    pub(crate) async fn control(&self, action: Action) {
        self.send(listen_request::Payload::Control(ListenControl {
            action: action.into(),
        }))
        .await;
    }

    /// The next message, or how the stream ended.
    pub(crate) async fn try_next(&mut self) -> Result<Option<listen_response::Payload>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.answers.message())
            .await
            .expect("an answer comes in time")?;
        Ok(message.map(|message| message.payload.expect("every message says something")))
    }

    pub(crate) async fn next(&mut self) -> listen_response::Payload {
        self.try_next().await.expect("no error").expect("another message")
    }

    /// Ends the request stream and gives all that still comes.
    pub(crate) async fn finish(self) -> Result<Vec<listen_response::Payload>, Status> {
        let Self { send, mut answers, .. } = self;
        drop(send);
        let mut rest = Vec::new();
        while let Some(message) = tokio::time::timeout(PATIENCE, answers.message())
            .await
            .expect("it ends in time")?
        {
            rest.extend(message.payload);
        }
        Ok(rest)
    }
}

/// Sends a recording and gives all that comes back.
pub(crate) async fn transcribe(
    harness: &Harness,
    config: TranscribeConfig,
    bytes: &[u8],
) -> Result<Vec<TranscribeResponse>, Status> {
    let mut messages = vec![transcribe_request::Payload::Config(config)];
    messages.extend(
        bytes
            .chunks(64 * 1_024)
            .map(|piece| transcribe_request::Payload::Data(piece.to_vec())),
    );
    transcribe_raw(harness, messages).await
}

/// The same with any messages.
pub(crate) async fn transcribe_raw(
    harness: &Harness,
    messages: Vec<transcribe_request::Payload>,
) -> Result<Vec<TranscribeResponse>, Status> {
    let requests = messages
        .into_iter()
        .map(|payload| TranscribeRequest { payload: Some(payload) });
    let mut client = SttServiceClient::new(harness.channel().await);
    let mut answers = client.transcribe(tokio_stream::iter(requests)).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.push(answer?);
    }
    Ok(all)
}

/// Code and reason of a refusal.
pub(crate) fn refusal(status: &Status) -> (Code, String) {
    let info = status
        .get_details_error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "solo");
    (status.code(), info.reason)
}

/// Raw samples of the given rate.
pub(crate) fn raw(rate: u32, channels: u32) -> AudioFormat {
    AudioFormat {
        encoding: solo_proto::audio::v1::Encoding::S16le.into(),
        sample_rate_hz: rate,
        channels,
    }
}

/// A tone at 16,000 Hz: loud enough to be taken for voice by the detector by loudness.
pub(crate) fn tone(ms: u64) -> Vec<i16> {
    (0..ms * 16).map(|n| if n % 32 < 16 { 6_000 } else { -6_000 }).collect()
}

pub(crate) fn silence(ms: u64) -> Vec<i16> {
    vec![0; (ms * 16) as usize]
}
