//! A detector without weights, the service with it, and what tests say to it.

use solo_audio::{Framer, pcm};
use solo_proto::audio::v1::AudioChunk;
use solo_proto::wake::v1::detect_request::Payload;
use solo_proto::wake::v1::detect_response::Payload as Answer;
use solo_proto::wake::v1::wake_service_client::WakeServiceClient;
use solo_proto::wake::v1::{DetectConfig, DetectRequest, DetectResponse, DetectStarted, KeywordConfig, WakeEvent};
use solo_service::StartupError;
use solo_service::testing::Harness;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use wake_svc::catalogue::{Catalogue, KnownKeyword};
use wake_svc::engine::{EngineError, EngineKind, KeywordDetector, KeywordEngine, KeywordModel, Score};
use wake_svc::watch::Rule;

pub(crate) const KEYWORDS: [&str; 3] = ["alpha", "beta", "gone"];

/// A block of 10 ms in which keyword `index` has this probability, in per mille.
pub(crate) fn block(index: i16, per_mille: i16) -> [i16; 160] {
    [index * 1001 + per_mille; 160]
}

/// Reads its probabilities from the samples themselves: see [`block`].
struct FakeDetector {
    models: Vec<KeywordModel>,
    framer: Framer<i16>,
}

impl KeywordDetector for FakeDetector {
    fn keywords(&self) -> &[KeywordModel] {
        &self.models
    }

    fn process(&mut self, first_sample: u64, samples: &[i16], emit: &mut dyn FnMut(Score)) -> Result<(), EngineError> {
        if first_sample != self.framer.position() {
            self.framer.skip_to(first_sample);
        }
        self.framer.push(samples);
        while let Some(frame) = self.framer.next_frame() {
            let (index, per_mille) = (frame.samples[0] / 1001, frame.samples[0] % 1001);
            if index == 9 {
                return Err(EngineError::Run("a secret of the engine".into()));
            }
            for (keyword, model) in self.models.iter().enumerate() {
                let hit = KEYWORDS[index as usize] == model.id;
                let probability = if hit { f32::from(per_mille) / 1000.0 } else { 0.0 };
                emit(Score {
                    keyword,
                    probability,
                    end_sample: frame.first_sample + 160,
                });
            }
        }
        Ok(())
    }
}

struct FakeEngine;

impl KeywordEngine for FakeEngine {
    fn open(&mut self, rules: &[Rule]) -> Result<Box<dyn KeywordDetector>, EngineError> {
        if rules.iter().any(|rule| rule.keyword == "gone") {
            let message = "model \"micro-gone\" is not installed: run `solo models pull micro-gone`".into();
            return Err(EngineError::NotInstalled { message });
        }
        let model = |rule: &Rule| KeywordModel {
            id: rule.keyword.clone(),
            cutoff: 0.9,
            window: 800,
        };
        Ok(Box::new(FakeDetector {
            models: rules.iter().map(model).collect(),
            framer: Framer::new(160),
        }))
    }
}

pub(crate) struct Fake {
    pub(crate) harness: Harness,
    pub(crate) client: WakeServiceClient<Channel>,
}

/// Starts the service with the fake detector; "gone" is known but not installed. `overrides` are lines of `[wake]`.
pub(crate) async fn start(overrides: &str) -> Result<Fake, StartupError> {
    let keywords = if overrides.contains("keywords") {
        ""
    } else {
        "keywords = [\"alpha\"]"
    };
    let overrides = format!("[wake]\n{keywords}\n{overrides}");
    let harness = Harness::start(wake_svc::DEFINITION, &overrides, |config, context| async move {
        let missing = |id: &str| {
            if id == "gone" {
                vec!["/nowhere/model.tflite".into()]
            } else {
                vec![]
            }
        };
        let known = KEYWORDS.map(|id| KnownKeyword::new(id, EngineKind::MicroWakeWord, "Apache-2.0", missing(id)));
        wake_svc::build_with(config, context, Catalogue::new(known.to_vec()), Box::new(FakeEngine)).await
    })
    .await?;
    let client = WakeServiceClient::new(harness.channel().await);
    Ok(Fake { harness, client })
}

pub(crate) fn config(keywords: Vec<KeywordConfig>) -> DetectRequest {
    DetectRequest {
        payload: Some(Payload::Config(DetectConfig { keywords })),
    }
}

pub(crate) fn keyword(id: &str) -> KeywordConfig {
    KeywordConfig {
        keyword: id.into(),
        ..KeywordConfig::default()
    }
}

pub(crate) fn audio(first_sample: u64, samples: &[i16]) -> DetectRequest {
    bytes(first_sample, pcm::to_s16le(samples))
}

pub(crate) fn bytes(first_sample: u64, data: Vec<u8>) -> DetectRequest {
    DetectRequest {
        payload: Some(Payload::Audio(AudioChunk { data, first_sample })),
    }
}

/// A whole stream in chunks of `length` samples, the first at position `from`.
pub(crate) fn chunks(from: u64, samples: &[i16], length: usize) -> Vec<DetectRequest> {
    let positions = (0..).map(|index| from + (index * length) as u64);
    samples
        .chunks(length)
        .zip(positions)
        .map(|(chunk, position)| audio(position, chunk))
        .collect()
}

pub(crate) async fn next(answers: &mut Streaming<DetectResponse>) -> Result<Option<Answer>, Status> {
    Ok(answers
        .message()
        .await?
        .map(|answer| answer.payload.expect("an answer has a payload")))
}

/// Sends a stream and reads all that is heard; the first answer says that it is listened to.
pub(crate) async fn listen(
    client: &mut WakeServiceClient<Channel>,
    requests: Vec<DetectRequest>,
) -> Result<(DetectStarted, Vec<WakeEvent>), Status> {
    let mut answers = client.detect(futures::stream::iter(requests)).await?.into_inner();
    let Some(Answer::Started(started)) = next(&mut answers).await? else {
        panic!("started is first")
    };
    let mut wakes = Vec::new();
    while let Some(answer) = next(&mut answers).await? {
        match answer {
            Answer::Wake(wake) => wakes.push(wake),
            Answer::Started(_) => panic!("started comes once"),
        }
    }
    Ok((started, wakes))
}
