//! One speech: text in pieces goes in, a header, marks, audio and a summary come out.
//!
//! Three steps run side by side, joined by channels, in one task that ends when nobody listens any more: *read* cuts the
//! text into units, *synthesise* has each made into samples on the engine's thread, *send* hands the samples out in chunks.
//! So a unit is made while the audio of the one before is on its way, and the first is heard before the last is written.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use solo_audio::{SampleRate, pcm, resample};
use solo_service::{Context, Worker};
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::SpeechError;
use crate::config::Config;
use crate::convert::Manner;
use crate::engine::{VoiceFacts, Voices};
use crate::normalise;
use crate::units::{Unit, UnitCutter};

/// Length of a chunk of audio: the longest that a message may carry.
const CHUNK_MS: u64 = 100;
/// Chunks that may wait for a slow listener before synthesis waits, too.
const CHUNKS_AHEAD: usize = 64;

/// A piece of text that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// More text; may end within a word.
    Text(String),
    /// Speak what is there.
    Flush,
}

/// What comes out of a speech, in this order: the header; for each unit its mark, then its audio; the summary.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The format of all audio that follows.
    Header {
        /// Identifier of the voice.
        voice: String,
        /// Rate of the samples.
        sample_rate: SampleRate,
    },
    /// The audio that follows speaks this text.
    Mark {
        /// Bytes of the whole text.
        text: Range<usize>,
        /// Samples of the whole speech; empty for text that has no sound.
        samples: Range<u64>,
    },
    /// At most 100 ms of samples.
    Audio {
        /// Index of the first one in the speech.
        first_sample: u64,
        /// The samples.
        samples: Vec<i16>,
    },
    /// The end.
    Summary(Summary),
}

/// The whole of a speech.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// Samples in all.
    pub samples: u64,
    /// How long they last.
    pub length: Duration,
    /// From the moment the first speakable unit was there to its first sample.
    pub first_audio: Duration,
    /// Time spent on synthesis.
    pub synthesis: Duration,
}

impl Summary {
    /// Time spent on synthesis over the length of the audio; 0 when nothing was spoken.
    pub fn real_time_factor(&self) -> f32 {
        if self.length.is_zero() {
            0.0
        } else {
            self.synthesis.div_duration_f32(self.length)
        }
    }
}

/// A unit, and when it was there.
struct Ready {
    unit: Unit,
    at: Instant,
}

/// A unit that has been made into samples.
struct Spoken {
    unit: Unit,
    at: Instant,
    /// At the speech's rate; empty when the unit has no sound.
    samples: Vec<i16>,
    took: Duration,
}

/// Speaks with the voices of one worker.
pub struct Speaker {
    worker: Worker<Voices>,
    context: Context,
    active: VoiceFacts,
    pause: Duration,
    max_text_chars: usize,
}

impl Speaker {
    /// Speaks with `worker`'s voices; `active` is the configured one.
    pub fn new(worker: Worker<Voices>, context: Context, active: VoiceFacts, config: &Config) -> Self {
        Self {
            worker,
            context,
            active,
            pause: Duration::from_millis(config.pause_ms.into()),
            max_text_chars: config.max_text_chars,
        }
    }

    /// What is known of a voice; one that is not loaded is loaded now.
    ///
    /// # Errors
    /// When it is not installed or damaged, or the engine is busy.
    pub async fn facts(&self, voice: &str) -> Result<VoiceFacts, SpeechError> {
        if voice == self.active.id {
            return Ok(self.active.clone());
        }
        let voice = voice.to_owned();
        let facts = self
            .worker
            .run(move |voices, _| voices.open(&voice).map(|voice| voice.facts().clone()))
            .await?;
        Ok(facts?)
    }

    /// Speaks text while it is being written. Dropping the stream ends the speech, the engine's work included.
    pub fn speak<S>(
        self: &Arc<Self>,
        manner: Manner,
        facts: VoiceFacts,
        pieces: S,
    ) -> impl Stream<Item = Result<Event, SpeechError>> + Send + 'static
    where
        S: Stream<Item = Result<Piece, SpeechError>> + Send + 'static,
    {
        let speech = Speech {
            speaker: Arc::clone(self),
            sample_rate: manner.sample_rate.unwrap_or(facts.sample_rate),
            manner,
            facts,
        };
        async_stream::try_stream! {
            yield Event::Header { voice: speech.facts.id.clone(), sample_rate: speech.sample_rate };
            let (out, mut events) = mpsc::channel(CHUNKS_AHEAD);
            let task = tokio::spawn(speech.run(pieces, out).in_current_span());
            let task = AbortOnDropHandle::new(task);
            while let Some(event) = events.recv().await {
                yield event;
            }
            // The channel closes when the task ends: now it says how.
            task.await??;
        }
    }
}

struct Speech {
    speaker: Arc<Speaker>,
    manner: Manner,
    facts: VoiceFacts,
    sample_rate: SampleRate,
}

impl Speech {
    async fn run<S>(self, pieces: S, out: Sender<Event>) -> Result<(), SpeechError>
    where
        S: Stream<Item = Result<Piece, SpeechError>> + Send,
    {
        // Bounded by the limit on text.
        let (units, ready) = mpsc::unbounded_channel();
        let (made, spoken) = mpsc::channel(1);
        tokio::try_join!(
            self.read(pieces, units),
            self.synthesise(ready, made),
            self.send(spoken, out)
        )?;
        Ok(())
    }

    async fn read<S>(&self, pieces: S, units: UnboundedSender<Ready>) -> Result<(), SpeechError>
    where
        S: Stream<Item = Result<Piece, SpeechError>> + Send,
    {
        let limit = self.speaker.max_text_chars;
        let mut pieces = pin!(pieces);
        let mut cutter = UnitCutter::default();
        let mut characters = 0;
        let hand_over = |cut: Vec<Unit>| {
            let at = Instant::now();
            for unit in cut {
                // The other end goes away only together with this one.
                let _ = units.send(Ready { unit, at });
            }
        };
        loop {
            let piece = tokio::select! {
                biased;
                piece = pieces.next() => piece,
                // A speech that has begun is finished; one that has no text yet may as well begin elsewhere.
                () = self.speaker.context.shutdown.cancelled(), if characters == 0 => return Err(SpeechError::Draining),
            };
            match piece {
                None => break,
                Some(piece) => match piece? {
                    Piece::Text(delta) => {
                        characters += delta.chars().count();
                        if characters > limit {
                            return Err(SpeechError::TextTooLong { limit });
                        }
                        hand_over(cutter.push(&delta));
                    }
                    Piece::Flush => hand_over(cutter.flush()),
                },
            }
        }
        hand_over(cutter.finish());
        Ok(())
    }

    async fn synthesise(&self, mut ready: UnboundedReceiver<Ready>, made: Sender<Spoken>) -> Result<(), SpeechError> {
        while let Some(Ready { unit, at }) = ready.recv().await {
            let text = normalise::spoken(&unit, &self.facts.language);
            let (samples, took) = if text.is_empty() {
                (Vec::new(), Duration::ZERO)
            } else {
                self.samples(text).await?
            };
            if made
                .send(Spoken {
                    unit,
                    at,
                    samples,
                    took,
                })
                .await
                .is_err()
            {
                break;
            }
        }
        Ok(())
    }

    /// Has words made into samples on the engine's thread, gain and rate included.
    async fn samples(&self, text: String) -> Result<(Vec<i16>, Duration), SpeechError> {
        let Manner {
            voice, speed, volume, ..
        } = self.manner.clone();
        let (from, to) = (self.facts.sample_rate, self.sample_rate);
        let job = self.speaker.worker.run(move |voices, cancel| {
            let started = Instant::now();
            let mut samples = voices.open(&voice)?.synthesize(&text, speed, cancel)?;
            if from != to {
                samples = resample(&samples, from, to);
            }
            for sample in &mut samples {
                *sample *= volume;
            }
            Ok::<_, SpeechError>((pcm::to_i16(&samples), started.elapsed()))
        });
        job.await?
    }

    async fn send(&self, mut spoken: Receiver<Spoken>, out: Sender<Event>) -> Result<(), SpeechError> {
        let mut summary = Summary::default();
        let mut pause_due = false;
        while let Some(Spoken {
            unit,
            at,
            samples,
            took,
        }) = spoken.recv().await
        {
            let mut events = Vec::new();
            if !samples.is_empty() {
                if summary.samples == 0 {
                    summary.first_audio = at.elapsed();
                    self.speaker
                        .context
                        .status
                        .gauge("first_audio_ms", "ms", summary.first_audio.as_secs_f64() * 1e3);
                } else if pause_due {
                    let pause = self.speaker.pause.div_f32(self.manner.speed).as_millis() as u64;
                    let silence = vec![0; self.sample_rate.samples_in_ms(pause) as usize];
                    self.chunks(&silence, &mut summary.samples, &mut events);
                }
                pause_due = !unit.text.trim_end().ends_with([',', ';', ':', '—', '–']);
            }
            let end = summary.samples + samples.len() as u64;
            events.push(Event::Mark {
                text: unit.range,
                samples: summary.samples..end,
            });
            self.chunks(&samples, &mut summary.samples, &mut events);
            summary.synthesis += took;
            for event in events {
                if out.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
        summary.length = self.sample_rate.duration_of(summary.samples);
        if summary.samples > 0 {
            self.speaker
                .context
                .status
                .gauge("real_time_factor", "1", summary.real_time_factor().into());
        }
        // Nobody to tell is nobody to fail for.
        let _ = out.send(Event::Summary(summary)).await;
        Ok(())
    }

    fn chunks(&self, samples: &[i16], position: &mut u64, events: &mut Vec<Event>) {
        let longest = self.sample_rate.samples_in_ms(CHUNK_MS) as usize;
        for chunk in samples.chunks(longest) {
            events.push(Event::Audio {
                first_sample: *position,
                samples: chunk.to_vec(),
            });
            *position += chunk.len() as u64;
        }
    }
}
