//! The gRPC border of tts-svc: decode, speak, encode.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use solo_proto::tts::v1::tts_service_server::TtsService;
use solo_proto::tts::v1::{
    ListVoicesRequest, ListVoicesResponse, SpeakRequest, SpeakResponse, SpeechEvent, SynthesizeRequest,
    SynthesizeResponse, VoiceConfig,
};
use solo_service::{Context, IntoStatus};
use tonic::{Request, Response, Status, Streaming};

use crate::SpeechError;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::convert::{self, Manner};
use crate::encode::Encoding;
use crate::speech::{Piece, Speaker};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves `solo.tts.v1`.
pub struct TtsGrpc {
    speaker: Arc<Speaker>,
    catalogue: Arc<Catalogue>,
    context: Context,
    defaults: Manner,
    max_text_chars: usize,
}

impl TtsGrpc {
    /// Speaks with `speaker`; what a request leaves open is as `config` says.
    pub fn new(speaker: Arc<Speaker>, catalogue: Arc<Catalogue>, context: Context, config: &Config) -> Self {
        Self {
            speaker,
            catalogue,
            context,
            defaults: Manner {
                voice: config.voice.clone(),
                speed: config.speed,
                volume: 1.0,
                encoding: Encoding::default(),
                sample_rate: None,
            },
            max_text_chars: config.max_text_chars,
        }
    }

    async fn speech<S>(&self, config: Option<VoiceConfig>, pieces: S) -> Result<Answers<SpeechEvent>, SpeechError>
    where
        S: Stream<Item = Result<Piece, SpeechError>> + Send + 'static,
    {
        let manner = convert::manner(config, &self.defaults)?;
        let engine = self.catalogue.find(&manner.voice)?.engine;
        let facts = self.speaker.facts(engine, &manner.voice).await?;
        let context = self.context.clone();
        let events = self.speaker.speak(manner, engine, facts, pieces)?;
        Ok(Box::pin(events.map(move |event| {
            event.map(convert::event).map_err(|error| status(error, &context))
        })))
    }
}

fn status(error: SpeechError, context: &Context) -> Status {
    match error {
        SpeechError::Draining => context.draining_status(),
        error => error.into_status(),
    }
}

#[tonic::async_trait]
impl TtsService for TtsGrpc {
    type SynthesizeStream = Answers<SynthesizeResponse>;
    type SpeakStream = Answers<SpeakResponse>;

    async fn synthesize(
        &self,
        request: Request<SynthesizeRequest>,
    ) -> Result<Response<Self::SynthesizeStream>, Status> {
        let mut request = request.into_inner();
        let pieces = convert::pieces(&mut request, self.max_text_chars).map_err(IntoStatus::into_status)?;
        let pieces = stream::iter(pieces.into_iter().map(Ok));
        let events = self
            .speech(request.voice, pieces)
            .await
            .map_err(IntoStatus::into_status)?;
        let answers = events.map(|event| event.map(|event| SynthesizeResponse { event: Some(event) }));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn speak(&self, request: Request<Streaming<SpeakRequest>>) -> Result<Response<Self::SpeakStream>, Status> {
        let mut requests = request.into_inner();
        let first = tokio::select! {
            first = requests.message() => first?,
            () = self.context.shutdown.cancelled() => return Err(self.context.draining_status()),
        };
        let config = convert::first(first).map_err(IntoStatus::into_status)?;
        let pieces = requests.map(|request| match request {
            Ok(request) => convert::piece(request),
            Err(status) => Err(SpeechError::InputBroken(Box::new(status))),
        });
        let events = self
            .speech(Some(config), pieces)
            .await
            .map_err(IntoStatus::into_status)?;
        let answers = events.map(|event| event.map(|event| SpeakResponse { event: Some(event) }));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn list_voices(&self, request: Request<ListVoicesRequest>) -> Result<Response<ListVoicesResponse>, Status> {
        let active = &self.defaults.voice;
        let voices = self.catalogue.of_language(&request.into_inner().language, active);
        let voices = voices
            .into_iter()
            .map(|voice| convert::voice(voice, voice.id == *active))
            .collect();
        Ok(Response::new(ListVoicesResponse { voices }))
    }
}
