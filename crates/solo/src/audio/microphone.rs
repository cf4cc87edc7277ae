//! The microphone: a stream whose callback makes one channel of what it got and hands it on.

use std::time::Instant;

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, Sample, SampleFormat, SizedSample, Stream};
use solo_audio::SampleRate;
use tokio::sync::mpsc::UnboundedSender;

use super::Heard;
use super::devices::{self, Chosen, Direction};
use super::faltering::Faltering;
use crate::failure::Failure;

/// An open microphone; dropped, it is closed.
pub struct Microphone {
    /// What people call it.
    pub name: String,
    /// Its rate.
    pub rate: SampleRate,
    _stream: Stream,
}

impl Microphone {
    /// Opens the microphone that is meant, or the system's default. What it hears goes to `heard`. Blocks for as long as
    /// the system takes.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open(wanted: Option<&str>, heard: UnboundedSender<Heard>) -> Result<Self, Failure> {
        let chosen = devices::choose(Direction::Input, wanted)?;
        let stream = match chosen.config.sample_format() {
            SampleFormat::I8 => build::<i8>(&chosen, heard),
            SampleFormat::I16 => build::<i16>(&chosen, heard),
            SampleFormat::I32 => build::<i32>(&chosen, heard),
            SampleFormat::U8 => build::<u8>(&chosen, heard),
            SampleFormat::U16 => build::<u16>(&chosen, heard),
            SampleFormat::U32 => build::<u32>(&chosen, heard),
            SampleFormat::F32 => build::<f32>(&chosen, heard),
            SampleFormat::F64 => build::<f64>(&chosen, heard),
            other => Err(cpal::Error::with_message(
                cpal::ErrorKind::UnsupportedConfig,
                format!("samples of the format {other} are not understood"),
            )),
        };
        let opened = stream.and_then(|stream| stream.play().map(|()| stream));
        let stream = opened.map_err(|e| {
            Failure::failed(format!("microphone {}: it cannot be opened: {e}", chosen.name))
                .help("does another program use it? `solo talk --list-devices` lists the others")
        })?;
        Ok(Self {
            name: chosen.name,
            rate: chosen.rate,
            _stream: stream,
        })
    }
}

fn build<T>(chosen: &Chosen, heard: UnboundedSender<Heard>) -> Result<Stream, cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(chosen.config.channels()).max(1);
    let trouble = heard.clone();
    let faltering = Faltering::default();
    let works = faltering.clone();
    chosen.device.build_input_stream::<T, _, _>(
        chosen.config.config(),
        move |samples: &[T], _: &cpal::InputCallbackInfo| {
            works.works();
            let mono = samples
                .chunks_exact(channels)
                .map(|instant| instant.iter().map(|s| f32::from_sample(*s)).sum::<f32>() / channels as f32);
            // Nobody listens any more: the stream is about to be closed.
            let _ = heard.send(Heard::Captured(mono.collect()));
        },
        move |error: cpal::Error| {
            if faltering.is_lost(&error, Instant::now()) {
                let _ = trouble.send(Heard::Lost(Direction::Input, error.to_string()));
            }
        },
        None,
    )
}
