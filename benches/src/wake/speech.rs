//! What Solo's own voices say. A voice draws noise for every sentence, so a take is kept once it has been made: from the same
//! takes the corpus is the same.

use std::path::{Path, PathBuf};

use solo_audio::{SampleRate, pcm, wav};
use solo_proto::audio::v1::{AudioFormat, Encoding};
use solo_proto::tts::v1::speech_event::Payload;
use solo_proto::tts::v1::synthesize_request::Input;
use solo_proto::tts::v1::tts_service_client::TtsServiceClient;
use solo_proto::tts::v1::{ListVoicesRequest, SynthesizeRequest, VoiceConfig};
use tonic::transport::Channel;

/// A studio with a shelf of takes.
pub struct Studio {
    client: TtsServiceClient<Channel>,
    shelf: PathBuf,
    /// Voices that can speak English.
    pub voices: Vec<String>,
    /// Takes that were made now, not found.
    pub made: usize,
}

impl Studio {
    /// Speaks through a tts-svc, keeps takes in `shelf`.
    ///
    /// # Panics
    /// When the service does not answer, or nobody speaks English.
    pub async fn open(channel: Channel, shelf: &Path) -> Self {
        std::fs::create_dir_all(shelf).expect("a folder for takes");
        let mut client = TtsServiceClient::new(channel);
        let voices = client
            .list_voices(ListVoicesRequest::default())
            .await
            .expect("tts-svc answers");
        let voices = voices.into_inner().voices.into_iter();
        let english = voices.filter(|voice| voice.installed && voice.language.starts_with("en"));
        let voices: Vec<String> = english.map(|voice| voice.id).collect();
        assert!(!voices.is_empty(), "no installed voice speaks English");
        Self {
            client,
            shelf: shelf.to_owned(),
            voices,
            made: 0,
        }
    }

    /// Take number `take` of a text.
    ///
    /// # Panics
    /// When it cannot be made or kept.
    pub async fn say(&mut self, text: &str, voice: &str, speed: f32, take: usize) -> Vec<i16> {
        let slug: String = text
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .take(80)
            .collect();
        let file = self
            .shelf
            .join(format!("{voice}_{speed:.2}_{take}_{slug}_{}.wav", text.len()));
        if let Ok(bytes) = std::fs::read(&file) {
            return wav::read_speech(&bytes).expect("a take that was kept");
        }
        let samples = self.synthesize(text, voice, speed).await;
        std::fs::write(&file, wav::encode(&samples, SampleRate::SPEECH)).expect("a take can be kept");
        self.made += 1;
        samples
    }

    async fn synthesize(&mut self, text: &str, voice: &str, speed: f32) -> Vec<i16> {
        let request = SynthesizeRequest {
            voice: Some(VoiceConfig {
                voice: voice.into(),
                speed,
                format: Some(AudioFormat {
                    encoding: Encoding::S16le.into(),
                    sample_rate_hz: 16_000,
                    channels: 1,
                }),
                ..VoiceConfig::default()
            }),
            input: Some(Input::Text(text.into())),
        };
        let mut events = self
            .client
            .synthesize(request)
            .await
            .expect("tts-svc speaks")
            .into_inner();
        let mut samples = Vec::new();
        while let Some(event) = events.message().await.expect("tts-svc speaks on") {
            if let Some(Payload::Audio(chunk)) = event.event.and_then(|event| event.payload) {
                samples.extend(pcm::from_s16le(&chunk.data).expect("whole samples"));
            }
        }
        assert!(!samples.is_empty(), "\"{text}\" gave no sound");
        samples
    }
}
