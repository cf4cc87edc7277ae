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
//! Speech that interrupts the assistant, speculation on drafts and the end of a turn by probability have their room in
//! [`Event`] and [`machine`]; until then a person interrupts with a control or with the wake word.

pub mod command;
pub mod event;
pub mod heard;
pub mod keyword;
pub mod machine;
pub mod settings;
pub mod stages;

pub use command::{Command, ListenFrom, Notice, Outcome, Phase, Summary};
pub use event::{Event, TurnId};
pub use heard::{Heard, Mark, MarkKind};
pub use machine::Machine;
pub use settings::{Settings, WakeMode};
pub use stages::{SampleClock, StageOffsets};
