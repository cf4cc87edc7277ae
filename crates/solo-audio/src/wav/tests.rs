//! Ours against hound's, and against files that lie.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::{SampleRate, pcm};

const SAMPLES: [i16; 4] = [0, 1_000, -1_000, i16::MIN];

fn good() -> Vec<u8> {
    encode(&SAMPLES, SampleRate::SPEECH)
}

/// A good file with `bytes` written over it at `at`.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = good();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn every_kind_of_bad_file_has_its_own_error() {
    let damaged = |what| WavError::Damaged { what };
    let table: Vec<(&str, Vec<u8>, WavError)> = vec![
        ("no bytes", vec![], WavError::Empty),
        ("no samples", encode(&[], SampleRate::SPEECH), WavError::Empty),
        ("text", b"hello, this is no audio".to_vec(), WavError::NotWav),
        ("short text", b"hello".to_vec(), WavError::NotWav),
        ("RIFF, but AVI", patched(8, b"AVI "), WavError::NotWav),
        ("cut in RIFF", b"RIF".to_vec(), WavError::TruncatedHeader { present: 3 }),
        (
            "cut in fmt",
            good()[..30].to_vec(),
            WavError::TruncatedHeader { present: 30 },
        ),
        (
            "cut before data",
            good()[..40].to_vec(),
            WavError::TruncatedHeader { present: 40 },
        ),
        (
            "cut in data",
            good()[..47].to_vec(),
            WavError::Truncated {
                promised: 8,
                present: 3,
            },
        ),
        (
            "lies about its length",
            patched(40, &9_999_u32.to_le_bytes()),
            WavError::Truncated {
                promised: 9_999,
                present: 8,
            },
        ),
        ("0 Hz", patched(24, &[0; 4]), SampleRate::new(0).unwrap_err().into()),
        (
            "4 GHz",
            patched(24, &[0xff; 4]),
            SampleRate::new(u32::MAX).unwrap_err().into(),
        ),
        ("0 channels", patched(22, &[0, 0]), WavError::Channels { channels: 0 }),
        ("7 channels", patched(22, &[7, 0]), WavError::Channels { channels: 7 }),
        (
            "ADPCM",
            patched(20, &[2, 0]),
            WavError::Unsupported {
                found: "codec 0x0002, 16 bits".into(),
            },
        ),
        (
            "12 bits",
            patched(34, &[12, 0]),
            WavError::Unsupported {
                found: "codec 0x0001, 12 bits".into(),
            },
        ),
        (
            "odd data",
            patched(40, &7_u32.to_le_bytes()),
            damaged("the length of its audio is no whole number of samples"),
        ),
        (
            "wrong alignment",
            patched(32, &[3, 0]),
            damaged("its block alignment contradicts its channels and bits"),
        ),
        (
            "data first",
            patched(12, b"junk"),
            damaged("the samples come before their format"),
        ),
        (
            "tiny fmt",
            patched(16, &[4, 0, 0, 0]),
            damaged("its format chunk is too short"),
        ),
    ];
    for (name, bytes, wanted) in table {
        assert_eq!(read(&bytes).unwrap_err(), wanted, "{name}");
    }
}

#[test]
fn a_streamed_file_is_read_up_to_its_end() {
    let mut file = header(SampleRate::SPEECH, 1, Length::Streaming).to_vec();
    file.extend(pcm::to_s16le(&SAMPLES));
    file.push(1);
    let wav = read(&file).unwrap();
    assert_eq!(wav.mono_i16(), SAMPLES);
    assert_eq!(read(&file[..44]), Err(WavError::Empty));
}

#[test]
fn unknown_chunks_are_stepped_over_with_their_padding() {
    let mut file = good()[..36].to_vec();
    file.extend(b"LIST\x03\0\0\0abc\0");
    file.extend(&good()[36..]);
    assert_eq!(read(&file).unwrap().mono_i16(), SAMPLES);
}

#[test]
fn all_sample_formats_agree_with_hound() {
    for (bits, format) in [
        (8, hound::SampleFormat::Int),
        (16, hound::SampleFormat::Int),
        (24, hound::SampleFormat::Int),
        (32, hound::SampleFormat::Int),
        (32, hound::SampleFormat::Float),
    ] {
        let mut file = Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 44_100,
            bits_per_sample: bits,
            sample_format: format,
        };
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        for value in [0.0_f32, 0.5, -0.5, -1.0] {
            for _ in 0..2 {
                match format {
                    hound::SampleFormat::Float => writer.write_sample(value).unwrap(),
                    hound::SampleFormat::Int => {
                        writer
                            .write_sample((f64::from(value) * 2_f64.powi(i32::from(bits) - 1)) as i32)
                            .unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
        let wav = read(file.get_ref()).unwrap();
        assert_eq!((wav.sample_rate.hz(), wav.channels), (44_100, 2), "{bits} bits");
        assert_eq!(wav.mono(), [0.0, 0.5, -0.5, -1.0], "{bits} bits, {format:?}");
    }
}

#[test]
fn a_file_written_in_pieces_is_the_same_as_one_written_at_once() {
    let mut writer = WavWriter::new(Cursor::new(Vec::new()), SampleRate::SPEECH).unwrap();
    writer.push(&SAMPLES[..1]).unwrap();
    writer.push(&SAMPLES[1..]).unwrap();
    assert_eq!(writer.len(), 4);
    assert_eq!(writer.finish().unwrap().into_inner(), good());
    let mut theirs = hound::WavReader::new(Cursor::new(good())).unwrap();
    assert_eq!(theirs.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), SAMPLES);
}

#[test]
fn speech_is_mono_at_sixteen_kilohertz() {
    let half_a_second = vec![0_i16; 24_000];
    let file = encode(&half_a_second, SampleRate::new(48_000).unwrap());
    assert_eq!(inspect(&file).unwrap().duration_ms(), 500);
    assert_eq!(read_speech(&file).unwrap().len(), 8_000);
}

proptest! {
    #[test]
    fn any_samples_come_back(samples in prop::collection::vec(any::<i16>(), 1..500), hz in 8_000_u32..=192_000) {
        let wav = read(&encode(&samples, SampleRate::new(hz).unwrap())).unwrap();
        prop_assert_eq!(wav.sample_rate.hz(), hz);
        prop_assert_eq!(wav.mono_i16(), samples);
    }

    #[test]
    fn no_bytes_whatever_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let mut looks_right = good();
        let at = bytes.first().map_or(0, |first| usize::from(*first) % looks_right.len());
        let len = bytes.len().min(looks_right.len() - at);
        looks_right[at..at + len].copy_from_slice(&bytes[..len]);
        let _ = read(&looks_right);
    }
}
