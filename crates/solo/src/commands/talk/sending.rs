//! Sends sound: a microphone's as it comes, a recording's at the pace of real time.

use std::time::Duration;

use solo_audio::{SampleRate, pcm};
use solo_proto::audio::v1::AudioChunk;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::{EndOfSpeech, Listen};
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::conversation::Mode;
use super::pace::Pace;
use crate::session::Sender;

/// Silence that may be sent at once behind a recording that was (`--fast`): the end of a turn is found by it.
const SILENCE_AHEAD: Duration = Duration::from_millis(1500);

/// A stream of samples to the gateway, each piece with its position.
pub(super) struct Sending {
    sender: Sender,
    sent: u64,
}

impl Sending {
    /// A stream that begins.
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender, sent: 0 }
    }

    /// Samples sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends what follows; false when the conversation is over.
    pub(super) async fn send(&mut self, samples: &[i16]) -> bool {
        self.send_with_words(samples, &[]).await
    }

    /// The same, with what words are read from; none: from the same.
    pub(super) async fn send_with_words(&mut self, samples: &[i16], words: &[i16]) -> bool {
        let chunk = AudioChunk {
            data: pcm::to_s16le(samples),
            first_sample: self.sent,
        };
        self.sent += samples.len() as u64;
        self.sender.audio(chunk, pcm::to_s16le(words)).await
    }
}

/// The recording, then silence until this task is aborted. `done` is told when the recording is out.
pub(super) async fn speak(sender: Sender, samples: Vec<i16>, rate: SampleRate, mode: Mode, done: oneshot::Sender<()>) {
    let pace = Pace::new(rate, std::time::Instant::now());
    let piece = pace.piece();
    if mode.push && !sender.control(Control::Listen(Listen {})).await {
        return;
    }
    let mut sending = Sending::new(sender.clone());
    for chunk in samples.chunks(piece) {
        if !mode.fast {
            sleep_until(pace.due(sending.sent(), chunk.len()).into()).await;
        }
        if !sending.send(chunk).await {
            return;
        }
    }
    // Who listens may have gone already.
    let _ = done.send(());
    if mode.push {
        sender.control(Control::EndOfSpeech(EndOfSpeech {})).await;
        return;
    }
    let silence = vec![0; piece];
    let ahead = if mode.fast { SILENCE_AHEAD } else { Duration::ZERO };
    // The clock begins again: behind a recording that was not paced, the first one means nothing.
    let (pace, base) = (Pace::new(rate, std::time::Instant::now()), sending.sent());
    loop {
        let due = pace.due(sending.sent() - base, piece);
        sleep_until(due.checked_sub(ahead).unwrap_or(due).into()).await;
        if !sending.send(&silence).await {
            return;
        }
    }
}
