//! A sine goes in at one rate; what comes out must be the same sine at the other, however it was cut.

use proptest::prelude::*;

use super::*;

fn rate(hz: u32) -> SampleRate {
    SampleRate::new(hz).unwrap()
}

fn sine(hz: f32, rate: SampleRate, samples: usize) -> Vec<f32> {
    (0..samples)
        .map(|n| 0.5 * (std::f64::consts::TAU * f64::from(hz) * n as f64 / f64::from(rate.hz())).sin() as f32)
        .collect()
}

fn in_pieces(samples: &[f32], from: SampleRate, to: SampleRate, mut lengths: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut resampler = Resampler::new(from, to);
    let mut out = Vec::new();
    let mut rest = samples;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(lengths.next().unwrap_or(1).min(rest.len()));
        out.extend(resampler.push(piece));
        rest = later;
    }
    out.extend(resampler.flush());
    out
}

/// The largest difference between the two, leaving out the edges, where silence begins and ends.
fn worst(left: &[f32], right: &[f32], edge: usize) -> f32 {
    left.iter()
        .zip(right)
        .skip(edge)
        .take(left.len() - 2 * edge)
        .map(|(l, r)| (l - r).abs())
        .fold(0.0, f32::max)
}

#[test]
fn a_sine_keeps_its_frequency_phase_and_height_at_all_usual_rates() {
    for from in [
        8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000,
    ] {
        for to in [8_000, 16_000, 22_050, 44_100, 48_000] {
            let (from, to) = (rate(from), rate(to));
            let out = in_pieces(
                &sine(440.0, from, from.hz() as usize),
                from,
                to,
                [37, 1_000, 480, 1].into_iter().cycle(),
            );
            assert_eq!(out.len(), to.hz() as usize, "{from} → {to}");
            // A sample by sample comparison is stricter than a frequency estimate: a click, a shift or a wrong pitch
            // would all show.
            let error = worst(&out, &sine(440.0, to, out.len()), to.hz() as usize / 50);
            assert!(error < 2e-3, "{from} → {to}: off by {error}");
        }
    }
}

#[test]
fn what_the_lower_rate_cannot_hold_is_removed_and_not_folded_back() {
    let (from, to) = (rate(48_000), SampleRate::SPEECH);
    let out = resample(&sine(10_000.0, from, 48_000), from, to);
    let inner = &out[1_000..15_000];
    assert!(
        crate::level::rms_dbfs(inner) < -60.0,
        "{} dBFS",
        crate::level::rms_dbfs(inner)
    );
}

#[test]
fn equal_rates_pass_through_untouched() {
    let samples = [1, -2, 3, i16::MIN, i16::MAX];
    let mut resampler = Resampler::new(SampleRate::SPEECH, SampleRate::SPEECH);
    assert_eq!(resampler.push_i16(&samples), samples);
    assert!(resampler.flush_i16().is_empty());
}

#[test]
fn after_a_flush_it_is_as_new() {
    let (from, to) = (rate(44_100), SampleRate::SPEECH);
    let samples = sine(300.0, from, 5_000);
    let mut resampler = Resampler::new(from, to);
    let mut run = || {
        let mut out = resampler.push(&samples);
        out.extend(resampler.flush());
        out
    };
    assert_eq!(run(), run());
}

#[test]
fn rates_without_a_common_divisor_work() {
    let (from, to) = (rate(44_101), SampleRate::SPEECH);
    let out = resample(&sine(440.0, from, 44_101), from, to);
    assert_eq!(out.len(), 16_000);
    assert!(worst(&out, &sine(440.0, to, out.len()), 1_000) < 2e-3);
}

#[test]
fn nothing_in_nothing_out() {
    assert!(resample(&[], rate(48_000), SampleRate::SPEECH).is_empty());
    assert_eq!(resample(&[0.5], rate(48_000), SampleRate::SPEECH).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn however_the_stream_is_cut_the_same_comes_out(
        lengths in prop::collection::vec(1_usize..3_000, 1..12),
        total in 0_usize..20_000,
        from in prop::sample::select(vec![8_000_u32, 22_050, 44_100, 48_000]),
    ) {
        let (from, to) = (rate(from), SampleRate::SPEECH);
        let samples = sine(440.0, from, total);
        let whole = resample(&samples, from, to);
        prop_assert_eq!(whole.len() as u64, (total as u64 * 16_000).div_ceil(u64::from(from.hz())));
        prop_assert_eq!(in_pieces(&samples, from, to, lengths.into_iter().cycle()), whole);
    }
}
