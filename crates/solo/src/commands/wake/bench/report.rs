//! What was heard, counted: by keyword, by condition, and as text for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use solo_proto::status::v1::ServiceStatus;
use solo_proto::wake::v1::WakeEvent;

use super::recordings::Recording;

/// Samples a millisecond.
const A_MS: u64 = 16;
const RATE: f64 = 16_000.0;

/// A recording, and when which keyword was heard in it.
#[derive(Debug)]
pub(super) struct Heard {
    recording: Recording,
    /// Its length.
    pub(super) seconds: f64,
    /// Where the keyword ends: as the manifest says, else where sound ends.
    end_ms: u64,
    wakes: Vec<WakeEvent>,
}

impl Heard {
    pub(super) fn new(recording: Recording, samples: &[i16], wakes: Vec<WakeEvent>) -> Self {
        Self {
            end_ms: recording.end_ms.unwrap_or_else(|| end_of_sound(samples) as u64 / A_MS),
            recording,
            seconds: samples.len() as f64 / RATE,
            wakes,
        }
    }

    /// The first time that its keyword was heard, once it had begun; latency from its end, in ms. Negative: before its end.
    fn hit(&self) -> Option<i64> {
        let keyword = self.recording.keyword.as_ref()?;
        let begins = self.recording.start_ms.unwrap_or(0) * A_MS;
        let wake = self
            .wakes
            .iter()
            .find(|wake| wake.keyword == *keyword && wake.end_sample >= begins)?;
        Some((wake.end_sample / A_MS) as i64 - self.end_ms as i64)
    }

    /// How often this keyword was heard though nobody said it.
    fn false_accepts(&self, keyword: &str) -> usize {
        let said = self.recording.keyword.as_deref() == Some(keyword);
        let wrong = self.wakes.iter().filter(|wake| {
            let early = said && wake.end_sample < self.recording.start_ms.unwrap_or(0) * A_MS;
            wake.keyword == keyword && (!said || early)
        });
        wrong.count()
    }
}

/// One past the last 10 ms that are less than 26 dB below the loudest.
fn end_of_sound(samples: &[i16]) -> usize {
    let power = |frame: &[i16]| frame.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / frame.len() as f64;
    let powers: Vec<f64> = samples.chunks(160).map(power).collect();
    let loudest = powers.iter().copied().fold(0.0, f64::max);
    let last = powers
        .iter()
        .rposition(|&power| power > 0.0 && power >= loudest / 400.0);
    last.map_or(samples.len(), |last| ((last + 1) * 160).min(samples.len()))
}

/// What the service spent.
#[derive(Debug)]
pub(super) struct Load {
    /// Audio that it heard meanwhile.
    pub(super) audio_seconds: Option<f64>,
    /// Processor time that it took.
    cpu_seconds: Option<f64>,
}

impl Load {
    pub(super) fn between(before: &ServiceStatus, after: &ServiceStatus) -> Self {
        let gauge = |status: &ServiceStatus, name: &str| {
            let found = status.gauges.iter().find(|gauge| gauge.name == name);
            found.map(|gauge| gauge.value)
        };
        let grown = |name: &str| Some(gauge(after, name)? - gauge(before, name)?);
        Self {
            audio_seconds: grown("audio_heard"),
            cpu_seconds: grown("cpu_time"),
        }
    }

    /// Processor time for each second of a stream, in per cent of one core.
    fn percent(&self) -> Option<f64> {
        let audio = self.audio_seconds.filter(|seconds| *seconds > 0.0)?;
        Some(100.0 * self.cpu_seconds? / audio)
    }
}

/// `solo wake bench --json`: exactly these fields.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    engine: String,
    keywords: Vec<OfKeyword>,
    /// Misses by what the manifest tells of the recordings.
    positives_by_tag: BTreeMap<String, BTreeMap<String, Share>>,
    /// False accepts of all keywords by what is told of recordings without one.
    negatives_by_tag: BTreeMap<String, BTreeMap<String, Accepts>>,
    positive_seconds: f64,
    negative_seconds: f64,
    /// Processor time of wake-svc for each second of audio, in per cent of one core; transport included.
    cpu_percent_of_a_core: Option<f64>,
    /// Wall time over the length of all audio: below 1 is faster than real time.
    real_time_factor: f64,
    /// Recordings in which something was missed or wrongly heard.
    faults: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct OfKeyword {
    keyword: String,
    clips: usize,
    misses: usize,
    misses_percent: Option<f64>,
    false_accepts: usize,
    false_accepts_per_hour: Option<f64>,
    /// From the keyword's end to the detection, in the audio; negative: before its end.
    latency_ms_p50: Option<i64>,
    latency_ms_p95: Option<i64>,
}

#[derive(Debug, Default, Serialize)]
struct Share {
    clips: usize,
    misses: usize,
}

#[derive(Debug, Default, Serialize)]
struct Accepts {
    clips: usize,
    seconds: f64,
    false_accepts: usize,
}

#[derive(Debug, Serialize)]
struct Fault {
    file: String,
    fault: &'static str,
    keyword: String,
    tags: BTreeMap<String, String>,
}

impl Report {
    pub(super) fn new(
        keywords: &[String],
        heard: &[Heard],
        load: &Load,
        elapsed: Duration,
        status: &ServiceStatus,
    ) -> Self {
        let seconds = |said: bool| -> f64 {
            let of_kind = heard.iter().filter(|heard| heard.recording.keyword.is_some() == said);
            of_kind.map(|heard| heard.seconds).sum()
        };
        let (positive_seconds, negative_seconds) = (seconds(true), seconds(false));
        let mut positives_by_tag: BTreeMap<String, BTreeMap<String, Share>> = BTreeMap::new();
        let mut negatives_by_tag: BTreeMap<String, BTreeMap<String, Accepts>> = BTreeMap::new();
        for one in heard {
            for (tag, value) in &one.recording.tags {
                let (tag, value) = (tag.clone(), value.clone());
                if one.recording.keyword.is_some() {
                    let share = positives_by_tag.entry(tag).or_default().entry(value).or_default();
                    share.clips += 1;
                    share.misses += usize::from(one.hit().is_none());
                } else {
                    let accepts = negatives_by_tag.entry(tag).or_default().entry(value).or_default();
                    accepts.clips += 1;
                    accepts.seconds += one.seconds;
                    accepts.false_accepts += one.wakes.len();
                }
            }
        }
        Self {
            engine: status.engine.clone(),
            keywords: keywords
                .iter()
                .map(|keyword| of_keyword(keyword, heard, negative_seconds))
                .collect(),
            positives_by_tag,
            negatives_by_tag,
            positive_seconds,
            negative_seconds,
            cpu_percent_of_a_core: load.percent(),
            real_time_factor: elapsed.as_secs_f64() / (positive_seconds + negative_seconds).max(f64::MIN_POSITIVE),
            faults: heard.iter().flat_map(|one| faults(one, keywords)).collect(),
        }
    }

    /// The same for people.
    pub(super) fn text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_header([
            "KEYWORD",
            "CLIPS",
            "MISSES",
            "FALSE WAKES",
            "AN HOUR",
            "LATENCY P50",
            "P95",
        ]);
        let optional = |value: Option<String>| value.unwrap_or_else(|| "–".into());
        for of in &self.keywords {
            table.add_row([
                of.keyword.clone(),
                of.clips.to_string(),
                optional(
                    of.misses_percent
                        .map(|percent| format!("{} ({percent:.1} %)", of.misses)),
                ),
                of.false_accepts.to_string(),
                optional(of.false_accepts_per_hour.map(|rate| format!("{rate:.1}"))),
                optional(of.latency_ms_p50.map(|ms| format!("{ms} ms"))),
                optional(of.latency_ms_p95.map(|ms| format!("{ms} ms"))),
            ]);
        }
        let mut text = format!("{table}\n\n");
        for (tag, values) in &self.positives_by_tag {
            let values = values
                .iter()
                .map(|(value, share)| format!("{value} {} of {}", share.misses, share.clips));
            let values = values.collect::<Vec<_>>().join(", ");
            writeln!(text, "misses by {tag}: {values}").unwrap_or_default();
        }
        for (tag, values) in &self.negatives_by_tag {
            let values = values
                .iter()
                .map(|(value, accepts)| format!("{value} {} in {:.0} s", accepts.false_accepts, accepts.seconds));
            let values = values.collect::<Vec<_>>().join(", ");
            writeln!(text, "false wakes by {tag}: {values}").unwrap_or_default();
        }
        let share = self.cpu_percent_of_a_core;
        let share = share.map_or_else(
            || "processor time unknown".into(),
            |share| format!("{share:.2} % of a core a stream"),
        );
        let (with, without) = (self.positive_seconds / 60.0, self.negative_seconds / 60.0);
        write!(
            text,
            "{}: {with:.1} min with a keyword and {without:.1} min without, {share}, real-time factor {:.4}",
            self.engine, self.real_time_factor
        )
        .unwrap_or_default();
        text
    }
}

fn of_keyword(keyword: &str, heard: &[Heard], negative_seconds: f64) -> OfKeyword {
    let clips: Vec<&Heard> = heard
        .iter()
        .filter(|heard| heard.recording.keyword.as_deref() == Some(keyword))
        .collect();
    let mut latencies: Vec<i64> = clips.iter().filter_map(|heard| heard.hit()).collect();
    latencies.sort_unstable();
    let misses = clips.len() - latencies.len();
    let false_accepts: usize = heard.iter().map(|heard| heard.false_accepts(keyword)).sum();
    let negatives = heard.iter().filter(|heard| heard.recording.keyword.is_none());
    let of_negatives: usize = negatives.map(|heard| heard.false_accepts(keyword)).sum();
    OfKeyword {
        keyword: keyword.to_owned(),
        clips: clips.len(),
        misses,
        misses_percent: (!clips.is_empty()).then(|| 100.0 * misses as f64 / clips.len() as f64),
        false_accepts,
        false_accepts_per_hour: (negative_seconds > 0.0).then(|| of_negatives as f64 * 3600.0 / negative_seconds),
        latency_ms_p50: percentile(&latencies, 0.5),
        latency_ms_p95: percentile(&latencies, 0.95),
    }
}

fn faults(heard: &Heard, keywords: &[String]) -> Vec<Fault> {
    let fault = |fault, keyword: &str| Fault {
        file: heard.recording.file.display().to_string(),
        fault,
        keyword: keyword.to_owned(),
        tags: heard.recording.tags.clone(),
    };
    let missed = heard.recording.keyword.as_deref().filter(|_| heard.hit().is_none());
    let accepted = keywords.iter().filter(|keyword| heard.false_accepts(keyword) > 0);
    missed
        .map(|keyword| fault("miss", keyword))
        .into_iter()
        .chain(accepted.map(|keyword| fault("false accept", keyword)))
        .collect()
}

/// Nearest rank of sorted values.
fn percentile(sorted: &[i64], share: f64) -> Option<i64> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(keyword: Option<&str>, tag: &str) -> Recording {
        Recording {
            file: "a.wav".into(),
            keyword: keyword.map(str::to_owned),
            start_ms: keyword.map(|_| 500),
            end_ms: keyword.map(|_| 1_000),
            tags: [("noise".to_owned(), tag.to_owned())].into(),
        }
    }

    fn wake(keyword: &str, end_ms: u64) -> WakeEvent {
        WakeEvent {
            keyword: keyword.into(),
            end_sample: end_ms * A_MS,
            ..WakeEvent::default()
        }
    }

    fn heard(recording: Recording, wakes: Vec<WakeEvent>) -> Heard {
        Heard::new(recording, &[100; 32_000], wakes)
    }

    #[test]
    fn hits_misses_and_false_accepts_are_counted() {
        let all = [
            heard(recording(Some("a"), "pink"), vec![wake("a", 1_100)]),
            heard(recording(Some("a"), "pink"), vec![wake("a", 980), wake("b", 1_000)]),
            // Before it was said: wrong, and the keyword is missed.
            heard(recording(Some("a"), "white"), vec![wake("a", 300)]),
            heard(recording(None, "speech"), vec![]),
            heard(recording(None, "near"), vec![wake("a", 700), wake("a", 1_900)]),
        ];
        let load = Load {
            audio_seconds: Some(10.0),
            cpu_seconds: Some(0.1),
        };
        let keywords = ["a".to_owned(), "b".to_owned()];
        let report = Report::new(
            &keywords,
            &all,
            &load,
            Duration::from_secs(1),
            &ServiceStatus::default(),
        );
        let a = &report.keywords[0];
        assert_eq!((a.clips, a.misses, a.false_accepts), (3, 1, 3));
        assert_eq!((a.latency_ms_p50, a.latency_ms_p95), (Some(-20), Some(100)));
        // Two in four seconds of recordings without a keyword.
        assert_eq!(a.false_accepts_per_hour, Some(1_800.0));
        let b = &report.keywords[1];
        assert_eq!(
            (b.clips, b.misses_percent, b.false_accepts, b.false_accepts_per_hour),
            (0, None, 1, Some(0.0))
        );
        assert_eq!(
            (report.cpu_percent_of_a_core, report.real_time_factor),
            (Some(1.0), 0.1)
        );
        assert_eq!(report.faults.len(), 4, "{:?}", report.faults);
        let text = report.text();
        for words in [
            "1 (33.3 %)",
            "misses by noise: pink 0 of 2, white 1 of 1",
            "near 2 in 2 s",
            "1.00 % of a core",
        ] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
    }

    #[test]
    fn the_end_of_sound_is_found_where_nobody_says_it() {
        let samples = [vec![3; 8_000], vec![5_000; 8_000], vec![3; 8_000]].concat();
        assert_eq!(end_of_sound(&samples), 16_000);
        assert_eq!(end_of_sound(&[0; 500]), 500);
    }
}
