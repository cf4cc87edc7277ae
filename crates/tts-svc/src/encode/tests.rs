use std::io::Cursor;

use super::*;

/// A second of a tone at half of full scale, pushed in uneven pieces.
fn encoded(encoding: Encoding, hz: u32) -> Vec<u8> {
    let rate = SampleRate::new(hz).unwrap();
    let mut encoder = encoder(encoding, rate).unwrap();
    let step = 440.0 * std::f32::consts::TAU / hz as f32;
    let tone: Vec<i16> = (0..hz).map(|at| ((at as f32 * step).sin() * 16_384.0) as i16).collect();
    let mut bytes = Vec::new();
    for piece in tone.chunks(hz as usize / 13) {
        bytes.extend(encoder.push(piece).unwrap());
    }
    bytes.extend(encoder.finish().unwrap());
    bytes
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
}

#[test]
fn every_voice_has_a_rate_in_every_format() {
    let rate = |hz| SampleRate::new(hz).unwrap();
    assert_eq!(Encoding::S16le.rate_for(rate(22_050)), rate(22_050));
    assert_eq!(Encoding::Opus.rate_for(rate(22_050)), rate(24_000));
    assert_eq!(Encoding::Opus.rate_for(rate(96_000)), rate(48_000));
    assert_eq!(Encoding::Mp3.rate_for(rate(22_050)), rate(22_050));
    assert_eq!(Encoding::Mp3.rate_for(rate(8_001)), rate(11_025));
}

#[test]
fn wav_is_a_header_and_samples() {
    let bytes = encoded(Encoding::Wav, 22_050);
    let wav = wav::read(&bytes).unwrap();
    assert_eq!((wav.sample_rate.hz(), wav.mono_i16().len()), (22_050, 22_050));
    assert_eq!(encoded(Encoding::S16le, 22_050), bytes[44..]);
    let mut silent = encoder(Encoding::Wav, SampleRate::SPEECH).unwrap();
    assert_eq!(silent.finish().unwrap().len(), 44);
}

#[test]
fn opus_is_an_ogg_stream_that_decodes_to_the_same_length_and_level() {
    for hz in Encoding::Opus.rates_hz() {
        let mut packets = ogg::PacketReader::new(Cursor::new(encoded(Encoding::Opus, *hz)));
        let head = packets.read_packet().unwrap().unwrap();
        assert!(head.data.starts_with(b"OpusHead") && head.first_in_stream());
        let pre_skip = usize::from(u16::from_le_bytes([head.data[10], head.data[11]]));
        assert!(packets.read_packet().unwrap().unwrap().data.starts_with(b"OpusTags"));
        let mut decoder = opusic_c::Decoder::new(opusic_c::Channels::Mono, opusic_c::SampleRate::Hz48000).unwrap();
        let mut samples = Vec::new();
        let mut end = 0;
        while let Some(packet) = packets.read_packet().unwrap() {
            let mut frame = vec![0.0; 960];
            let count = decoder.decode_float_to_slice(&packet.data, &mut frame, false).unwrap();
            samples.extend_from_slice(&frame[..count]);
            end = packet.absgp_page() as usize;
            assert_eq!(packet.last_in_stream(), samples.len() >= 48_000 + pre_skip, "{hz}");
        }
        assert_eq!(end, 48_000 + pre_skip, "{hz}: the last page says where the second ends");
        assert!(samples.len() >= end);
        let level = rms(&samples[pre_skip + 4_800..end - 4_800]);
        assert!((0.3..0.4).contains(&level), "{hz}: {level}");
    }
}

#[test]
fn mp3_decodes_to_the_same_level_where_lame_is_installed() {
    let missing = match encoder(Encoding::Mp3, SampleRate::SPEECH) {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    if let Some(missing) = missing {
        assert!(missing.contains("apt-get install libmp3lame0"), "{missing}");
        return;
    }
    for hz in Encoding::Mp3.rates_hz() {
        let bytes = encoded(Encoding::Mp3, *hz);
        // MPEG-1, 2 or 2.5, layer III.
        assert!(bytes[0] == 0xFF && bytes[1] & 0xE6 == 0xE2, "{hz}: {:x?}", &bytes[..4]);
        let seconds = bytes.len() as f32 / 8_000.0;
        assert!((0.9..1.4).contains(&seconds), "{hz}: 64 kbit/s for {seconds} s");
    }
}
