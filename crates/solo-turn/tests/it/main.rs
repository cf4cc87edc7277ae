//! The machine's tests: turns as people have them, and every other order of events.

mod properties;
mod turns;
