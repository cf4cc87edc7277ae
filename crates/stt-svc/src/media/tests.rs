//! Each format that people have, and each way in which a file can be bad.

use solo_service::ServiceError;

use super::*;

/// Samples of the sentence at 16,000 Hz (2.99 s).
const CLIP: i64 = 47_840;

fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn wav(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut file = wav::encode(&[100; 1_600], SampleRate::SPEECH);
    change(&mut file);
    file
}

#[test]
fn every_format_gives_the_same_sentence() {
    let reference = decode(fixture("clip.flac"), Format::Detect, 60).unwrap();
    assert!((reference.len() as i64 - CLIP).abs() < 100, "{}", reference.len());
    for (name, format) in [
        ("clip-8k.wav", Format::Detect),
        ("clip-8k.wav", Format::Wav),
        ("clip.mp3", Format::Detect),
        ("clip.mp3", Format::Mp3),
        ("clip.ogg", Format::Detect),
        ("clip.m4a", Format::Detect),
    ] {
        let samples = decode(fixture(name), format, 60).unwrap();
        // Encoders add up to a tenth of a second of their own.
        assert!((samples.len() as i64 - CLIP).abs() < 2_000, "{name}: {}", samples.len());
        let (ours, theirs) = (
            solo_audio::level::rms_dbfs_i16(&samples),
            solo_audio::level::rms_dbfs_i16(&reference),
        );
        assert!((ours - theirs).abs() < 1.0, "{name}: {ours} dBFS, {theirs} wanted");
    }
}

#[test]
fn raw_samples_are_mixed_down_and_resampled() {
    let rate = SampleRate::new(48_000).unwrap();
    let bytes = pcm::to_s16le(&vec![1_000; 96_000]);
    let samples = decode(bytes, Format::Raw { rate, channels: 2 }, 60).unwrap();
    assert_eq!(samples.len(), 16_000);
    assert!(
        samples[2_000..14_000]
            .iter()
            .all(|sample| (990..=1_010).contains(sample))
    );
}

#[test]
fn every_bad_recording_has_its_own_reason() {
    let raw = Format::Raw {
        rate: SampleRate::SPEECH,
        channels: 1,
    };
    let flac = fixture("clip.flac");
    let m4a = fixture("clip.m4a");
    let table: Vec<(&str, Vec<u8>, Format, &str)> = vec![
        ("nothing", vec![], Format::Detect, "EMPTY_AUDIO"),
        ("nothing, raw", vec![], raw, "EMPTY_AUDIO"),
        (
            "no samples",
            wav::encode(&[], SampleRate::SPEECH),
            Format::Detect,
            "EMPTY_AUDIO",
        ),
        (
            "0 Hz",
            wav(|file| file[24..28].fill(0)),
            Format::Detect,
            "BAD_SAMPLE_RATE",
        ),
        (
            "7 channels",
            wav(|file| file[22] = 7),
            Format::Detect,
            "TOO_MANY_CHANNELS",
        ),
        ("0 channels", wav(|file| file[22] = 0), Format::Detect, "NO_CHANNELS"),
        (
            "truncated WAV",
            wav(|file| file.truncate(2_000)),
            Format::Detect,
            "TRUNCATED_AUDIO",
        ),
        (
            "truncated WAV header",
            wav(|file| file.truncate(30)),
            Format::Wav,
            "TRUNCATED_AUDIO",
        ),
        (
            "truncated FLAC",
            flac[..flac.len() / 2].to_vec(),
            Format::Detect,
            "TRUNCATED_AUDIO",
        ),
        (
            "truncated M4A",
            m4a[..m4a.len() / 2].to_vec(),
            Format::Detect,
            "TRUNCATED_AUDIO",
        ),
        (
            "contradictory WAV",
            wav(|file| file[32] = 9),
            Format::Wav,
            "DAMAGED_AUDIO",
        ),
        (
            "text",
            b"This is a letter and no sound.".repeat(100),
            Format::Detect,
            "UNKNOWN_FORMAT",
        ),
        (
            "MP3 that is said to be WAV",
            fixture("clip.mp3"),
            Format::Wav,
            "UNKNOWN_FORMAT",
        ),
        ("zeros", vec![0; 5_000], Format::Detect, "UNKNOWN_FORMAT"),
        ("half a sample", vec![1, 2, 3], raw, "ODD_BYTES"),
        (
            "half an instant",
            vec![0; 6],
            Format::Raw {
                rate: SampleRate::SPEECH,
                channels: 2,
            },
            "ODD_BYTES",
        ),
    ];
    for (name, bytes, format, wanted) in table {
        let error = decode(bytes, format, 60).unwrap_err();
        assert_eq!(error.reason(), wanted, "{name}: {error}");
    }
}

#[test]
fn a_truncated_file_says_how_much_is_missing_and_an_unknown_one_what_is_supported() {
    let error = decode(wav(|file| file.truncate(1_044)), Format::Detect, 60).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("promises 3200 bytes of audio, 1000 are there"),
        "{error}"
    );
    let error = decode(vec![b'x'; 4_000], Format::Detect, 60).unwrap_err();
    for format in ["WAV", "MP3", "FLAC", "Ogg Vorbis", "M4A"] {
        assert!(error.to_string().contains(format), "{error}");
    }
}

#[test]
fn the_limit_in_seconds_holds_for_all_formats() {
    assert_eq!(
        decode(fixture("clip.mp3"), Format::Detect, 2).unwrap_err().reason(),
        "AUDIO_TOO_LONG"
    );
    let raw = Format::Raw {
        rate: SampleRate::SPEECH,
        channels: 1,
    };
    assert_eq!(
        decode(vec![0; 2 * 16_001], raw, 1).unwrap_err().reason(),
        "AUDIO_TOO_LONG"
    );
    assert_eq!(decode(vec![0; 2 * 16_000], raw, 1).unwrap().len(), 16_000);
}

#[test]
fn a_streamed_wav_is_read_up_to_its_end() {
    let mut file = wav::header(SampleRate::SPEECH, 1, wav::Length::Streaming).to_vec();
    file.extend(pcm::to_s16le(&[500; 4_000]));
    assert_eq!(decode(file, Format::Detect, 60).unwrap(), [500; 4_000]);
}
