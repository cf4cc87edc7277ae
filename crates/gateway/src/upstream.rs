//! All calls that the gateway makes of other services.
//!
//! A conversation's streams live for hours, so their deadline is far away; what is bounded is the time in which a service
//! has to be reachable and to say its first word. The machine of the conversation bounds everything after that.

mod memory;

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use solo_proto::agent::v1::agent_service_client::AgentServiceClient;
use solo_proto::agent::v1::{self as agent, converse_request};
use solo_proto::stt::v1::stt_service_client::SttServiceClient;
use solo_proto::stt::v1::{self as stt, listen_request, transcribe_request};
use solo_proto::tts::v1::tts_service_client::TtsServiceClient;
use solo_proto::tts::v1::{self as tts, speak_request};
use solo_proto::wake::v1::wake_service_client::WakeServiceClient;
use solo_proto::wake::v1::{self as wake, detect_request};
use solo_service::{Context, RequestContext, StartupError, Upstream, UpstreamError, UpstreamStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::config::Timeouts;
use crate::error::Error;

/// As good as no deadline.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// Messages that may wait for a service to take them: a minute and more of audio in small pieces.
const WAITING: usize = 8192;
/// Messages that wait at most when a client is listened to again ([`Duplex::room`]).
const BEHIND: usize = 64;
/// Pieces in which files travel.
const PIECE: usize = 256 * 1024;

/// The services that the gateway calls.
#[derive(Clone)]
pub(crate) struct Upstreams {
    wake: Upstream,
    stt: Upstream,
    tts: Upstream,
    llm: Upstream,
    memory: Upstream,
    agent: Upstream,
    connect: Duration,
    request: Duration,
}

/// A call in which both sides stream.
pub(crate) struct Duplex<I, O> {
    requests: mpsc::Sender<I>,
    responses: UpstreamStream<O>,
    service: &'static str,
}

impl<I, O> Duplex<I, O> {
    /// Hands a message over. Never waits: a service that does not take its input for so long is at fault.
    pub(crate) fn send(&self, message: I) -> Result<(), Error> {
        match self.requests.try_send(message) {
            // A closed channel means that the call has ended; what became of it comes with the next response.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::Contract {
                service: self.service,
                problem: "it does not take what is sent to it",
            }),
        }
    }

    /// Waits until the service has taken nearly all that was sent, or the call has ended: for clients that may send faster
    /// than real time, and can be kept waiting.
    pub(crate) fn room(&self) -> impl Future<Output = ()> + Send + use<I, O>
    where
        I: Send + 'static,
    {
        let requests = self.requests.clone();
        async move {
            let behind = BEHIND.min(requests.max_capacity() - 1);
            // A call that has ended takes everything.
            let _ = requests.reserve_many(requests.max_capacity() - behind).await;
        }
    }

    /// The next answer; `None` at the end.
    pub(crate) async fn message(&mut self) -> Result<Option<O>, UpstreamError> {
        self.responses.message().await
    }

    /// Says that nothing more will be sent; what the service still has to say follows.
    pub(crate) fn half_close(&mut self) {
        self.requests = mpsc::channel(1).0;
    }
}

impl Upstreams {
    /// Begins to watch all services.
    pub(crate) fn connect(context: &Context, timeouts: &Timeouts) -> Result<Self, StartupError> {
        Ok(Self {
            wake: context.upstream("wake-svc")?,
            stt: context.upstream("stt-svc")?,
            tts: context.upstream("tts-svc")?,
            llm: context.upstream("llm-svc")?,
            memory: context.upstream("memory-svc")?,
            agent: context.upstream("agent-svc")?,
            connect: timeouts.connect(),
            request: timeouts.request(),
        })
    }

    /// The client of a service by its name.
    pub(crate) fn of(&self, service: &str) -> Option<&Upstream> {
        [&self.wake, &self.stt, &self.tts, &self.llm, &self.memory, &self.agent]
            .into_iter()
            .find(|upstream| upstream.service() == service)
    }

    /// Watches audio for keywords.
    pub(crate) async fn detect(
        &self,
        caller: &RequestContext,
        config: wake::DetectConfig,
    ) -> Result<Duplex<wake::DetectRequest, wake::DetectResponse>, UpstreamError> {
        let first = wake::DetectRequest {
            payload: Some(detect_request::Payload::Config(config)),
        };
        self.duplex(&self.wake, caller, first, |channel, requests| async move {
            WakeServiceClient::new(channel).detect(requests).await
        })
        .await
    }

    /// Listens to live audio.
    pub(crate) async fn listen(
        &self,
        caller: &RequestContext,
        config: stt::ListenConfig,
    ) -> Result<Duplex<stt::ListenRequest, stt::ListenResponse>, UpstreamError> {
        let first = stt::ListenRequest {
            payload: Some(listen_request::Payload::Config(config)),
            ..stt::ListenRequest::default()
        };
        self.duplex(&self.stt, caller, first, |channel, requests| async move {
            SttServiceClient::new(channel).listen(requests).await
        })
        .await
    }

    /// Talks with the assistant.
    pub(crate) async fn converse(
        &self,
        caller: &RequestContext,
        open: agent::OpenDialogue,
    ) -> Result<Duplex<agent::ConverseRequest, agent::ConverseResponse>, UpstreamError> {
        let first = agent::ConverseRequest {
            payload: Some(converse_request::Payload::Open(open)),
        };
        self.duplex(&self.agent, caller, first, |channel, requests| async move {
            AgentServiceClient::new(channel).converse(requests).await
        })
        .await
    }

    /// Speaks text while it is being written.
    pub(crate) async fn speak(
        &self,
        caller: &RequestContext,
        config: tts::VoiceConfig,
    ) -> Result<Duplex<tts::SpeakRequest, tts::SpeakResponse>, UpstreamError> {
        let first = tts::SpeakRequest {
            payload: Some(speak_request::Payload::Config(config)),
        };
        self.duplex(&self.tts, caller, first, |channel, requests| async move {
            TtsServiceClient::new(channel).speak(requests).await
        })
        .await
    }

    /// Speaks one text.
    pub(crate) async fn synthesize(
        &self,
        caller: &RequestContext,
        request: tts::SynthesizeRequest,
    ) -> Result<UpstreamStream<tts::SynthesizeResponse>, UpstreamError> {
        self.answers(&self.tts, |channel| {
            let request = caller.request(request.clone());
            async move { TtsServiceClient::new(channel).synthesize(request).await }
        })
        .await
    }

    /// Transcribes a recording.
    pub(crate) async fn transcribe(
        &self,
        caller: &RequestContext,
        config: stt::TranscribeConfig,
        file: Bytes,
    ) -> Result<UpstreamStream<stt::TranscribeResponse>, UpstreamError> {
        self.answers(&self.stt, |channel| {
            let first = transcribe_request::Payload::Config(config.clone());
            let pieces = pieces(file.clone()).map(transcribe_request::Payload::Data);
            let messages = std::iter::once(first)
                .chain(pieces)
                .map(|payload| stt::TranscribeRequest { payload: Some(payload) });
            let request = caller.request(tokio_stream::iter(messages));
            async move { SttServiceClient::new(channel).transcribe(request).await }
        })
        .await
    }

    /// The models of speech recognition, the one in use first.
    pub(crate) async fn speech_models(
        &self,
        caller: &RequestContext,
    ) -> Result<stt::ListModelsResponse, UpstreamError> {
        let request = stt::ListModelsRequest {};
        self.call(&self.stt, caller, request, |channel, request| async move {
            SttServiceClient::new(channel).list_models(request).await
        })
        .await
    }

    /// The voices that speak a language, the configured one first. Empty: all voices.
    pub(crate) async fn voices(
        &self,
        caller: &RequestContext,
        language: &str,
    ) -> Result<tts::ListVoicesResponse, UpstreamError> {
        let request = tts::ListVoicesRequest {
            language: language.to_owned(),
        };
        self.call(&self.tts, caller, request, |channel, request| async move {
            TtsServiceClient::new(channel).list_voices(request).await
        })
        .await
    }

    /// The keywords, those in use first.
    pub(crate) async fn keywords(&self, caller: &RequestContext) -> Result<wake::ListKeywordsResponse, UpstreamError> {
        let request = wake::ListKeywordsRequest {};
        self.call(&self.wake, caller, request, |channel, request| async move {
            WakeServiceClient::new(channel).list_keywords(request).await
        })
        .await
    }

    /// A call with one answer, within the request's time.
    async fn call<M, T, F, Fut>(
        &self,
        upstream: &Upstream,
        caller: &RequestContext,
        message: M,
        mut call: F,
    ) -> Result<T, UpstreamError>
    where
        M: Clone,
        F: FnMut(Channel, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.reachable(upstream).await?;
        let caller = caller.within(self.request);
        let deadline = caller.deadline_or(self.request);
        upstream
            .call(deadline, |channel| call(channel, caller.request(message.clone())))
            .await
    }

    /// A call that is answered by a stream, each message of which comes within the request's time.
    async fn answers<O, F, Fut>(&self, upstream: &Upstream, call: F) -> Result<UpstreamStream<O>, UpstreamError>
    where
        F: FnMut(Channel) -> Fut,
        Fut: Future<Output = Result<Response<Streaming<O>>, Status>>,
    {
        self.reachable(upstream).await?;
        in_time(
            upstream,
            self.request,
            upstream.open(Instant::now() + FAR, self.request, call),
        )
        .await
    }

    async fn duplex<I, O, F, Fut>(
        &self,
        upstream: &Upstream,
        caller: &RequestContext,
        first: I,
        mut call: F,
    ) -> Result<Duplex<I, O>, UpstreamError>
    where
        I: Clone,
        F: FnMut(Channel, Request<ReceiverStream<I>>) -> Fut,
        Fut: Future<Output = Result<Response<Streaming<O>>, Status>>,
    {
        self.reachable(upstream).await?;
        let mut requests = mpsc::channel(1).0;
        // Opening may be tried twice; the second time needs a stream of its own.
        let open = upstream.open(Instant::now() + FAR, FAR, |channel| {
            let (sender, receiver) = mpsc::channel(WAITING);
            // A new channel has room.
            let _ = sender.try_send(first.clone());
            requests = sender;
            call(channel, caller.request(ReceiverStream::new(receiver)))
        });
        let responses = in_time(upstream, self.request, open).await?;
        Ok(Duplex {
            requests,
            responses,
            service: upstream.service(),
        })
    }

    /// Waits, but not for long, until the service can be called.
    async fn reachable(&self, upstream: &Upstream) -> Result<(), UpstreamError> {
        upstream.channel(Instant::now() + self.connect).await.map(drop)
    }
}

/// Bounds the opening of a stream, whose own deadline is far away.
async fn in_time<T>(
    upstream: &Upstream,
    limit: Duration,
    work: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let late = Status::deadline_exceeded("it did not answer in time");
        Err(UpstreamError::from_status(upstream.service(), &late))
    })
}

/// A file, cut for travelling.
fn pieces(file: Bytes) -> impl Iterator<Item = Vec<u8>> {
    (0..file.len())
        .step_by(PIECE)
        .map(move |start| file[start..file.len().min(start + PIECE)].to_vec())
}
