//! The time of day where the person is, in words that a model reads. Pure: the moment is given.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::Error;

/// The time zone of that name; empty: the machine's.
pub fn time_zone(name: &str) -> Result<TimeZone, Error> {
    if name.is_empty() {
        return Ok(TimeZone::system());
    }
    TimeZone::get(name).map_err(|_| {
        let problem = format!(
            "\"{}\" is no time zone; an IANA name such as Europe/Berlin is wanted",
            name.escape_debug()
        );
        Error::invalid("open.time_zone", "TIME_ZONE_UNKNOWN", problem)
    })
}

/// For instance "Monday, 23 November 2026, 14:05 (Europe/Berlin)". A zone without a name is said by its offset.
pub fn spoken(now: Timestamp, zone: &TimeZone) -> String {
    let local = now.to_zoned(zone.clone());
    let name = zone.iana_name().filter(|name| *name != "Etc/Unknown");
    let name = name.map_or_else(|| format!("UTC{}", local.strftime("%:z")), str::to_owned);
    format!("{} ({name})", local.strftime("%A, %-d %B %Y, %H:%M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_is_another_day_elsewhere() {
        let moment: Timestamp = "2026-11-23T22:30:00Z".parse().expect("a time");
        for (zone, expected) in [
            ("Europe/Berlin", "Monday, 23 November 2026, 23:30 (Europe/Berlin)"),
            ("Asia/Kolkata", "Tuesday, 24 November 2026, 04:00 (Asia/Kolkata)"),
            (
                "America/Los_Angeles",
                "Monday, 23 November 2026, 14:30 (America/Los_Angeles)",
            ),
            ("UTC", "Monday, 23 November 2026, 22:30 (UTC)"),
        ] {
            assert_eq!(spoken(moment, &time_zone(zone).expect(zone)), expected);
        }
    }

    #[test]
    fn daylight_saving_time_is_kept() {
        let berlin = time_zone("Europe/Berlin").expect("a zone");
        let before: Timestamp = "2026-03-29T00:59:00Z".parse().expect("a time");
        let after: Timestamp = "2026-03-29T01:00:00Z".parse().expect("a time");
        assert!(spoken(before, &berlin).contains("01:59"));
        assert!(spoken(after, &berlin).contains("03:00"));
    }

    #[test]
    fn unknown_zones_are_refused_and_unnamed_ones_shown_by_offset() {
        let error = time_zone("Mars/Olympus").expect_err("no such zone");
        assert!(error.to_string().contains("Mars/Olympus"), "{error}");
        let fixed = TimeZone::fixed(jiff::tz::offset(2));
        let moment: Timestamp = "2026-11-23T22:30:00Z".parse().expect("a time");
        assert_eq!(spoken(moment, &fixed), "Tuesday, 24 November 2026, 00:30 (UTC+02:00)");
    }
}
