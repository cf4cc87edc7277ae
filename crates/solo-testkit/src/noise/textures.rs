//! Sounds that go on evenly. Their power is no particular one: whoever asks scales them.

use std::f32::consts::TAU;

use super::{RATE, Random};

pub(super) fn white(length: usize, random: &mut Random) -> Vec<f32> {
    (0..length).map(|_| random.normal()).collect()
}

/// Paul Kellet's filter for pink noise, within 0.05 dB above 9 Hz at 44.1 kHz; here a little less even, which is no matter.
pub(super) fn pink(length: usize, random: &mut Random) -> Vec<f32> {
    let mut b = [0.0f32; 6];
    let mut last = 0.0;
    let mut next = || {
        let white = random.normal();
        b[0] = 0.99886 * b[0] + white * 0.055_517_9;
        b[1] = 0.99332 * b[1] + white * 0.075_075_9;
        b[2] = 0.96900 * b[2] + white * 0.153_852;
        b[3] = 0.86650 * b[3] + white * 0.310_485_6;
        b[4] = 0.55000 * b[4] + white * 0.532_952_2;
        b[5] = -0.7616 * b[5] - white * 0.016_898;
        let pink = b.iter().sum::<f32>() + last + white * 0.5362;
        last = white * 0.115_926;
        pink
    };
    (0..length).map(|_| next()).collect()
}

/// White noise, integrated; the integral leaks, so that it does not wander off.
pub(super) fn brown(length: usize, random: &mut Random) -> Vec<f32> {
    let mut level = 0.0;
    let mut next = || {
        level = level * 0.998 + random.normal();
        level
    };
    (0..length).map(|_| next()).collect()
}

pub(super) fn hum(length: usize, random: &mut Random) -> Vec<f32> {
    let phases: Vec<f32> = (0..8).map(|_| random.unit() * TAU).collect();
    let strengths = [1.0, 0.5, 0.6, 0.2, 0.3, 0.1, 0.2, 0.05];
    let sample = |index: usize| {
        let turn = turns(50.0, index);
        let harmonics = phases.iter().zip(strengths).zip(1..);
        let tone: f32 = harmonics
            .map(|((phase, strength), n)| strength * (TAU * turn * n as f32 + phase).sin())
            .sum();
        tone + 0.01 * random.normal()
    };
    (0..length).map(sample).collect()
}

pub(super) fn fan(length: usize, random: &mut Random) -> Vec<f32> {
    let blades = random.between(70.0, 130.0);
    let air = pink(length, random);
    let mut low = 0.0;
    let sample = |(index, air): (usize, f32)| {
        // Air through a grille: nothing much above 1 kHz.
        low += 0.3 * (air - low);
        let beat = (TAU * turns(blades, index)).sin();
        low * (1.0 + 0.3 * beat) + 0.2 * beat + 0.08 * (2.0 * TAU * turns(blades, index)).sin()
    };
    air.into_iter().enumerate().map(sample).collect()
}

pub(super) fn rain(length: usize, random: &mut Random) -> Vec<f32> {
    let mut drop = 0.0;
    let mut sample = || {
        // About 1,600 drops a second, a few of them heavy.
        if random.unit() < 0.1 {
            let size = random.unit();
            drop += size.powi(6) * 12.0;
        }
        drop *= 0.9;
        drop * random.normal() + 0.15 * random.normal()
    };
    (0..length).map(|_| sample()).collect()
}

/// Turns of a wheel of `hz` after `index` samples, without the whole ones: 16 million samples are too many for an f32.
pub(super) fn turns(hz: f32, index: usize) -> f32 {
    let turns = f64::from(hz) * index as f64 / RATE as f64;
    turns.fract() as f32
}
