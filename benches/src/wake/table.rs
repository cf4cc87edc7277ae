//! What `solo wake bench --json` reports, as tables of docs/benchmarks.md.

use std::fmt::Write as _;

use serde_json::Value;

/// An engine's report.
pub struct Outcome {
    /// How the service was configured, in a few words.
    pub title: String,
    /// What the command printed.
    pub report: Value,
}

/// What the issue asks of the default keyword.
const MISSES: f64 = 5.0;
const CPU: f64 = 3.0;

/// All tables; `outcomes` begins with the default configuration.
///
/// # Panics
/// When a report is not as the command documents it.
pub fn tables(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| configuration | keyword | clips | missed | latency p50, p95, ms | woken by speech | by near misses | by noise |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for Outcome { title, report } in outcomes {
        for of in report["keywords"].as_array().expect("keywords") {
            let keyword = of["keyword"].as_str().expect("a keyword");
            let latency = format!("{}, {}", number(&of["latency_ms_p50"]), number(&of["latency_ms_p95"]));
            let missed = of["misses_percent"].as_f64().unwrap_or(f64::NAN);
            let woken = |kinds: &[&str]| woken(report, keyword, kinds);
            let (speech, near, noise) = (woken(&SPEECH), woken(&["near miss"]), woken(&["no speech"]));
            writeln!(
                text,
                "| {title} | {keyword} | {} | {} ({missed:.1} %) | {latency} | {speech} | {near} | {noise} |",
                of["clips"], of["misses"]
            )
            .expect("a string");
        }
    }
    let (default, report) = (&outcomes[0].report["keywords"][0], &outcomes[0].report);
    let minutes = |kinds: &[&str]| {
        let of = |kind: &&str| {
            report["negatives_by_tag"]["kind"][kind]["seconds"]
                .as_f64()
                .unwrap_or(0.0)
        };
        kinds.iter().map(of).sum::<f64>() / 60.0
    };
    writeln!(
        text,
        "\nWithout a keyword: {:.1} minutes of speech, {:.1} of near misses, {:.1} of silence, noise, music and things.\n",
        minutes(&SPEECH),
        minutes(&["near miss"]),
        minutes(&["no speech"]),
    )
    .expect("a string");
    text.push_str("| misses of the first row | |\n|---|---|\n");
    for tag in ["noise", "snr", "room", "level", "speed", "speaker", "voice"] {
        writeln!(text, "| by {tag} | {} |", by_tag(report, tag, "hey_jarvis")).expect("a string");
    }
    let missed = default["misses_percent"].as_f64().unwrap_or(f64::NAN);
    let accepts: usize = report["keywords"]
        .as_array()
        .expect("keywords")
        .iter()
        .map(|of| {
            woken(
                report,
                of["keyword"].as_str().expect("a keyword"),
                &[&SPEECH[..], &["no speech"]].concat(),
            )
        })
        .sum();
    let holds = |yes: bool| if yes { "yes" } else { "**no**" };
    writeln!(text, "\n| target | measured | holds |\n|---|---:|---|").expect("a string");
    writeln!(
        text,
        "| misses: ≤ {MISSES} % | {missed:.1} % | {} |",
        holds(missed <= MISSES)
    )
    .expect("a string");
    writeln!(
        text,
        "| false wakes without a keyword: 0 | {accepts} | {} |",
        holds(accepts == 0)
    )
    .expect("a string");
    match report["cpu_percent_of_a_core"].as_f64() {
        Some(cpu) => {
            let engines = outcomes.iter().filter_map(|outcome| {
                let cpu = outcome.report["cpu_percent_of_a_core"].as_f64()?;
                Some(format!("{}: {cpu:.2} %", outcome.title))
            });
            let engines = engines.collect::<Vec<_>>().join("; ");
            writeln!(
                text,
                "| of one core a stream: ≤ {CPU} % | {cpu:.2} % | {} |\n\n{engines}",
                holds(cpu <= CPU)
            )
        }
        None => writeln!(text, "| of one core a stream: ≤ {CPU} % | not measured | |"),
    }
    .expect("a string");
    text
}

/// Speech in which nobody says a keyword or nearly one.
const SPEECH: [&str; 3] = ["sentences", "librivox", "babble"];

/// Recordings of these kinds that woke a keyword.
fn woken(report: &Value, keyword: &str, kinds: &[&str]) -> usize {
    let faults = report["faults"].as_array().expect("faults").iter();
    faults
        .filter(|fault| fault["fault"] == "false accept" && fault["keyword"] == keyword)
        .filter(|fault| kinds.iter().any(|kind| fault["tags"]["kind"] == *kind))
        .count()
}

/// "white 3, pink 1": the misses of a keyword by the values of a tag.
fn by_tag(report: &Value, tag: &str, keyword: &str) -> String {
    let Some(values) = report["positives_by_tag"][tag].as_object() else {
        return "–".into();
    };
    let missed = |value: &str| {
        let faults = report["faults"].as_array().expect("faults").iter();
        let of =
            |fault: &&Value| fault["fault"] == "miss" && fault["keyword"] == keyword && fault["tags"][tag] == value;
        faults.filter(of).count()
    };
    let cells: Vec<String> = values
        .keys()
        .map(|value| format!("{value}: {}", missed(value)))
        .collect();
    cells.join(", ")
}

fn number(value: &Value) -> String {
    value.as_i64().map_or_else(|| "–".into(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_held_against_the_targets() {
        let fault = |fault: &str, tag: &str, value: &str| serde_json::json!({"file": "a.wav", "fault": fault, "keyword": "hey_jarvis", "tags": {tag: value}});
        let report = serde_json::json!({
            "keywords": [{"keyword": "hey_jarvis", "clips": 20, "misses": 1, "misses_percent": 5.0,
                          "latency_ms_p50": 40, "latency_ms_p95": null}],
            "positives_by_tag": {"noise": {"pink": {"clips": 10, "misses": 1}, "white": {"clips": 10, "misses": 0}}},
            "negatives_by_tag": {"kind": {"librivox": {"clips": 1, "seconds": 90.0, "false_accepts": 0}}},
            "cpu_percent_of_a_core": 3.5,
            "faults": [fault("miss", "noise", "pink"), fault("false accept", "kind", "near miss")],
        });
        let text = tables(&[Outcome {
            title: "default".into(),
            report,
        }]);
        for line in [
            "| default | hey_jarvis | 20 | 1 (5.0 %) | 40, – | 0 | 1 | 0 |",
            "| by noise | pink: 1, white: 0 |",
            "1.5 minutes of speech",
            "| misses: ≤ 5 % | 5.0 % | yes |",
            "| false wakes without a keyword: 0 | 0 | yes |",
            "| of one core a stream: ≤ 3 % | 3.50 % | **no** |",
        ] {
            assert!(text.contains(line), "{line}:\n{text}");
        }
    }
}
