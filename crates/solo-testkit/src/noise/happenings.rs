//! Rooms in which something happens now and then. Full scale is 1.0.
//!
//! Everything struck is a [`Strike`]: a decaying tone with noise in it. The kinds differ in what is struck, and when.

use std::f32::consts::TAU;

use super::textures::turns;
use super::{RATE, Random};

/// A decaying tone, a decaying noise, or both.
#[derive(Clone, Copy)]
struct Strike {
    /// Frequency of the tone, in Hz.
    hz: f32,
    /// Peak of the tone.
    tone: f32,
    /// Deviation of the noise.
    noise: f32,
    /// How much of the noise's high end remains, 0.0 to 1.0.
    brightness: f32,
    /// Time in which it falls to a third, in s.
    decay: f32,
    /// How fast the tone falls: its frequency at the end, over that at the beginning.
    glide: f32,
}

impl Strike {
    /// Adds itself to `out` from `at` on.
    fn onto(self, out: &mut [f32], at: usize, random: &mut Random) {
        // Below a thousandth nobody hears it.
        let length = (self.decay * 7.0 * RATE as f32) as usize;
        let fall = (-1.0 / (self.decay * RATE as f32)).exp();
        let (mut level, mut phase, mut low) = (1.0f32, 0.0f32, 0.0f32);
        for (index, sample) in out.iter_mut().skip(at).take(length).enumerate() {
            let onset = (index as f32 / 16.0).min(1.0);
            let progress = index as f32 / length as f32;
            let hz = self.hz * (1.0 + (self.glide - 1.0) * progress);
            phase = (phase + hz / RATE as f32).fract();
            low += self.brightness * (random.normal() - low);
            *sample += onset * level * (self.tone * (TAU * phase).sin() + self.noise * low);
            level *= fall;
        }
    }
}

/// What an even background gives to all rooms: a microphone's own noise.
fn room(length: usize, random: &mut Random) -> Vec<f32> {
    (0..length).map(|_| random.normal() * 5e-5).collect()
}

fn seconds(seconds: f32) -> usize {
    (seconds * RATE as f32) as usize
}

pub(super) fn keyboard(length: usize, random: &mut Random) -> Vec<f32> {
    let mut out = room(length, random);
    let mut at = seconds(0.2);
    while at < length {
        let strength = random.between(0.02, 0.09);
        let press = Strike {
            hz: random.between(1_800.0, 4_200.0),
            tone: strength * 0.4,
            noise: strength,
            brightness: 0.8,
            decay: 0.004,
            glide: 0.9,
        };
        press.onto(&mut out, at, random);
        let thump = Strike {
            hz: random.between(120.0, 260.0),
            tone: strength * 0.5,
            noise: 0.0,
            decay: 0.012,
            ..press
        };
        thump.onto(&mut out, at, random);
        let release = Strike {
            noise: strength * 0.4,
            tone: strength * 0.1,
            ..press
        };
        release.onto(&mut out, at + seconds(random.between(0.06, 0.11)), random);
        // Words come in bursts, thoughts between them.
        let pause = if random.unit() < 0.06 {
            random.between(0.6, 2.5)
        } else {
            random.between(0.07, 0.26)
        };
        at += seconds(pause);
    }
    out
}

pub(super) fn doors(length: usize, random: &mut Random) -> Vec<f32> {
    let mut out = room(length, random);
    let mut at = seconds(random.between(0.3, 1.5));
    while at < length {
        let near = random.between(0.05, 0.5);
        let slam = Strike {
            hz: random.between(55.0, 120.0),
            tone: near,
            noise: near * 0.5,
            brightness: 0.25,
            decay: random.between(0.05, 0.16),
            glide: 0.7,
        };
        let latch = Strike {
            hz: random.between(900.0, 2_200.0),
            tone: near * 0.15,
            noise: near * 0.3,
            brightness: 0.9,
            decay: 0.008,
            glide: 1.0,
        };
        latch.onto(&mut out, at, random);
        slam.onto(&mut out, at + seconds(0.02), random);
        // The room answers.
        for echo in 1..4 {
            let fainter = Strike {
                tone: slam.tone * 0.4 / echo as f32,
                noise: slam.noise * 0.4 / echo as f32,
                ..slam
            };
            fainter.onto(&mut out, at + seconds(0.02 + 0.045 * echo as f32), random);
        }
        at += seconds(random.between(1.0, 4.0));
    }
    out
}

pub(super) fn dishes(length: usize, random: &mut Random) -> Vec<f32> {
    let mut out = room(length, random);
    let mut at = seconds(0.3);
    while at < length {
        let base = random.between(1_100.0, 2_600.0);
        let strength = random.between(0.02, 0.12);
        // A plate rings in modes that are no harmonics.
        for ratio in [1.0, 1.59, 2.14, 2.65] {
            let mode = Strike {
                hz: base * ratio,
                tone: strength / ratio,
                noise: strength * 0.05,
                brightness: 1.0,
                decay: random.between(0.03, 0.2),
                glide: 1.0,
            };
            mode.onto(&mut out, at, random);
        }
        at += seconds(random.between(0.15, 1.4));
    }
    out
}

pub(super) fn drums(length: usize, random: &mut Random) -> Vec<f32> {
    let mut out = room(length, random);
    let sixteenth = 60.0 / random.between(85.0, 140.0) / 4.0;
    let kick = Strike {
        hz: 110.0,
        tone: 0.35,
        noise: 0.03,
        brightness: 0.3,
        decay: 0.09,
        glide: 0.35,
    };
    let snare = Strike {
        hz: 190.0,
        tone: 0.1,
        noise: 0.16,
        brightness: 0.8,
        decay: 0.06,
        glide: 0.9,
    };
    let hat = Strike {
        hz: 7_000.0,
        tone: 0.01,
        noise: 0.07,
        brightness: 1.0,
        decay: 0.015,
        glide: 1.0,
    };
    for step in 0.. {
        let at = seconds(step as f32 * sixteenth);
        if at >= length {
            break;
        }
        if step % 8 == 0 || random.unit() < 0.08 {
            kick.onto(&mut out, at, random);
        }
        if step % 8 == 4 {
            snare.onto(&mut out, at, random);
        }
        if step % 2 == 0 || random.unit() < 0.2 {
            hat.onto(&mut out, at, random);
        }
    }
    out
}

pub(super) fn breathing(length: usize, random: &mut Random) -> Vec<f32> {
    let mut out = room(length, random);
    let (mut at, mut inwards) = (0, true);
    while at < length {
        let breath = seconds(if inwards {
            random.between(1.0, 1.8)
        } else {
            random.between(1.2, 2.4)
        });
        // A throat is a tube: its air rushes in two bands, higher when it is drawn in.
        let centres = if inwards { [900.0, 2_600.0] } else { [550.0, 1_500.0] };
        let strength = random.between(0.004, 0.02);
        let mut bands = centres.map(|hz| Band::new(hz + random.between(-80.0, 80.0)));
        for (index, sample) in out.iter_mut().skip(at).take(breath).enumerate() {
            let swell = (TAU / 2.0 * index as f32 / breath as f32).sin();
            let air = random.normal();
            *sample += strength * swell * bands.iter_mut().map(|band| band.pass(air)).sum::<f32>();
        }
        let pause = random.between(0.1, if inwards { 0.3 } else { 1.2 });
        at += breath + seconds(pause);
        inwards = !inwards;
    }
    out
}

pub(super) fn coughs(length: usize, random: &mut Random) -> Vec<f32> {
    let mut out = room(length, random);
    let mut at = seconds(random.between(0.2, 0.8));
    while at < length {
        let strength = random.between(0.05, 0.16);
        for _ in 0..1 + random.below(3) {
            cough(&mut out, at, strength, random);
            at += seconds(random.between(0.32, 0.45));
        }
        at += seconds(random.between(1.0, 4.0));
    }
    out
}

/// The glottis bursts open; air rushes through the throat's bands; the folds close again and buzz a little.
fn cough(out: &mut [f32], at: usize, strength: f32, random: &mut Random) {
    let pitch = random.between(110.0, 220.0);
    let mut bands = [450.0, 1_100.0, 2_400.0, 3_600.0].map(|hz| Band::new(hz + random.between(-80.0, 80.0)));
    for (index, sample) in out.iter_mut().skip(at).take(seconds(0.3)).enumerate() {
        let time = index as f32 / RATE as f32;
        let burst = (time / 0.006).min(1.0) * (-time / 0.045).exp();
        let rush = 0.35 * (-time / 0.09).exp();
        let buzz = if turns(pitch, index).fract() < 0.1 { 2.0 } else { 0.0 };
        let close = 0.25 * (-((time - 0.22) / 0.03).powi(2)).exp() * buzz;
        let air = (burst + rush) * random.normal() + close;
        *sample += strength * bands.iter_mut().map(|band| band.pass(air)).sum::<f32>();
    }
}

/// A resonator of two poles, 250 Hz wide, of about unit gain at its centre.
struct Band {
    turn: f32,
    y: [f32; 2],
}

impl Band {
    const RADIUS: f32 = 0.952;

    fn new(hz: f32) -> Self {
        Self {
            turn: 2.0 * Self::RADIUS * (TAU * hz / RATE as f32).cos(),
            y: [0.0; 2],
        }
    }

    fn pass(&mut self, x: f32) -> f32 {
        let y = x * (1.0 - Self::RADIUS) * 2.0 + self.turn * self.y[0] - Self::RADIUS * Self::RADIUS * self.y[1];
        self.y = [y, self.y[0]];
        y
    }
}

pub(super) fn music(length: usize, random: &mut Random) -> Vec<f32> {
    let mut out = vec![0.0; length];
    let root = random.between(98.0, 196.0);
    let semitones = |steps: f32| root * 2f32.powf(steps / 12.0);
    let beat = 60.0 / random.between(70.0, 130.0);
    // I, vi, IV, V and the like, four beats each; above them a melody of the scale.
    let chords = [[0.0, 4.0, 7.0], [9.0, 12.0, 16.0], [5.0, 9.0, 12.0], [7.0, 11.0, 14.0]];
    let scale = [12.0, 14.0, 16.0, 17.0, 19.0, 21.0, 23.0, 24.0];
    let mut bar = 0.0;
    while seconds(bar) < length {
        let chord = *random.pick(&chords);
        for step in chord {
            tone(&mut out, seconds(bar), seconds(beat * 4.0), semitones(step), 0.12, 0.0);
        }
        let mut at = 0.0;
        while at < 4.0 {
            let beats = *random.pick(&[0.5, 0.5, 1.0, 1.5]);
            let hz = semitones(*random.pick(&scale));
            tone(&mut out, seconds(bar + at * beat), seconds(beats * beat), hz, 0.2, 5.5);
            at += beats;
        }
        bar += 4.0 * beat;
    }
    out
}

/// A note with five harmonics, attack and release; `vibrato` in Hz, 0: none.
fn tone(out: &mut [f32], at: usize, length: usize, hz: f32, strength: f32, vibrato: f32) {
    for (index, sample) in out.iter_mut().skip(at).take(length).enumerate() {
        let attack = (index as f32 / 320.0).min(1.0);
        let release = ((length - index) as f32 / 800.0).min(1.0);
        let decay = (-2.0 * index as f32 / length as f32).exp();
        let sway = if vibrato > 0.0 {
            0.006 * hz / vibrato * (TAU * turns(vibrato, index)).sin()
        } else {
            0.0
        };
        let turn = turns(hz, index) + sway;
        let harmonics = (1..=5).map(|n| (TAU * turn * n as f32).sin() / (n * n) as f32);
        *sample += strength * attack * release * decay * harmonics.sum::<f32>();
    }
}

pub(super) fn alarms(length: usize, random: &mut Random) -> Vec<f32> {
    let mut out = room(length, random);
    let mut at = seconds(0.5);
    while at < length {
        let strength = random.between(0.03, 0.15);
        at += match random.below(3) {
            0 => {
                let beeps = 3 + random.below(3);
                for beep in 0..beeps {
                    tone(
                        &mut out,
                        at + beep * seconds(0.5),
                        seconds(0.25),
                        2_050.0,
                        strength,
                        0.0,
                    );
                }
                beeps * seconds(0.5)
            }
            1 => {
                // Two tones, twenty times a second in turn: an electronic bell.
                for half in 0..40 {
                    let hz = if half % 2 == 0 { 1_000.0 } else { 1_250.0 };
                    tone(&mut out, at + half * seconds(0.025), seconds(0.025), hz, strength, 0.0);
                }
                seconds(1.0)
            }
            _ => {
                siren(&mut out, at, strength);
                seconds(4.0)
            }
        };
        at += seconds(random.between(0.5, 2.0));
    }
    out
}

/// Four seconds of a tone that rises and falls, coming nearer and going away.
fn siren(out: &mut [f32], at: usize, strength: f32) {
    let length = seconds(4.0);
    let mut phase = 0.0f32;
    for (index, sample) in out.iter_mut().skip(at).take(length).enumerate() {
        let hz = 950.0 + 350.0 * (TAU * turns(0.6, index)).sin();
        phase = (phase + hz / RATE as f32).fract();
        let near = (TAU / 2.0 * index as f32 / length as f32).sin();
        *sample += strength * near * ((TAU * phase).sin() + 0.3 * (TAU * phase * 2.0).sin());
    }
}
