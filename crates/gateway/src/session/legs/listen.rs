//! Speech recognition for one listening.
//!
//! If stt-svc goes away before it has said anything, the audio is sent once more to whoever takes its place.

use std::sync::Arc;

use solo_audio::{Clean, pcm};
use solo_proto::audio::v1::AudioChunk;
use solo_proto::stt::v1::{
    ListenConfig, ListenControl, ListenRequest, VadConfig, listen_control, listen_request, listen_response,
};
use solo_service::RequestContext;
use solo_turn::TurnId;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Ear, LegEvent, is_passing};
use crate::Gateway;
use crate::error::Error;

/// Pieces of audio that may wait.
const WAITING: usize = 8192;
/// Samples of a message: 100 ms.
const CHUNK: usize = 1600;

/// What a listening is told.
#[derive(Clone)]
enum Input {
    Audio(Clean),
    Finalize,
    /// The assistant began (true) or stopped (false) to speak.
    Playing(bool),
}

/// A running listening.
pub(in crate::session) struct ListenLeg {
    input: mpsc::Sender<Input>,
    /// The assistant speaks, as far as stt-svc was told.
    playing: bool,
    _task: AbortOnDropHandle<()>,
}

/// What a listening is.
pub(in crate::session) struct Listening {
    pub(in crate::session) turn: TurnId,
    /// Position of its first sample in the conversation.
    pub(in crate::session) base: u64,
    /// Language, as a code of two letters. Empty: the configured one.
    pub(in crate::session) language: String,
    /// True: recognition ends utterances by itself.
    pub(in crate::session) auto_end: bool,
}

impl ListenLeg {
    pub(in crate::session) fn start(
        gateway: &Arc<Gateway>,
        caller: RequestContext,
        span: &tracing::Span,
        listening: Listening,
        ear: Ear,
    ) -> Self {
        let (sender, input) = mpsc::channel(WAITING);
        let work = run(Arc::clone(gateway), caller, listening, ear, input);
        Self {
            input: sender,
            playing: false,
            _task: gateway.tasks.spawn(span, work),
        }
    }

    /// Hands samples over.
    ///
    /// # Errors
    /// When so much waits already that stt-svc cannot be working.
    pub(in crate::session) fn hear(&self, samples: &Clean) -> Result<(), Error> {
        let mut pieces = samples.strict.chunks(CHUNK).zip(samples.gentle.chunks(CHUNK));
        pieces.try_for_each(|(strict, gentle)| {
            self.tell(Input::Audio(Clean {
                strict: strict.to_vec(),
                gentle: gentle.to_vec(),
            }))
        })
    }

    /// Asks for the words, now.
    ///
    /// # Errors
    /// As above.
    pub(in crate::session) fn finalize(&self) -> Result<(), Error> {
        self.tell(Input::Finalize)
    }

    /// Says that the assistant began (true) or stopped (false) to speak.
    ///
    /// # Errors
    /// As above.
    pub(in crate::session) fn playing(&mut self, playing: bool) -> Result<(), Error> {
        if std::mem::replace(&mut self.playing, playing) == playing {
            return Ok(());
        }
        self.tell(Input::Playing(playing))
    }

    fn tell(&self, input: Input) -> Result<(), Error> {
        match self.input.try_send(input) {
            // A leg that has ended has said why.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::Contract {
                service: "stt-svc",
                problem: "it does not keep up with the audio",
            }),
        }
    }
}

async fn run(
    gateway: Arc<Gateway>,
    caller: RequestContext,
    listening: Listening,
    ear: Ear,
    input: mpsc::Receiver<Input>,
) {
    let turn = listening.turn;
    let mut stream = Stream {
        gateway,
        caller,
        listening,
        ear,
        input,
        past: Some(Vec::new()),
    };
    let mut result = stream.listen().await;
    // What it has heard is still known exactly when it has said nothing.
    if let Err(error) = &result
        && is_passing(error)
        && stream.past.is_some()
    {
        tracing::info!(%error, "listening is tried once more");
        result = stream.listen().await;
    }
    if let Err(error) = result {
        stream.ear.hears(LegEvent::ListenFailed { turn, error }).await;
    }
}

struct Stream {
    gateway: Arc<Gateway>,
    caller: RequestContext,
    listening: Listening,
    ear: Ear,
    input: mpsc::Receiver<Input>,
    /// Everything that was sent, until something came back.
    past: Option<Vec<Input>>,
}

impl Stream {
    fn config(&self) -> ListenConfig {
        let voice = &self.gateway.config.voice;
        ListenConfig {
            language: self.listening.language.clone(),
            vad: Some(VadConfig {
                silence_ms: Some(voice.silence_ms),
                ..VadConfig::default()
            }),
            partial_interval_ms: voice.partial_interval_ms,
            auto_finalize: self.listening.auto_end,
            candidate_ms: voice.candidate_ms,
            ..ListenConfig::default()
        }
    }

    /// One call, until the listening is dropped.
    async fn listen(&mut self) -> Result<(), Error> {
        let mut call = self.gateway.upstreams.listen(&self.caller, self.config()).await?;
        let mut sent = 0;
        for input in self.past.iter().flatten() {
            call.send(request(input.clone(), &mut sent))?;
        }
        loop {
            tokio::select! {
                input = self.input.recv() => {
                    let Some(input) = input else { return Ok(()) };
                    if let Some(past) = &mut self.past {
                        past.push(input.clone());
                    }
                    call.send(request(input, &mut sent))?;
                }
                said = call.message() => {
                    let Some(message) = said? else {
                        return Err(Error::Contract { service: "stt-svc", problem: "it stopped listening" });
                    };
                    let Some(said) = message.payload else { continue };
                    if !matches!(said, listen_response::Payload::Started(_)) {
                        self.past = None;
                    }
                    let (turn, base) = (self.listening.turn, self.listening.base);
                    self.ear.hears(LegEvent::Heard { turn, base, said }).await;
                }
            }
        }
    }
}

fn request(input: Input, sent: &mut u64) -> ListenRequest {
    let payload = match input {
        Input::Audio(samples) => {
            let first_sample = *sent;
            *sent += samples.strict.len() as u64;
            let audio = listen_request::Payload::Audio(AudioChunk {
                data: pcm::to_s16le(&samples.strict),
                first_sample,
            });
            // Where nothing was taken out both are the same, and one is enough.
            let same = samples.gentle == samples.strict;
            return ListenRequest {
                payload: Some(audio),
                words_data: if same {
                    Vec::new()
                } else {
                    pcm::to_s16le(&samples.gentle)
                },
            };
        }
        Input::Finalize => control(listen_control::Action::Finalize),
        Input::Playing(true) => control(listen_control::Action::PlaybackStarted),
        Input::Playing(false) => control(listen_control::Action::PlaybackStopped),
    };
    ListenRequest {
        payload: Some(payload),
        words_data: Vec::new(),
    }
}

fn control(action: listen_control::Action) -> listen_request::Payload {
    listen_request::Payload::Control(ListenControl { action: action.into() })
}
