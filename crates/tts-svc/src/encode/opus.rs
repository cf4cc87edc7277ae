//! Opus in Ogg (RFC 7845), by libopus (BSD-3-Clause). One page for each piece that is pushed, so that nothing waits.

use ogg::{PacketWriteEndInfo, PacketWriter};
use opusic_c::{Application, Bitrate, Channels, Encoder as Opus, ErrorCode};
use solo_audio::{SampleRate, pcm};

use super::{EncodeError, Encoder};

/// Length of an Opus frame.
const FRAME_MS: u64 = 20;
/// Ogg counts all Opus streams at this rate.
const GRANULE_HZ: u64 = 48_000;
/// Plenty for one voice.
const BITS_PER_SECOND: u32 = 32_000;
/// No packet of 20 ms is longer (RFC 6716, 3.4).
const MOST_PACKET_BYTES: usize = 1275;
/// Number of the only stream in the file.
const SERIAL: u32 = 1;

/// Encodes one speech.
pub(super) struct OggOpus {
    encoder: Opus,
    pages: PacketWriter<'static, Vec<u8>>,
    rate: SampleRate,
    waiting: Vec<f32>,
    /// Samples pushed.
    taken: u64,
    /// Samples encoded.
    encoded: u64,
    /// Samples at 48,000 Hz that a decoder throws away at the start.
    pre_skip: u64,
}

impl OggOpus {
    /// For one of the rates of Opus.
    pub(super) fn new(rate: SampleRate) -> Result<Self, EncodeError> {
        let opus_rate = match rate.hz() {
            8_000 => opusic_c::SampleRate::Hz8000,
            12_000 => opusic_c::SampleRate::Hz12000,
            16_000 => opusic_c::SampleRate::Hz16000,
            24_000 => opusic_c::SampleRate::Hz24000,
            48_000 => opusic_c::SampleRate::Hz48000,
            hz => return Err(failed(format!("it has no rate of {hz} Hz"))),
        };
        let mut encoder = Opus::new(Channels::Mono, opus_rate, Application::Voip).map_err(library)?;
        encoder.set_bitrate(Bitrate::Value(BITS_PER_SECOND)).map_err(library)?;
        let ahead = u64::from(encoder.get_look_ahead().map_err(library)?);
        let pre_skip = ahead * GRANULE_HZ / u64::from(rate.hz());
        let mut opus = Self {
            encoder,
            pages: PacketWriter::new(Vec::new()),
            rate,
            waiting: Vec::new(),
            taken: 0,
            encoded: 0,
            pre_skip,
        };
        opus.headers()?;
        Ok(opus)
    }

    /// The two packets that every stream begins with, each on its own page.
    fn headers(&mut self) -> Result<(), EncodeError> {
        let mut head = b"OpusHead\x01\x01".to_vec();
        head.extend(u16::try_from(self.pre_skip).unwrap_or(u16::MAX).to_le_bytes());
        head.extend(self.rate.hz().to_le_bytes());
        // No gain; channel mapping family 0.
        head.extend([0, 0, 0]);
        let vendor = b"solo";
        let mut tags = b"OpusTags".to_vec();
        tags.extend((vendor.len() as u32).to_le_bytes());
        tags.extend(vendor);
        tags.extend(0_u32.to_le_bytes());
        self.write(head, PacketWriteEndInfo::EndPage, 0)?;
        self.write(tags, PacketWriteEndInfo::EndPage, 0)
    }

    fn frame(&self) -> usize {
        self.rate.samples_in_ms(FRAME_MS) as usize
    }

    /// Encodes the first frame of what waits.
    fn packet(&mut self, end: PacketWriteEndInfo) -> Result<(), EncodeError> {
        let frame = self.frame();
        let mut packet = Vec::with_capacity(MOST_PACKET_BYTES);
        self.encoder
            .encode_float_to_vec(&self.waiting[..frame], &mut packet)
            .map_err(library)?;
        self.waiting.drain(..frame);
        self.encoded += frame as u64;
        let last = matches!(end, PacketWriteEndInfo::EndStream);
        // The position of the last page says where the speech ends; what a decoder makes beyond is thrown away.
        let samples = if last { self.taken } else { self.encoded };
        let granule = samples * GRANULE_HZ / u64::from(self.rate.hz()) + if last { self.pre_skip } else { 0 };
        self.write(packet, end, granule)
    }

    fn write(&mut self, packet: Vec<u8>, end: PacketWriteEndInfo, granule: u64) -> Result<(), EncodeError> {
        self.pages
            .write_packet(packet, SERIAL, end, granule)
            .map_err(|error| failed(error.to_string()))
    }
}

impl Encoder for OggOpus {
    fn push(&mut self, samples: &[i16]) -> Result<Vec<u8>, EncodeError> {
        self.taken += samples.len() as u64;
        self.waiting.extend(pcm::to_f32(samples));
        while self.waiting.len() >= self.frame() {
            let end = if self.waiting.len() < 2 * self.frame() {
                PacketWriteEndInfo::EndPage
            } else {
                PacketWriteEndInfo::NormalPacket
            };
            self.packet(end)?;
        }
        Ok(std::mem::take(self.pages.inner_mut()))
    }

    fn finish(&mut self) -> Result<Vec<u8>, EncodeError> {
        // A decoder is behind by the pre-skip: frames of silence drive the end through it. At least one ends the stream.
        let behind = self.pre_skip * u64::from(self.rate.hz()) / GRANULE_HZ;
        loop {
            let end = if self.encoded + self.frame() as u64 >= self.taken + behind {
                PacketWriteEndInfo::EndStream
            } else {
                PacketWriteEndInfo::NormalPacket
            };
            let last = matches!(end, PacketWriteEndInfo::EndStream);
            self.waiting.resize(self.frame(), 0.0);
            self.packet(end)?;
            if last {
                return Ok(std::mem::take(self.pages.inner_mut()));
            }
        }
    }
}

fn library(error: ErrorCode) -> EncodeError {
    failed(format!("{error:?}"))
}

fn failed(problem: String) -> EncodeError {
    EncodeError::Failed {
        format: "Opus",
        problem,
    }
}
