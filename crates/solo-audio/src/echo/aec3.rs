//! AEC3 itself, with settings for an assistant rather than for a telephone.
//!
//! A telephone's canceller must be quick and cheap, and may swallow who speaks over the other side for a moment: they say it
//! again. An assistant has to hear "stop" the first time. What is set here, and why, is in ADR 0015. Around the network of
//! filters that works on blocks of 4 ms there is what sonora's own pipeline has around it: what is below 100 Hz is taken out
//! first, and steady noise, if that is wanted, last.

use sonora::config::{HighPassFilter, NoiseSuppression, NoiseSuppressionLevel};
use sonora::{AudioProcessing, StreamConfig};
use sonora_aec3::block::Block;
use sonora_aec3::block_processor::BlockProcessor;
use sonora_aec3::common::BLOCK_SIZE;
use sonora_aec3::config::EchoCanceller3Config;

use super::{EchoOptions, FRAME};
use crate::{Framer, SampleRate};

/// Length of the filter that learns the room, in blocks: 160 ms.
const ROOM_BLOCKS: usize = 40;
/// Its length while it knows nothing yet, in blocks: 80 ms.
const FIRST_ROOM_BLOCKS: usize = 20;
/// Time in which it is taken to know nothing yet, in seconds of echo.
const FIRST_SECONDS: f32 = 1.0;
/// The most of an echo that the filter is believed to take out, as a factor of its power, below and above 1 kHz or so.
const BELIEVED_LOW: f32 = 16.0;
const BELIEVED_HIGH: f32 = 6.0;
/// How slowly what the filter does not reach dies away, 0 to 1: what is left of it after 4 ms.
const TAIL: f32 = 0.5;
/// Samples as large as this are taken to be cut off.
const SATURATED: i16 = 32_700;

/// Takes an echo out, frame by frame.
pub(super) struct Aec3 {
    high_pass: AudioProcessing,
    noise: Option<AudioProcessing>,
    processor: BlockProcessor,
    far: Framer<f32>,
    near: Framer<f32>,
    clean: Framer<f32>,
    block: Block,
    /// A frame between two steps.
    between: [i16; FRAME],
}

impl Aec3 {
    pub(super) fn new(options: EchoOptions) -> Self {
        let high_pass = pipeline(sonora::Config {
            high_pass_filter: Some(HighPassFilter::default()),
            ..sonora::Config::default()
        });
        let noise = options.noise_suppression.then(|| {
            pipeline(sonora::Config {
                noise_suppression: Some(NoiseSuppression {
                    level: NoiseSuppressionLevel::Moderate,
                    ..NoiseSuppression::default()
                }),
                ..sonora::Config::default()
            })
        });
        let mut clean = Framer::new(FRAME);
        // Frames do not end where blocks do: one block in hand is enough to have every frame whole.
        clean.push(&[0.0; BLOCK_SIZE]);
        Self {
            high_pass,
            noise,
            processor: BlockProcessor::new(&settings(), SampleRate::SPEECH.hz() as usize, 1, 1),
            far: Framer::new(BLOCK_SIZE),
            near: Framer::new(BLOCK_SIZE),
            clean,
            block: Block::new(1, 1),
            between: [0; FRAME],
        }
    }

    /// Takes a frame that was captured and the one that was played meanwhile, and writes the first without the second's echo.
    pub(super) fn process(&mut self, far: &[i16; FRAME], near: &[i16], clean: &mut [i16]) {
        let saturated = near
            .iter()
            .any(|sample| sample.unsigned_abs() >= SATURATED.unsigned_abs());
        self.high_pass
            .process_capture_i16(near, &mut self.between)
            .expect("a frame of 10 ms");
        self.far.push(&far.map(f32::from));
        self.near.push(&self.between.map(f32::from));
        while let (Some(far), Some(near)) = (self.far.next_frame(), self.near.next_frame()) {
            self.block.view_mut(0, 0).copy_from_slice(&far.samples);
            self.processor.buffer_render(&self.block);
            self.block.view_mut(0, 0).copy_from_slice(&near.samples);
            self.processor.process_capture(false, saturated, None, &mut self.block);
            self.clean.push(self.block.view(0, 0));
        }
        let frame = self.clean.next_frame().expect("as much as went in, and a block more");
        for (to, sample) in self.between.iter_mut().zip(frame.samples) {
            // Rounded; a float beyond what 16 bits hold becomes their limit.
            *to = sample.round() as i16;
        }
        match &mut self.noise {
            Some(noise) => noise
                .process_capture_i16(&self.between, clean)
                .expect("a frame of 10 ms"),
            None => clean.copy_from_slice(&self.between),
        }
    }
}

fn pipeline(config: sonora::Config) -> AudioProcessing {
    let format = StreamConfig::new(SampleRate::SPEECH.hz(), 1);
    AudioProcessing::builder()
        .config(config)
        .capture_config(format)
        .render_config(format)
        .build()
}

fn settings() -> EchoCanceller3Config {
    let mut settings = EchoCanceller3Config::default();
    let filter = &mut settings.filter;
    (filter.refined.length_blocks, filter.coarse.length_blocks) = (ROOM_BLOCKS, ROOM_BLOCKS);
    (
        filter.refined_initial.length_blocks,
        filter.coarse_initial.length_blocks,
    ) = (FIRST_ROOM_BLOCKS, FIRST_ROOM_BLOCKS);
    filter.initial_state_seconds = FIRST_SECONDS;
    (settings.erle.max_l, settings.erle.max_h) = (BELIEVED_LOW, BELIEVED_HIGH);
    (settings.ep_strength.default_len, settings.ep_strength.nearend_len) = (TAIL, TAIL);
    debug_assert!(settings.clone().validate(), "settings within AEC3's limits");
    settings
}
