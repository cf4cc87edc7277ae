//! How long things stay, where a person wants them to leave by themselves (`[memory.retention]`).

use std::time::Duration;

use jiff::Timestamp;

use crate::config::RetentionConfig;

/// How often it is looked for what has to leave.
pub const EVERY: Duration = Duration::from_secs(3600);

/// What leaves now: what is older than these times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Facts whose newest version is older leave with all their versions.
    pub facts: Option<Timestamp>,
    /// Versions of facts that ceased to hold before.
    pub past_facts: Option<Timestamp>,
    /// Notes that last changed before.
    pub notes: Option<Timestamp>,
}

impl Limits {
    /// What the configuration wants to leave at `now`; `None`: nothing ever.
    pub fn at(config: RetentionConfig, now: Timestamp) -> Option<Self> {
        let before = |days: u32| {
            let age = Duration::from_secs(u64::from(days) * 86_400);
            (days > 0).then(|| now.saturating_sub(age).unwrap_or(Timestamp::MIN))
        };
        let limits = Self {
            facts: before(config.facts_days),
            past_facts: before(config.past_facts_days),
            notes: before(config.notes_days),
        };
        (limits != Self::default()).then_some(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_days_keep_for_ever() {
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        let mut config = RetentionConfig {
            facts_days: 0,
            past_facts_days: 0,
            notes_days: 0,
        };
        assert_eq!(Limits::at(config, now), None);
        config.notes_days = 10;
        let limits = Limits::at(config, now).unwrap();
        assert_eq!(
            (limits.facts, limits.notes),
            (None, Some("2026-02-28T12:00:00Z".parse().unwrap()))
        );
    }
}
