//! A stream of mono samples at one rate, turned into another while it arrives.
//!
//! Built on rubato's FFT resampler, which works on blocks of fixed size and delays by half a block. Around it this file
//! keeps what a caller wants to rely on: pieces of any length may be pushed, the delay is taken off the front, and after
//! the flush as many samples have come out as the ratio of the rates says, exactly. A block lasts 10 to 80 ms for all
//! usual rates; odd pairs (44,101 → 16,000) work with longer blocks.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use crate::SampleRate;
use crate::pcm;

/// Shorter blocks would make the filter's slope too gentle at low rates.
const MIN_BLOCK: usize = 160;

/// Converts a mono stream between two sample rates.
///
/// ```
/// # use solo_audio::{Resampler, SampleRate};
/// let mut resampler = Resampler::new(SampleRate::new(48_000)?, SampleRate::SPEECH);
/// let mut out = resampler.push(&[0.0; 700]);
/// out.extend(resampler.push(&[0.0; 300]));
/// out.extend(resampler.flush());
/// assert_eq!(out.len(), 334); // 1,000 × 16,000 / 48,000, rounded up
/// # Ok::<(), solo_audio::SampleRateError>(())
/// ```
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    /// `None` when both rates are the same.
    blocks: Option<Blocks>,
}

struct Blocks {
    fft: Fft<f32>,
    waiting: Vec<f32>,
    out: Vec<f32>,
    /// Samples at the front that are the filter's delay and not the signal's.
    to_drop: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A resampler for one stream.
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        Self {
            from,
            to,
            blocks: (from != to).then(|| Blocks::new(from, to)),
        }
    }

    /// Rate of what is pushed.
    pub fn from(&self) -> SampleRate {
        self.from
    }

    /// Rate of what comes out.
    pub fn to(&self) -> SampleRate {
        self.to
    }

    /// Takes samples (−1.0 to 1.0) and gives those that are ready, at the other rate; the rest comes with later calls.
    pub fn push(&mut self, samples: &[f32]) -> Vec<f32> {
        match &mut self.blocks {
            None => samples.to_vec(),
            Some(blocks) => blocks.push(samples),
        }
    }

    /// [`Resampler::push`] for 16-bit samples.
    pub fn push_i16(&mut self, samples: &[i16]) -> Vec<i16> {
        match &mut self.blocks {
            None => samples.to_vec(),
            Some(blocks) => pcm::to_i16(&blocks.push(&pcm::to_f32(samples))),
        }
    }

    /// Ends the stream: gives what is still inside, so that all output together is `ceil(pushed × to / from)` samples.
    /// Afterwards the resampler is as new.
    pub fn flush(&mut self) -> Vec<f32> {
        match &mut self.blocks {
            None => Vec::new(),
            Some(blocks) => blocks.flush(self.from, self.to),
        }
    }

    /// [`Resampler::flush`] for 16-bit samples.
    pub fn flush_i16(&mut self) -> Vec<i16> {
        pcm::to_i16(&self.flush())
    }
}

impl Blocks {
    fn new(from: SampleRate, to: SampleRate) -> Self {
        // An even number of the shortest whole blocks: half of it, the delay, is then a whole number of samples on both
        // sides, and the output is not shifted by half a sample.
        let pair = 2 * (from.hz() / greatest_common_divisor(from.hz(), to.hz())) as usize;
        let block = (from.hz() as usize / 100).max(MIN_BLOCK).next_multiple_of(pair);
        let window = WindowFunction::BlackmanHarris2;
        let fft = Fft::new_custom(
            from.hz() as usize,
            to.hz() as usize,
            block,
            1,
            1,
            window,
            FixedSync::Both,
        )
        .expect("a checked rate and a block above zero are all that rubato asks for");
        let to_drop = fft.output_delay();
        let out = vec![0.0; fft.output_frames_max()];
        Self {
            fft,
            waiting: Vec::new(),
            out,
            to_drop,
            taken: 0,
            given: 0,
        }
    }

    fn push(&mut self, samples: &[f32]) -> Vec<f32> {
        self.taken += samples.len() as u64;
        self.waiting.extend_from_slice(samples);
        let mut ready = Vec::new();
        let mut done = 0;
        while self.waiting.len() - done >= self.fft.input_frames_next() {
            done += self.block(done, &mut ready);
        }
        self.waiting.drain(..done);
        self.given += ready.len() as u64;
        ready
    }

    fn flush(&mut self, from: SampleRate, to: SampleRate) -> Vec<f32> {
        let total = (self.taken * u64::from(to.hz())).div_ceil(u64::from(from.hz()));
        let missing = (total - self.given.min(total)) as usize;
        let mut ready = Vec::new();
        while ready.len() < missing {
            // Silence after the end drives the last samples through the filter.
            self.waiting.resize(self.fft.input_frames_next(), 0.0);
            self.block(0, &mut ready);
            self.waiting.clear();
        }
        ready.truncate(missing);
        *self = Self::new(from, to);
        ready
    }

    /// Runs one block of `waiting` from `start`, appends what comes out, and says how many samples went in.
    fn block(&mut self, start: usize, ready: &mut Vec<f32>) -> usize {
        let frames = self.fft.input_frames_next();
        let (read, written) = {
            let input = InterleavedSlice::new(&self.waiting[start..start + frames], 1, frames)
                .expect("the slice is as long as it says");
            let room = self.out.len();
            let mut output =
                InterleavedSlice::new_mut(&mut self.out, 1, room).expect("the slice is as long as it says");
            self.fft
                .process_into_buffer(&input, &mut output, None)
                .expect("both buffers have the sizes that rubato asked for")
        };
        let skipped = self.to_drop.min(written);
        self.to_drop -= skipped;
        ready.extend_from_slice(&self.out[skipped..written]);
        read
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Converts a whole mono recording; `ceil(len × to / from)` samples come out.
pub fn resample(samples: &[f32], from: SampleRate, to: SampleRate) -> Vec<f32> {
    let mut resampler = Resampler::new(from, to);
    let mut out = resampler.push(samples);
    out.extend(resampler.flush());
    out
}

/// [`resample`] for 16-bit samples.
pub fn resample_i16(samples: &[i16], from: SampleRate, to: SampleRate) -> Vec<i16> {
    if from == to {
        samples.to_vec()
    } else {
        pcm::to_i16(&resample(&pcm::to_f32(samples), from, to))
    }
}

#[cfg(test)]
mod tests;
