//! What lies between the two halves of a voice's graph: frames, cut into pieces that the second half makes sound of.

use std::ops::Range;

use super::Made;

/// Frames beside a piece that the decoder looks at, too. Its samples depend on 10 (medium) to 13 (high quality) frames.
const CONTEXT: usize = 13;
/// Frames of the first pieces when somebody waits: short enough to be there at once, long enough that the next is made
/// while they are heard. A frame lasts about 12 ms.
const FIRST_PIECES: [usize; 2] = [16, 56];
/// Frames of all other pieces.
const PIECE: usize = 256;

/// What the first half gives.
pub(super) struct Latent {
    /// Channel by channel.
    values: Vec<f32>,
    channels: usize,
    pub(super) frames: usize,
    /// Frames of each id.
    durations: Vec<f32>,
}

/// Some frames of it, as the second half takes them.
pub(super) struct Window {
    /// One, channels, frames.
    pub(super) shape: [usize; 3],
    pub(super) values: Vec<f32>,
}

impl Latent {
    pub(super) fn read(outputs: &ort::session::SessionOutputs<'_>) -> Result<Self, ort::Error> {
        let (shape, values) = outputs[0].try_extract_tensor::<f32>()?;
        let (_, durations) = outputs[1].try_extract_tensor::<f32>()?;
        let frames = shape.last().copied().unwrap_or_default().max(0) as usize;
        Ok(Self {
            values: values.to_vec(),
            channels: values.len().checked_div(frames).unwrap_or_default(),
            frames,
            durations: durations.to_vec(),
        })
    }

    /// A piece with the frames beside it, and how many stand before it.
    pub(super) fn window(&self, piece: &Range<usize>) -> (Window, usize) {
        let from = piece.start.saturating_sub(CONTEXT);
        let to = (piece.end + CONTEXT).min(self.frames);
        let values: Vec<f32> = self
            .values
            .chunks_exact(self.frames)
            .flat_map(|channel| &channel[from..to])
            .copied()
            .collect();
        let window = Window {
            shape: [1, self.channels, to - from],
            values,
        };
        (window, piece.start - from)
    }

    /// The length of the whole, and where the words begin that have these first ids.
    pub(super) fn length(&self, hop: usize, words: &[usize]) -> Made {
        let mut ends = Vec::with_capacity(self.durations.len());
        let mut end = 0.0;
        for duration in &self.durations {
            end += duration;
            ends.push(end as usize);
        }
        let start = |id: &usize| match id.checked_sub(1) {
            None => 0,
            Some(before) => ends.get(before).copied().unwrap_or(self.frames).min(self.frames),
        };
        Made::Length {
            samples: self.frames * hop,
            words: words.iter().map(|id| start(id) * hop).collect(),
        }
    }
}

/// How frames are cut into pieces: short ones first when somebody waits. What would be left over as a scrap goes with the
/// piece before it.
pub(super) fn pieces(frames: usize, soon: bool) -> Vec<Range<usize>> {
    let mut sizes = FIRST_PIECES.into_iter().filter(|_| soon);
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < frames {
        let size = sizes.next().unwrap_or(PIECE);
        let rest = frames - start;
        let size = if rest < size + size / 2 { rest } else { size };
        pieces.push(start..start + size);
        start += size;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_tile_the_frames_and_the_first_ones_are_short() {
        assert_eq!(pieces(167, true), [0..16, 16..72, 72..167]);
        assert_eq!(pieces(20, true), vec![Range { start: 0, end: 20 }]);
        assert_eq!(pieces(1000, false), [0..256, 256..512, 512..768, 768..1000]);
        assert_eq!(pieces(300, false), vec![Range { start: 0, end: 300 }]);
        assert!(pieces(0, true).is_empty());
        for frames in 1..700 {
            for soon in [true, false] {
                let pieces = pieces(frames, soon);
                assert_eq!((pieces[0].start, pieces[pieces.len() - 1].end), (0, frames));
                assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
            }
        }
    }

    #[test]
    fn windows_have_context_where_there_is_some() {
        let latent = Latent {
            values: (0..200).map(|value| value as f32).collect(),
            channels: 2,
            frames: 100,
            durations: vec![2.0, 0.0, 97.0, 1.0],
        };
        let (window, before) = latent.window(&(0..10));
        assert_eq!((window.shape, before), ([1, 2, 10 + CONTEXT], 0));
        let (window, before) = latent.window(&(50..60));
        assert_eq!((window.shape, before), ([1, 2, 10 + 2 * CONTEXT], CONTEXT));
        assert_eq!((window.values[0], window.values[36]), (37.0, 137.0));
        let Made::Length { samples, words } = latent.length(256, &[0, 1, 2, 3, 9]) else {
            panic!("it says the length");
        };
        assert_eq!((samples, words), (25_600, vec![0, 512, 512, 99 * 256, 25_600]));
    }
}
