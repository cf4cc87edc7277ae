//! The last step of a speech: what the engine makes becomes marks and bytes, at the rate and loudness that were asked for.

use std::ops::Range;
use std::time::{Duration, Instant};

use solo_audio::{Resampler, SampleRate, pcm};
use solo_service::StatusBoard;
use tokio::sync::mpsc::{Receiver, Sender};

use super::{Covers, Event, Summary};
use crate::SpeechError;
use crate::encode::Encoder;
use crate::engine::Made;

/// Length of a chunk of audio: the longest that a message may carry.
const CHUNK_MS: u64 = 100;

/// What happens to be sent.
pub(super) enum Step {
    /// Silence of this length.
    Silence(Duration),
    /// A unit begins; what is made of it follows, then its end.
    Unit {
        /// Its bytes in what the caller sent.
        text: Range<usize>,
        /// The bytes that each of its words stands for.
        words: Vec<Range<usize>>,
        /// When it was there.
        at: Instant,
        /// What samples are multiplied by.
        gain: f32,
        /// A pause follows if something else does.
        pause_after: bool,
    },
    /// Something was made of it.
    Made(Made),
    /// All of it was made.
    End {
        /// Time spent on that.
        took: Duration,
    },
}

/// A unit that is being sent.
struct Current {
    text: Range<usize>,
    words: Vec<Range<usize>>,
    at: Instant,
    gain: f32,
    pause_after: bool,
    resampler: Resampler,
    marked: bool,
}

/// Nobody listens any more.
struct Unheard;

/// Sends one speech.
pub(super) struct Mouth {
    /// The voice's rate, and that of the speech.
    rates: (SampleRate, SampleRate),
    pause: Duration,
    status: StatusBoard,
    encoder: Box<dyn Encoder>,
    out: Sender<Event>,
    summary: Summary,
    pause_due: bool,
    current: Option<Current>,
}

impl Mouth {
    /// For a voice of the first rate, sent at the second, with this pause between sentences.
    pub(super) fn new(
        rates: (SampleRate, SampleRate),
        pause: Duration,
        status: StatusBoard,
        encoder: Box<dyn Encoder>,
        out: Sender<Event>,
    ) -> Self {
        Self {
            rates,
            pause,
            status,
            encoder,
            out,
            summary: Summary::default(),
            pause_due: false,
            current: None,
        }
    }

    /// Sends all steps, then the summary.
    pub(super) async fn send(mut self, mut steps: Receiver<Step>) -> Result<(), SpeechError> {
        while let Some(step) = steps.recv().await {
            // When nobody listens, this whole task is about to be dropped.
            if let Err(Unheard) = self.step(step).await? {
                return Ok(());
            }
        }
        let rest = self.encoder.finish()?;
        if !rest.is_empty() && self.event_of(rest).await.is_err() {
            return Ok(());
        }
        self.summary.length = self.rates.1.duration_of(self.summary.samples);
        if self.summary.samples > 0 {
            let factor = self.summary.real_time_factor();
            self.status.gauge("real_time_factor", "1", factor.into());
        }
        // Nobody to tell is nobody to fail for.
        let _ = self.out.send(Event::Summary(self.summary)).await;
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<Result<(), Unheard>, SpeechError> {
        match step {
            Step::Silence(length) => {
                self.pause_due = false;
                self.silence(length).await
            }
            Step::Unit {
                text,
                words,
                at,
                gain,
                pause_after,
            } => {
                self.current = Some(Current {
                    text,
                    words,
                    at,
                    gain,
                    pause_after,
                    resampler: Resampler::new(self.rates.0, self.rates.1),
                    marked: false,
                });
                Ok(Ok(()))
            }
            Step::Made(Made::Length { samples, words }) => {
                if std::mem::take(&mut self.pause_due)
                    && let Err(unheard) = self.silence(self.pause).await?
                {
                    return Ok(Err(unheard));
                }
                Ok(self.marks(samples, &words).await)
            }
            Step::Made(Made::Samples(samples)) => {
                let Some(current) = &mut self.current else {
                    return Ok(Ok(()));
                };
                let ready = current.resampler.push(&samples);
                let gain = current.gain;
                self.audio(ready, gain).await
            }
            Step::End { took } => {
                self.summary.synthesis += took;
                let Some(mut current) = self.current.take() else {
                    return Ok(Ok(()));
                };
                if !current.marked {
                    let mark = Event::Mark {
                        covers: Covers::Unit,
                        text: current.text,
                        samples: self.summary.samples..self.summary.samples,
                    };
                    return Ok(self.event(mark).await);
                }
                self.pause_due = current.pause_after;
                let rest = current.resampler.flush();
                self.audio(rest, current.gain).await
            }
        }
    }

    /// The mark of the unit and those of its words, once its length is known.
    async fn marks(&mut self, samples: usize, starts: &[usize]) -> Result<(), Unheard> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        current.marked = true;
        let (from, to) = (u64::from(self.rates.0.hz()), u64::from(self.rates.1.hz()));
        let first = self.summary.samples;
        let scaled = |samples: usize| first + samples as u64 * to / from;
        let end = first + (samples as u64 * to).div_ceil(from);
        let mut marks = vec![Event::Mark {
            covers: Covers::Unit,
            text: current.text.clone(),
            samples: first..end,
        }];
        if starts.len() == current.words.len() {
            let ends = starts.iter().skip(1).map(|start| scaled(*start)).chain([end]);
            for ((text, start), end) in current.words.drain(..).zip(starts).zip(ends) {
                marks.push(Event::Mark {
                    covers: Covers::Word,
                    text,
                    samples: scaled(*start)..end,
                });
            }
        }
        if self.summary.first_audio.is_zero() {
            self.summary.first_audio = current.at.elapsed();
            let milliseconds = self.summary.first_audio.as_secs_f64() * 1e3;
            self.status.gauge("first_audio_ms", "ms", milliseconds);
        }
        for mark in marks {
            self.event(mark).await?;
        }
        Ok(())
    }

    async fn silence(&mut self, length: Duration) -> Result<Result<(), Unheard>, SpeechError> {
        let samples = self.rates.1.samples_in_ms(length.as_millis() as u64);
        self.audio(vec![0.0; samples as usize], 1.0).await
    }

    async fn audio(&mut self, mut samples: Vec<f32>, gain: f32) -> Result<Result<(), Unheard>, SpeechError> {
        for sample in &mut samples {
            *sample *= gain;
        }
        let longest = self.rates.1.samples_in_ms(CHUNK_MS) as usize;
        for chunk in pcm::to_i16(&samples).chunks(longest) {
            let data = self.encoder.push(chunk)?;
            if !data.is_empty()
                && let Err(unheard) = self.event_of(data).await
            {
                return Ok(Err(unheard));
            }
            self.summary.samples += chunk.len() as u64;
        }
        Ok(Ok(()))
    }

    async fn event_of(&mut self, data: Vec<u8>) -> Result<(), Unheard> {
        let first_sample = self.summary.samples;
        self.event(Event::Audio { first_sample, data }).await
    }

    async fn event(&mut self, event: Event) -> Result<(), Unheard> {
        self.out.send(event).await.map_err(|_| Unheard)
    }
}
