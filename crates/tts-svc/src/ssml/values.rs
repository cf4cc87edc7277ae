//! Values of attributes: times, strengths, rates, volumes.

use std::time::Duration;

/// The longest break that is accepted, in ms.
const MAX_BREAK_MS: f64 = 10_000.0;

/// The silence of a `break`. Neither attribute: as "medium".
pub(super) fn pause(time: Option<&str>, strength: Option<&str>) -> Result<Duration, String> {
    if let Some(time) = time {
        let (number, factor) = match time.strip_suffix("ms") {
            Some(number) => (number, 1.0),
            None => (time.strip_suffix('s').unwrap_or("none"), 1000.0),
        };
        let milliseconds = positive(number).map(|number| number * factor);
        return match milliseconds.filter(|milliseconds| *milliseconds <= MAX_BREAK_MS) {
            Some(milliseconds) => Ok(Duration::from_secs_f64(milliseconds / 1e3)),
            None => Err(format!(
                "time is \"{time}\"; milliseconds or seconds up to \"10s\" are wanted, for instance \"300ms\""
            )),
        };
    }
    let milliseconds = match strength {
        Some("none") => 0,
        Some("x-weak") => 100,
        Some("weak") => 200,
        None | Some("medium") => 400,
        Some("strong") => 700,
        Some("x-strong") => 1_000,
        Some(other) => {
            return Err(format!(
                "strength is \"{other}\"; none, x-weak, weak, medium, strong or x-strong is wanted"
            ));
        }
    };
    Ok(Duration::from_millis(milliseconds))
}

/// What an `emphasis` does to rate and volume: these voices have no stress of their own to turn up.
pub(super) fn emphasis(level: Option<&str>) -> Result<(f32, f32), String> {
    Ok(match level {
        Some("strong") => (0.85, 1.4),
        None | Some("moderate") => (0.92, 1.2),
        Some("none") => (1.0, 1.0),
        Some("reduced") => (1.1, 0.8),
        Some(other) => {
            return Err(format!(
                "level is \"{other}\"; strong, moderate, none or reduced is wanted"
            ));
        }
    })
}

/// A rate of speech, as a factor: a word, a percentage of the normal rate, or SSML 1.0's number.
pub(super) fn rate(value: &str) -> Result<f32, String> {
    let factor = match value {
        "x-slow" => Some(0.5),
        "slow" => Some(0.75),
        "medium" | "default" => Some(1.0),
        "fast" => Some(1.25),
        "x-fast" => Some(1.75),
        _ => match value.strip_suffix('%') {
            Some(percent) => match percent.strip_prefix('+') {
                Some(more) => positive(more).map(|more| 1.0 + more / 100.0),
                None => match percent.strip_prefix('-') {
                    Some(less) => positive(less).map(|less| 1.0 - less / 100.0),
                    None => positive(percent).map(|percent| percent / 100.0),
                },
            },
            None => positive(value),
        },
    };
    match factor {
        Some(factor) if (0.25..=4.0).contains(&factor) => Ok(factor as f32),
        _ => Err(format!(
            "rate is \"{value}\"; x-slow, slow, medium, fast, x-fast, default or 25% to 400% is wanted"
        )),
    }
}

/// A volume, as a factor: a word, a change in decibels, or SSML 1.0's number from 0 to 100.
pub(super) fn volume(value: &str) -> Result<f32, String> {
    let factor = match value {
        "silent" => Some(0.0),
        "x-soft" => Some(0.25),
        "soft" => Some(0.5),
        "medium" | "default" => Some(1.0),
        "loud" => Some(1.4),
        "x-loud" => Some(2.0),
        _ => match value.strip_suffix("dB") {
            Some(change) => {
                let decibels = match (change.strip_prefix('+'), change.strip_prefix('-')) {
                    (Some(more), _) => positive(more),
                    (_, Some(less)) => positive(less).map(|less| -less),
                    _ => None,
                };
                decibels.map(|decibels| 10_f64.powf(decibels / 20.0))
            }
            None => positive(value)
                .filter(|number| *number <= 100.0)
                .map(|number| number / 100.0),
        },
    };
    match factor {
        Some(factor) if factor <= 4.0 => Ok(factor as f32),
        _ => Err(format!(
            "volume is \"{value}\"; silent, x-soft, soft, medium, loud, x-loud, default, a change like \"+6dB\" (at most 12) or 0 to 100 is wanted"
        )),
    }
}

/// A number that is not negative, without a sign.
fn positive(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| text.parse().ok()).flatten()
}
