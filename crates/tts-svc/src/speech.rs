//! One speech: text in pieces goes in, a header, marks, audio and a summary come out.
//!
//! Three steps run side by side, joined by channels, in one task that ends when nobody listens any more: *read* cuts the
//! text into units, *synthesise* has each made into samples on the engine's thread, *send* ([`out`]) hands them on as bytes
//! while the engine still makes the rest. So a unit is made while the audio of the one before is on its way, and the first
//! is heard before the last is written.

mod job;
mod out;
mod part;

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use solo_audio::SampleRate;
use solo_service::{Context, Worker};
use tokio::sync::mpsc::{self, Sender, UnboundedReceiver, UnboundedSender};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::SpeechError;
use crate::config::Config;
use crate::convert::Manner;
use crate::encode::{self, Encoding};
use crate::engine::{EngineKind, VoiceFacts, Voices};
use crate::ssml::{Item, Passage};
use crate::units::{Unit, UnitCutter};
use job::Ahead;
use out::{Mouth, Step};
use part::{Part, of_passage};

/// Chunks that may wait for a slow listener before synthesis waits, too.
const CHUNKS_AHEAD: usize = 64;

/// A piece of text that is being written.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// More text; may end within a word.
    Text(String),
    /// Speak what is there.
    Flush,
    /// A whole run of marked-up text.
    Passage(Passage),
    /// Silence.
    Break(Duration),
}

impl From<Item> for Piece {
    fn from(item: Item) -> Self {
        match item {
            Item::Passage(passage) => Self::Passage(passage),
            Item::Break(length) => Self::Break(length),
        }
    }
}

/// What a mark covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covers {
    /// What is synthesised in one go.
    Unit,
    /// A word, where the engine knows when it is spoken.
    Word,
}

/// What comes out of a speech, in this order: the header; for each unit its mark, those of its words, then its audio; the
/// summary.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The format of all audio that follows.
    Header {
        /// Identifier of the voice.
        voice: String,
        /// How samples become bytes.
        encoding: Encoding,
        /// Rate of the samples.
        sample_rate: SampleRate,
    },
    /// The audio that follows speaks this text.
    Mark {
        /// What it covers.
        covers: Covers,
        /// Bytes of the whole text.
        text: Range<usize>,
        /// Samples of the whole speech; empty for text that has no sound.
        samples: Range<u64>,
    },
    /// At most 100 ms of audio.
    Audio {
        /// Index of the first sample that was encoded for it; some formats hold samples back.
        first_sample: u64,
        /// The bytes.
        data: Vec<u8>,
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

/// What is next to be spoken, and when it was there.
enum Next {
    /// It is likely, and not yet sure, that this comes next.
    Foreseen(Part),
    Part {
        part: Part,
        at: Instant,
    },
    Break(Duration),
}

/// Speaks with the voices of one worker.
pub struct Speaker {
    worker: Worker<Voices>,
    context: Context,
    active: VoiceFacts,
    pause: Duration,
    first_unit_words: usize,
    first_unit_before: Arc<[String]>,
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
            first_unit_words: config.first_unit_words,
            first_unit_before: config
                .first_unit_before
                .iter()
                .map(|word| word.to_lowercase())
                .collect(),
            max_text_chars: config.max_text_chars,
        }
    }

    /// What is known of a voice; one that is not loaded is loaded now.
    ///
    /// # Errors
    /// When it is not installed or damaged, or the engine is busy.
    pub async fn facts(&self, engine: EngineKind, voice: &str) -> Result<VoiceFacts, SpeechError> {
        if voice == self.active.id {
            return Ok(self.active.clone());
        }
        let voice = voice.to_owned();
        let facts = self
            .worker
            .run(move |voices, _| voices.open(engine, &voice).map(|voice| voice.facts().clone()))
            .await?;
        Ok(facts?)
    }

    /// Speaks text while it is being written. Dropping the stream ends the speech, the engine's work included.
    ///
    /// # Errors
    /// When the format cannot be made here.
    pub fn speak<S>(
        self: &Arc<Self>,
        manner: Manner,
        engine: EngineKind,
        facts: VoiceFacts,
        pieces: S,
    ) -> Result<impl Stream<Item = Result<Event, SpeechError>> + Send + use<S>, SpeechError>
    where
        S: Stream<Item = Result<Piece, SpeechError>> + Send + 'static,
    {
        let sample_rate = manner
            .sample_rate
            .unwrap_or_else(|| manner.encoding.rate_for(facts.sample_rate));
        let encoder = encode::encoder(manner.encoding, sample_rate)?;
        let header = Event::Header {
            voice: facts.id.clone(),
            encoding: manner.encoding,
            sample_rate,
        };
        let (out, mut events) = mpsc::channel(CHUNKS_AHEAD);
        let pause = self.pause.div_f32(manner.speed);
        let mouth = Mouth::new(
            (facts.sample_rate, sample_rate),
            pause,
            self.context.status.clone(),
            encoder,
            out,
        );
        let speech = Speech {
            speaker: Arc::clone(self),
            manner,
            engine,
            facts,
        };
        Ok(async_stream::try_stream! {
            yield header;
            let task = tokio::spawn(speech.run(pieces, mouth).in_current_span());
            let task = AbortOnDropHandle::new(task);
            while let Some(event) = events.recv().await {
                yield event;
            }
            // The channel closes when the task ends: now it says how.
            task.await??;
        })
    }
}

struct Speech {
    speaker: Arc<Speaker>,
    manner: Manner,
    engine: EngineKind,
    facts: VoiceFacts,
}

impl Speech {
    async fn run<S>(self, pieces: S, mouth: Mouth) -> Result<(), SpeechError>
    where
        S: Stream<Item = Result<Piece, SpeechError>> + Send,
    {
        // Bounded by the limit on text.
        let (parts, ready) = mpsc::unbounded_channel();
        let (made, steps) = mpsc::channel(1);
        tokio::try_join!(
            self.read(pieces, parts),
            self.synthesise(ready, made),
            mouth.send(steps)
        )?;
        Ok(())
    }

    async fn read<S>(&self, pieces: S, parts: UnboundedSender<Next>) -> Result<(), SpeechError>
    where
        S: Stream<Item = Result<Piece, SpeechError>> + Send,
    {
        let limit = self.speaker.max_text_chars;
        let mut pieces = pin!(pieces);
        let mut cutter =
            UnitCutter::new(self.speaker.first_unit_words).ending_before(Arc::clone(&self.speaker.first_unit_before));
        let mut characters = 0;
        let hand_over = |next: Next| {
            // The other end goes away only together with this one.
            let _ = parts.send(next);
        };
        let part_of = |unit: Unit| Part {
            joined: unit.goes_on,
            passage: None,
            unit,
        };
        let plain = |units: Vec<Unit>| {
            let at = Instant::now();
            for unit in units {
                let part = part_of(unit);
                hand_over(Next::Part { part, at });
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
                        plain(cutter.push(&delta));
                        if let Some(unit) = cutter.foreseen() {
                            hand_over(Next::Foreseen(part_of(unit)));
                        }
                    }
                    Piece::Flush => plain(cutter.flush()),
                    Piece::Passage(passage) => {
                        characters += 1;
                        let at = Instant::now();
                        for part in of_passage(&mut cutter, passage) {
                            hand_over(Next::Part { part, at });
                        }
                    }
                    Piece::Break(length) => hand_over(Next::Break(length)),
                },
            }
        }
        plain(cutter.finish());
        Ok(())
    }

    async fn synthesise(&self, mut ready: UnboundedReceiver<Next>, made: Sender<Step>) -> Result<(), SpeechError> {
        let mut soon = true;
        let mut ahead: Option<Ahead> = None;
        while let Some(next) = ready.recv().await {
            let (part, at) = match next {
                Next::Part { part, at } => (part, at),
                Next::Foreseen(part) => {
                    let words = part.words(&self.facts.language);
                    if !words.is_empty() {
                        let said = self.say(&part, &words, soon);
                        // An empty delta changes nothing.
                        if ahead.as_ref().is_none_or(|ahead| ahead.said != said) {
                            // Where there is no room for it now, it is made when it is sure; any other fault is met again then.
                            ahead = self.make(&said).ok().map(|runs| Ahead { said, runs });
                        }
                    }
                    continue;
                }
                Next::Break(length) => {
                    if made.send(Step::Silence(length)).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
            };
            let words = part.words(&self.facts.language);
            let gain = self.manner.volume * part.passage.as_ref().map_or(1.0, |(passage, _)| passage.gain);
            let begin = Step::Unit {
                text: part.sent(part.unit.range.clone()),
                words: words.iter().map(|word| word.from.clone()).collect(),
                at,
                gain,
                pause_after: !part.joined && !part.unit.text.trim_end().ends_with([',', ';', ':', '—', '–']),
            };
            if made.send(begin).await.is_err() {
                return Ok(());
            }
            let took = if words.is_empty() {
                Duration::ZERO
            } else {
                let said = self.say(&part, &words, soon);
                let runs = match ahead.take() {
                    Some(ahead) if ahead.said == said => ahead.runs,
                    _ => self.make(&said)?,
                };
                let Some(took) = self.pass_on(runs, &made).await? else {
                    return Ok(());
                };
                soon = false;
                took
            };
            if made.send(Step::End { took }).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
