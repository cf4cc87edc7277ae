//! The loudspeaker: a stream whose callback takes what is next from the queue, plays it on all channels, and tells what it
//! took, so that its echo can be taken out of what the microphone hears.
//!
//! The callback waits for a lock that is held for no longer than it takes to append a piece.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{ErrorKind, FromSample, SampleFormat, SizedSample, Stream};
use solo_audio::SampleRate;
use tokio::sync::mpsc::UnboundedSender;

use super::Heard;
use super::devices::{self, Chosen, Direction};
use super::faltering::Faltering;
use super::queue::Queue;
use crate::failure::Failure;

/// An open loudspeaker; dropped, it falls silent.
pub struct Speaker {
    /// What people call it.
    pub name: String,
    /// Its rate.
    pub rate: SampleRate,
    queue: Arc<Mutex<Queue>>,
    _stream: Stream,
}

impl Speaker {
    /// Opens the loudspeaker that is meant, or the system's default. What it plays is told to `heard`. Blocks for as long
    /// as the system takes.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open(wanted: Option<&str>, heard: UnboundedSender<Heard>) -> Result<Self, Failure> {
        let chosen = devices::choose(Direction::Output, wanted)?;
        let queue = Arc::<Mutex<Queue>>::default();
        let stream = match chosen.config.sample_format() {
            SampleFormat::I8 => build::<i8>(&chosen, &queue, heard),
            SampleFormat::I16 => build::<i16>(&chosen, &queue, heard),
            SampleFormat::I32 => build::<i32>(&chosen, &queue, heard),
            SampleFormat::U8 => build::<u8>(&chosen, &queue, heard),
            SampleFormat::U16 => build::<u16>(&chosen, &queue, heard),
            SampleFormat::U32 => build::<u32>(&chosen, &queue, heard),
            SampleFormat::F32 => build::<f32>(&chosen, &queue, heard),
            SampleFormat::F64 => build::<f64>(&chosen, &queue, heard),
            other => Err(cpal::Error::with_message(
                ErrorKind::UnsupportedConfig,
                format!("samples of the format {other} are not understood"),
            )),
        };
        let opened = stream.and_then(|stream| stream.play().map(|()| stream));
        let stream = opened.map_err(|e| {
            Failure::failed(format!("loudspeaker {}: it cannot be opened: {e}", chosen.name))
                .help("does another program use it? `solo talk --list-devices` lists the others")
        })?;
        Ok(Self {
            name: chosen.name,
            rate: chosen.rate,
            queue,
            _stream: stream,
        })
    }

    /// What waits to be played.
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Falls silent with the next callback.
    pub fn stop(&self) {
        self.queue().stop(self.rate);
    }
}

/// A queue whose holder has panicked is still a queue.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn build<T>(chosen: &Chosen, queue: &Arc<Mutex<Queue>>, heard: UnboundedSender<Heard>) -> Result<Stream, cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let channels = usize::from(chosen.config.channels()).max(1);
    let (queue, trouble) = (Arc::clone(queue), heard.clone());
    let (mut mono, mut sounding) = (Vec::new(), false);
    let faltering = Faltering::default();
    let works = faltering.clone();
    chosen.device.build_output_stream::<T, _, _>(
        chosen.config.config(),
        move |out: &mut [T], _: &cpal::OutputCallbackInfo| {
            works.works();
            mono.resize(out.len() / channels, 0.0);
            let there = lock(&queue).take(&mut mono);
            for (instant, sample) in out.chunks_exact_mut(channels).zip(&mono) {
                instant.fill(T::from_sample(*sample));
            }
            // Nobody listens any more: the stream is about to be closed.
            if there > 0 {
                let _ = heard.send(Heard::Played(mono[..there].to_vec()));
            }
            if sounding && there < mono.len() {
                let _ = heard.send(Heard::Silent);
            }
            sounding = there == mono.len();
        },
        move |error: cpal::Error| {
            if faltering.is_lost(&error, Instant::now()) {
                let _ = trouble.send(Heard::Lost(Direction::Output, error.to_string()));
            }
        },
        None,
    )
}
