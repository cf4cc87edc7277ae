//! Quantised weights as the kernels want them: sixteen outputs side by side.
//!
//! ggml stores a row after the other; [`super::kernels::product`] wants the same inputs of sixteen rows together. Packing
//! moves codes and scales and changes none: five bits stay five bits. (Q2_K and Q3_K take four.)

use candle_core::quantized::GgmlDType;
use memmap2::MmapMut;

use super::kernels::product::{GROUP, Layout, Scales, Width};
use super::threads::Threads;
use super::weights::Stored;
use super::{EngineError, failed};

/// Outputs of a strip.
pub(super) const STRIP: usize = 16;
/// Inputs of a tile.
const TILE: usize = 32;

/// How a storage type is packed; `None` for numbers that are not quantised.
pub(super) fn layout(dtype: GgmlDType) -> Option<Layout> {
    let layout = |width, scales, minimum, zero| Layout {
        width,
        scales,
        minimum,
        zero,
    };
    Some(match dtype {
        GgmlDType::Q4_0 => layout(Width::Four, Scales::Own, false, 8),
        GgmlDType::Q4_1 => layout(Width::Four, Scales::Own, true, 0),
        GgmlDType::Q5_0 => layout(Width::Five, Scales::Own, false, 16),
        GgmlDType::Q5_1 => layout(Width::Five, Scales::Own, true, 0),
        GgmlDType::Q8_0 => layout(Width::Eight, Scales::Own, false, 128),
        GgmlDType::Q2K => layout(Width::Four, Scales::Halves, true, 0),
        GgmlDType::Q3K => layout(Width::Four, Scales::Halves, false, 4),
        GgmlDType::Q4K => layout(Width::Four, Scales::Shared, true, 0),
        GgmlDType::Q5K => layout(Width::Five, Scales::Shared, true, 0),
        GgmlDType::Q6K => layout(Width::Six, Scales::Halves, false, 32),
        _ => return None,
    })
}

/// Packed weights.
pub(super) struct Packed {
    pub(super) layout: Layout,
    /// Tiles of a strip.
    pub(super) tiles: usize,
    bytes: MmapMut,
}

impl Packed {
    /// Packs a quantised matrix, on all threads.
    pub(super) fn new(stored: &Stored, layout: Layout, threads: &mut Threads) -> Result<Self, EngineError> {
        let tiles = stored.columns / TILE;
        let (strips, strip_bytes) = (stored.rows.div_ceil(STRIP), layout.strip_bytes(tiles));
        // An anonymous mapping starts at a page, and may lie in huge ones: weights are read from end to end for each token.
        let mut bytes = MmapMut::map_anon((strips * strip_bytes).max(1)).map_err(failed("making room for weights"))?;
        #[cfg(target_os = "linux")]
        if let Err(error) = bytes.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "the system has no huge pages for weights");
        }
        let room = Room(bytes.as_mut_ptr());
        threads.run(strips, &|strip| {
            // SAFETY: strips do not overlap, lie within the mapping, and each is packed by one call.
            let strip_room = unsafe { std::slice::from_raw_parts_mut(room.at(strip * strip_bytes), strip_bytes) };
            pack_strip(stored, layout, strip * STRIP, strip_room);
        });
        Ok(Self { layout, tiles, bytes })
    }

    /// The weights of 16 outputs.
    pub(super) fn strip(&self, index: usize) -> &[u8] {
        let bytes = self.layout.strip_bytes(self.tiles);
        &self.bytes[index * bytes..][..bytes]
    }
}

/// Memory that threads write different parts of.
struct Room(*mut u8);

// SAFETY: a pointer; who uses it says why it may.
unsafe impl Sync for Room {}

impl Room {
    fn at(&self, offset: usize) -> *mut u8 {
        self.0.wrapping_add(offset)
    }
}

/// A block of ggml's, taken apart. What a type has not stays zero.
struct Block {
    /// 32 codes, or 256.
    codes: [u8; 256],
    /// Bits of the scale and of the minimum (or the scale of minima), f16.
    scale: u16,
    minimum: u16,
    /// For each 32 inputs, or each 16.
    factors: [u8; 16],
    minima: [u8; 16],
}

fn pack_strip(stored: &Stored, layout: Layout, first: usize, room: &mut [u8]) {
    let per_block = stored.dtype.block_size() / TILE;
    let tile_bytes = layout.width.bytes() + layout.scale_bytes();
    let block_bytes = layout.group_bytes() + per_block * tile_bytes;
    let row_bytes = stored.row_bytes();
    let type_bytes = stored.dtype.type_size();
    let all = stored.bytes();
    for lane in 0..STRIP.min(stored.rows - first) {
        let row = &all[(first + lane) * row_bytes..][..row_bytes];
        for (bytes, room) in row.chunks_exact(type_bytes).zip(room.chunks_exact_mut(block_bytes)) {
            let block = take_apart(stored.dtype, bytes);
            let (group, tiles) = room.split_at_mut(layout.group_bytes());
            if layout.scales != Scales::Own {
                put16(group, lane, block.scale);
                if layout.minimum {
                    put16(&mut group[2 * STRIP..], lane, block.minimum);
                }
            }
            for (tile, room) in tiles.chunks_exact_mut(tile_bytes).enumerate() {
                let (codes, scales) = room.split_at_mut(layout.width.bytes());
                put_codes(layout.width, &block.codes[tile * TILE..][..TILE], lane, codes);
                match layout.scales {
                    Scales::Own => {
                        put16(scales, lane, block.scale);
                        if layout.minimum {
                            put16(&mut scales[2 * STRIP..], lane, block.minimum);
                        }
                    }
                    Scales::Shared => {
                        scales[lane] = block.factors[tile];
                        scales[STRIP + lane] = block.minima[tile];
                    }
                    Scales::Halves => {
                        for half in 0..2 {
                            scales[half * STRIP + lane] = block.factors[2 * tile + half];
                            if layout.minimum {
                                scales[(2 + half) * STRIP + lane] = block.minima[2 * tile + half];
                            }
                        }
                    }
                }
            }
        }
    }
}

fn put16(room: &mut [u8], lane: usize, bits: u16) {
    room[2 * lane..2 * lane + 2].copy_from_slice(&bits.to_le_bytes());
}

/// Puts the 32 codes of an output into a tile: input 4 g + j of a lane is byte 4 × lane + j of group g.
fn put_codes(width: Width, codes: &[u8], lane: usize, room: &mut [u8]) {
    for (input, &code) in codes.iter().enumerate() {
        let (group, byte) = (input / 4, 4 * lane + input % 4);
        if width == Width::Eight {
            room[64 * group + byte] = code;
            continue;
        }
        // Groups 0 to 3 are low nibbles, 4 to 7 high ones.
        room[64 * (group % 4) + byte] |= (code & 0x0F) << (4 * (group / 4));
        match width {
            Width::Five => room[256 + byte] |= (code >> 4) << group,
            Width::Six => room[256 + 64 * (group / 4) + byte] |= (code >> 4) << (2 * (group % 4)),
            Width::Four | Width::Eight => {}
        }
    }
}

/// Takes a block apart; the layouts are ggml's (`ggml-common.h`, `ggml-quants.c`).
fn take_apart(dtype: GgmlDType, bytes: &[u8]) -> Block {
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let mut block = Block {
        codes: [0; 256],
        scale: 0,
        minimum: 0,
        factors: [0; 16],
        minima: [0; 16],
    };
    match dtype {
        GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 | GgmlDType::Q8_0 => {
            block.scale = half(0);
            let mut at = 2;
            if matches!(dtype, GgmlDType::Q4_1 | GgmlDType::Q5_1) {
                block.minimum = half(at);
                at += 2;
            }
            if dtype == GgmlDType::Q8_0 {
                for (code, byte) in block.codes.iter_mut().zip(&bytes[at..]) {
                    *code = byte ^ 0x80;
                }
                return block;
            }
            let mut high = 0;
            if matches!(dtype, GgmlDType::Q5_0 | GgmlDType::Q5_1) {
                high = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                at += 4;
            }
            for (input, byte) in bytes[at..].iter().enumerate() {
                let fifth = |input: usize| (((high >> input) & 1) as u8) << 4;
                block.codes[input] = byte & 0x0F | fifth(input);
                block.codes[16 + input] = byte >> 4 | fifth(16 + input);
            }
        }
        GgmlDType::Q4K | GgmlDType::Q5K => {
            (block.scale, block.minimum) = (half(0), half(2));
            for index in 0..GROUP {
                (block.factors[index], block.minima[index]) = six_bits(index, &bytes[4..16]);
            }
            let (fifth, codes) = bytes[16..].split_at(if dtype == GgmlDType::Q5K { 32 } else { 0 });
            for input in 0..256 {
                let (part, within) = (input / 32, input % 32);
                let nibble = codes[32 * (part / 2) + within] >> (4 * (part % 2)) & 0x0F;
                let bit = fifth.get(within).map_or(0, |bits| bits >> part & 1);
                block.codes[input] = nibble | bit << 4;
            }
        }
        GgmlDType::Q6K => {
            block.scale = half(208);
            block.factors.copy_from_slice(&bytes[192..208]);
            for input in 0..256 {
                let (half, part, within) = (input / 128, input % 128 / 32, input % 32);
                let low = bytes[64 * half + 32 * (part % 2) + within] >> (4 * (part / 2)) & 0x0F;
                let high = bytes[128 + 32 * half + within] >> (2 * part) & 3;
                block.codes[input] = low | high << 4;
            }
        }
        GgmlDType::Q3K => {
            block.scale = half(108);
            let packed = &bytes[96..108];
            for (index, factor) in block.factors.iter_mut().enumerate() {
                let low = if index < 8 {
                    packed[index] & 0x0F
                } else {
                    packed[index - 8] >> 4
                };
                let high = packed[8 + index % 4] >> (2 * (index / 4)) & 3;
                *factor = (low | high << 4).wrapping_sub(32);
            }
            for input in 0..256 {
                let (half, part, within) = (input / 128, input % 128 / 32, input % 32);
                let low = bytes[32 + 32 * half + within] >> (2 * part) & 3;
                let high = bytes[within] >> (4 * half + part) & 1;
                block.codes[input] = low | high << 2;
            }
        }
        GgmlDType::Q2K => {
            (block.scale, block.minimum) = (half(80), half(82));
            for (index, byte) in bytes[..16].iter().enumerate() {
                (block.factors[index], block.minima[index]) = (byte & 0x0F, byte >> 4);
            }
            for input in 0..256 {
                let (half, part, within) = (input / 128, input % 128 / 32, input % 32);
                block.codes[input] = bytes[16 + 32 * half + within] >> (2 * part) & 3;
            }
        }
        // `layout` gives none for these.
        _ => {}
    }
    block
}

/// The factors of a scale and of a minimum, six bits each, out of twelve bytes.
fn six_bits(index: usize, packed: &[u8]) -> (u8, u8) {
    if index < 4 {
        return (packed[index] & 63, packed[index + 4] & 63);
    }
    let (low, high) = (packed[index + 4] & 0x0F, packed[index + 4] >> 4);
    (low | packed[index - 4] >> 6 << 4, high | packed[index] >> 6 << 4)
}
