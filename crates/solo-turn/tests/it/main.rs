//! The machine's tests: turns as people have them, and every other order of events.

mod ahead;
mod barge_in;
mod pauses;
mod properties;
mod turns;
