//! What is wrong with a configuration: all of it, not the first of it.

use std::fmt;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, as in the file: "stt.vad.threshold". Empty: the file as a whole.
    pub key: String,
    /// What is wrong and what is wanted.
    pub problem: String,
    /// Where it was said: a file, a variable, a flag. Empty: unknown.
    pub origin: String,
}

/// Mistakes, in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Notes what is wrong with a key.
    pub fn add(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.add_from(key, problem, "");
    }

    /// Notes what is wrong with a key, and where it was said.
    pub fn add_from(&mut self, key: impl Into<String>, problem: impl Into<String>, origin: impl Into<String>) {
        self.0.push(Fault {
            key: key.into(),
            problem: problem.into(),
            origin: origin.into(),
        });
    }

    /// Notes a value outside its range.
    pub fn range<T: PartialOrd + fmt::Display>(&mut self, key: &str, value: T, low: T, high: T) {
        if !(value >= low && value <= high) {
            self.add(key, format!("{low} to {high} is wanted, found {value}"));
        }
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "the configuration has {count} fault{}:",
            if count == 1 { "" } else { "s" }
        )?;
        for fault in &self.0 {
            f.write_str("\n  ")?;
            if !fault.key.is_empty() {
                write!(f, "{}: ", fault.key)?;
            }
            f.write_str(&fault.problem)?;
            if !fault.origin.is_empty() {
                write!(f, " (in {})", fault.origin)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
