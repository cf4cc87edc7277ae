//! A loudspeaker and a person in front of one microphone: what the gateway plays comes back to it, with the room's answer.

use std::collections::VecDeque;

use solo_audio::{Resampler, SampleRate, pcm};
use solo_testkit::noise::{Random, rms};

use super::RATE;
use super::conversation::VOICE_RATE;
use super::microphone::PIECE;
use crate::wake::acoustics::{self, sounding};

/// Time between handing sound to a loudspeaker's device and hearing it, in samples: 60 ms, as PulseAudio has it.
const DEVICE: usize = 960;
/// Loudness from which the echo counts as sounding, where 1.0 is full scale: −50 dBFS.
const SOUNDING: f32 = 0.003;

/// The echo of a loudspeaker, and who speaks beside it.
pub struct Room {
    /// The way from the loudspeaker to the microphone.
    pulses: Vec<(usize, f32)>,
    resampler: Resampler,
    /// What has not been played yet.
    queue: VecDeque<f32>,
    /// What has been played, the newest last, as long as the room remembers it.
    past: Vec<f32>,
    /// Samples given to the loudspeaker, in its rate.
    given: u64,
    /// Samples played, at [`RATE`].
    played: u64,
    /// Sum of squares of the sounding echo, and how many samples that were.
    power: f64,
    sounded: u64,
    /// Who speaks, and how much of it is over.
    person: Vec<f32>,
    said: usize,
}

impl Room {
    /// A living room whose echo is `decibels` louder than what is played.
    pub fn new(decibels: f32, seed: u64) -> Self {
        let mut pulses = acoustics::Room::Living.pulses(&mut Random::new(seed));
        let energy: f32 = pulses.iter().map(|(_, gain)| gain * gain).sum();
        let gain = 10f32.powf(decibels / 20.0) / energy.sqrt();
        for (at, pulse) in &mut pulses {
            *at += DEVICE;
            *pulse *= gain;
        }
        let reach = pulses.iter().map(|(at, _)| at + 1).max().unwrap_or_default();
        Self {
            pulses,
            resampler: Resampler::new(
                SampleRate::new(VOICE_RATE).expect("a rate of audio"),
                SampleRate::SPEECH,
            ),
            queue: VecDeque::new(),
            past: vec![0.0; reach + PIECE],
            given: 0,
            played: 0,
            power: 0.0,
            sounded: 0,
            person: Vec::new(),
            said: 0,
        }
    }

    /// Gives samples to the loudspeaker.
    pub fn play(&mut self, samples: &[i16]) {
        self.given += samples.len() as u64;
        let samples = self.resampler.push_i16(samples);
        self.queue.extend(pcm::to_f32(&samples));
    }

    /// The loudspeaker falls silent.
    pub fn stop(&mut self) {
        self.queue.clear();
    }

    /// A reply begins: what is counted as played counts from here.
    pub fn restart(&mut self) {
        self.stop();
        (self.given, self.played) = (0, 0);
    }

    /// Samples of the reply that have been played, in the loudspeaker's rate.
    pub fn played(&self) -> u64 {
        if self.queue.is_empty() {
            // What is left lies inside the resampler.
            return self.given;
        }
        (self.played * u64::from(VOICE_RATE) / u64::from(RATE)).min(self.given)
    }

    /// True when nothing is left to play.
    pub fn is_silent(&self) -> bool {
        self.queue.is_empty()
    }

    /// Somebody begins to speak, at the microphone as loud as the echo has been so far.
    pub fn speak(&mut self, samples: &[i16]) {
        let speech = pcm::to_f32(samples);
        let loudness = rms(&speech[sounding(samples)]).max(f32::MIN_POSITIVE);
        let gain = self.echo_rms() / loudness;
        self.person = speech.iter().map(|x| x * gain).collect();
        self.said = 0;
    }

    /// Root mean square of the echo, where 1.0 is full scale.
    pub fn echo_rms(&self) -> f32 {
        (self.power / self.sounded.max(1) as f64).sqrt() as f32
    }

    /// What the microphone hears in the time of a piece, on top of the room's own noise.
    pub fn hear(&mut self, noise: &[i16]) -> Vec<i16> {
        let length = noise.len();
        let there = self.queue.len().min(length);
        self.played += there as u64;
        self.past.drain(..length);
        self.past.extend(self.queue.drain(..there));
        self.past.resize(self.past.len() + length - there, 0.0);
        let newest = self.past.len() - length;
        let mut echo = vec![0.0; length];
        for &(at, gain) in &self.pulses {
            for (echo, x) in echo.iter_mut().zip(&self.past[newest - at..]) {
                *echo += gain * x;
            }
        }
        if rms(&echo) > SOUNDING {
            self.power += echo.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
            self.sounded += length as u64;
        }
        let person = self.person.get(self.said..).unwrap_or_default();
        for (echo, x) in echo.iter_mut().zip(person) {
            *echo += x;
        }
        self.said += length;
        let heard = pcm::to_i16(&echo);
        heard
            .iter()
            .zip(noise)
            .map(|(heard, noise)| heard.saturating_add(*noise))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_echo_is_as_loud_as_it_should_be_and_so_is_the_person() {
        let mut room = Room::new(-6.0, 1);
        let mut random = Random::new(2);
        let speech: Vec<i16> = (0..VOICE_RATE * 2)
            .map(|_| (random.normal() * 2_000.0) as i16)
            .collect();
        room.play(&speech);
        let played = pcm::to_f32(&speech);
        let heard: Vec<i16> = (0..75).flat_map(|_| room.hear(&[0; PIECE])).collect();
        let heard = pcm::to_f32(&heard);
        assert!(heard[..DEVICE].iter().all(|x| *x == 0.0), "the device takes its time");
        let ratio = rms(&heard[8_000..]) / rms(&played);
        // Resampled, noise has lost what lies above 8 kHz: a quarter of its power.
        assert!((0.38..0.50).contains(&ratio), "{ratio}");
        assert!(room.played() > 0 && room.played() < u64::from(VOICE_RATE) * 2);
        room.stop();
        let tail: Vec<i16> = (0..25).flat_map(|_| room.hear(&[0; PIECE])).collect();
        assert!(tail[7_500..].iter().all(|x| *x == 0), "the room falls silent");
        let before = room.echo_rms();
        room.speak(&[[3_000; 1_600], [-3_000; 1_600]].concat());
        let person: Vec<i16> = (0..10).flat_map(|_| room.hear(&[0; PIECE])).collect();
        assert!((rms(&pcm::to_f32(&person)) / before - 1.0).abs() < 0.02);
    }
}
