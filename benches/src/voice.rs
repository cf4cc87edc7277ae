//! Solo by voice beside a Python stack of the same models: what `cargo make bench-voice` is made of.
//!
//! [`corpus`] is what is said, [`microphone`] says it at the pace of real time; [`conversation`], [`hearing`] and [`speaking`]
//! are Solo as its clients see it, [`room`] has a loudspeaker in front of the microphone; [`peer`] is the Python stack, which gets
//! the same samples at the same moments. Everything
//! is timed here, by one clock. [`scenarios`] measure, [`report`] holds the samples against the targets.

pub mod conversation;
pub mod corpus;
pub mod defaults;
pub mod hearing;
pub mod microphone;
pub mod peer;
pub mod report;
pub mod room;
pub mod scenarios;
pub mod speaking;
pub mod words;

/// The language model of both contenders.
pub const LLM: &str = "qwen2.5-coder-0.5b";
/// CPU threads of both contenders.
pub const THREADS: usize = 2;
/// Rate of all that is said to them, in Hz.
pub const RATE: u32 = 16_000;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Solo, as it is started and asked by people.
    Ours,
    /// faster-whisper, llama.cpp, piper and Silero VAD in one Python process.
    Peer,
}

impl Who {
    /// Both, the other one first each time.
    pub fn in_turn(round: usize) -> [Self; 2] {
        if round.is_multiple_of(2) {
            [Self::Ours, Self::Peer]
        } else {
            [Self::Peer, Self::Ours]
        }
    }
}
