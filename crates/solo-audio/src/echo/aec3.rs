//! AEC3 itself, with settings for an assistant rather than for a telephone.
//!
//! A telephone's canceller must be quick and cheap, and may swallow who speaks over the other side for a moment: they say it
//! again. An assistant has to hear "stop" the first time. What is set here, and why, is in ADR 0015. Around the network of
//! filters that works on blocks of 4 ms there is what sonora's own pipeline has around it: what is below 100 Hz is taken out
//! first.

use sonora::config::HighPassFilter;
use sonora::{AudioProcessing, Config, StreamConfig};
use sonora_aec3::block::Block;
use sonora_aec3::block_processor::BlockProcessor;
use sonora_aec3::common::BLOCK_SIZE;
use sonora_aec3::config::EchoCanceller3Config;

use super::{Clean, FRAME};
use crate::{Framer, SampleRate};

/// Length of the filter that learns the room, in blocks: 104 ms.
const ROOM_BLOCKS: usize = 26;
/// Its length while it knows nothing yet, in blocks: 80 ms.
const FIRST_ROOM_BLOCKS: usize = 20;
/// Time in which it is taken to know nothing yet, in seconds of echo.
const FIRST_SECONDS: f32 = 1.5;
/// How much of what the suppressor takes is left for who reads the words, as a factor: it swallows pieces of words together
/// with the rest of the echo. 12 dB below what they were, Whisper reads them, and passes over the echo beside them.
const LEFT: f32 = 0.25;
/// Samples as large as this are taken to be cut off.
const SATURATED: i16 = 32_700;

/// Takes an echo out, frame by frame.
pub(super) struct Aec3 {
    high_pass: AudioProcessing,
    processor: BlockProcessor,
    far: Framer<f32>,
    near: Framer<f32>,
    strict: Framer<f32>,
    gentle: Framer<f32>,
    block: Block,
    /// The same without what the filter knows of the echo, and nothing else done to it.
    linear: Block,
    /// The linear block before: what is suppressed comes out one block later.
    linear_before: [f32; BLOCK_SIZE],
    /// A captured frame without its lowest tones.
    filtered: [i16; FRAME],
}

impl Aec3 {
    pub(super) fn new() -> Self {
        let format = StreamConfig::new(SampleRate::SPEECH.hz(), 1);
        let config = Config {
            high_pass_filter: Some(HighPassFilter::default()),
            ..Config::default()
        };
        let high_pass = AudioProcessing::builder()
            .config(config)
            .capture_config(format)
            .render_config(format)
            .build();
        // Frames do not end where blocks do: one block in hand is enough to have every frame whole.
        let mut in_hand = Framer::new(FRAME);
        in_hand.push(&[0.0; BLOCK_SIZE]);
        Self {
            high_pass,
            processor: BlockProcessor::new(&settings(), SampleRate::SPEECH.hz() as usize, 1, 1),
            far: Framer::new(BLOCK_SIZE),
            near: Framer::new(BLOCK_SIZE),
            strict: in_hand.clone(),
            gentle: in_hand,
            block: Block::new(1, 1),
            linear: Block::new(1, 1),
            linear_before: [0.0; BLOCK_SIZE],
            filtered: [0; FRAME],
        }
    }

    /// Takes a frame that was captured and the one that was played meanwhile, and adds the first without the second's echo.
    pub(super) fn process(&mut self, far: &[i16; FRAME], near: &[i16], clean: &mut Clean) {
        let saturated = near
            .iter()
            .any(|sample| sample.unsigned_abs() >= SATURATED.unsigned_abs());
        self.high_pass
            .process_capture_i16(near, &mut self.filtered)
            .expect("a frame of 10 ms");
        self.far.push(&far.map(f32::from));
        self.near.push(&self.filtered.map(f32::from));
        while let (Some(far), Some(near)) = (self.far.next_frame(), self.near.next_frame()) {
            self.block.view_mut(0, 0).copy_from_slice(&far.samples);
            self.processor.buffer_render(&self.block);
            self.block.view_mut(0, 0).copy_from_slice(&near.samples);
            let (linear, block) = (&mut self.linear, &mut self.block);
            self.processor.process_capture(false, saturated, Some(linear), block);
            let strict = self.block.view(0, 0);
            let mut gentle = self.linear_before;
            for (gentle, strict) in gentle.iter_mut().zip(strict) {
                *gentle = strict + LEFT * (*gentle - strict);
            }
            self.strict.push(strict);
            self.gentle.push(&gentle);
            self.linear_before.copy_from_slice(self.linear.view(0, 0));
        }
        add(&mut self.strict, &mut clean.strict);
        add(&mut self.gentle, &mut clean.gentle);
    }
}

/// Moves a frame, rounded; what is beyond 16 bits becomes their limit.
fn add(from: &mut Framer<f32>, to: &mut Vec<i16>) {
    let frame = from.next_frame().expect("as much as went in, and a block more");
    to.extend(frame.samples.iter().map(|sample| sample.round() as i16));
}

fn settings() -> EchoCanceller3Config {
    let mut settings = EchoCanceller3Config::default();
    let filter = &mut settings.filter;
    filter.export_linear_aec_output = true;
    (filter.refined.length_blocks, filter.coarse.length_blocks) = (ROOM_BLOCKS, ROOM_BLOCKS);
    (
        filter.refined_initial.length_blocks,
        filter.coarse_initial.length_blocks,
    ) = (FIRST_ROOM_BLOCKS, FIRST_ROOM_BLOCKS);
    filter.initial_state_seconds = FIRST_SECONDS;
    debug_assert!(settings.clone().validate(), "settings within AEC3's limits");
    settings
}
