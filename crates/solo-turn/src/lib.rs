//! The turn: who speaks, who listens, and what has to be started or stopped because of it.
//!
//! One [`Machine`] a conversation. It is pure: events go in with the time at which they happened, commands come out, and
//! nothing in here waits, sends, or looks at a clock. So every order of events can be tried in a test, and the gateway is
//! left with doing what it is told.
//!
//! - [`event`]: what can happen; everything that a running leg (listening, reply, speech) says carries its [`TurnId`], so
//!   that a late word of an earlier turn is recognised and dropped.
//! - [`command`]: what is to be done. Every command that starts work has exactly one command or event that ends it.
//! - [`machine`]: the states and the ways between them.
//! - [`stages`]: when each stage was done, measured from the last voiced sample.
//! - [`heard`]: how much of a reply a person has heard, from marks and played samples.
//! - [`keyword`]: takes what is left of a wake word off a transcript.
//!
//! The machine hides latency: in the first moments of a pause it has an answer drafted and its first words spoken unheard
//! ([`Command::Draft`], [`Command::SpeakAhead`]), and it takes both back if the person goes on.

pub mod command;
pub mod event;
pub mod heard;
pub mod keyword;
pub mod machine;
pub mod settings;
pub mod stages;
mod words;

pub use command::{Command, ListenFrom, Notice, Outcome, Phase, Summary};
pub use event::{Event, TurnId};
pub use heard::{Heard, Mark, MarkKind};
pub use machine::Machine;
pub use settings::{BargeIn, Settings, TurnEnd, WakeMode};
pub use stages::{SampleClock, StageOffsets};
