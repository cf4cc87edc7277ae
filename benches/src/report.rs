//! What was measured, and what it is held against.
//!
//! Samples are kept by metric and contender, one a round; a ratio is taken within each round, so that what the machine
//! does to both at once cancels out. The rows and the targets are data: each benchmark has its own [`Sheet`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::Spread;

/// What was measured of contenders `W`.
#[derive(Debug)]
pub struct Samples<W> {
    values: BTreeMap<(String, W), Vec<f64>>,
    notes: Vec<String>,
}

impl<W> Default for Samples<W> {
    fn default() -> Self {
        Self {
            values: BTreeMap::new(),
            notes: Vec::new(),
        }
    }
}

impl<W: Copy + Ord> Samples<W> {
    /// Keeps a measurement.
    pub fn record(&mut self, metric: impl Into<String>, who: W, value: f64) {
        self.values.entry((metric.into(), who)).or_default().push(value);
    }

    /// Keeps a sentence that belongs under the table; once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            eprintln!("note: {note}");
            self.notes.push(note);
        }
    }

    /// Middle and range of a metric; `None` where it was not measured.
    pub fn spread(&self, metric: &str, who: W) -> Option<Spread> {
        let values = self.values.get(&(metric.to_owned(), who))?;
        Some(Spread::of(values.iter().copied()))
    }

    /// Two metrics, round by round; none where a round lacks one of them.
    pub fn pairs(&self, (metric, who): (&str, W), (other, whose): (&str, W)) -> Vec<(f64, f64)> {
        let of = |metric: &str, who| self.values.get(&(metric.to_owned(), who)).cloned().unwrap_or_default();
        let (first, second) = (of(metric, who), of(other, whose));
        let paired = first.len() == second.len();
        if paired {
            first.into_iter().zip(second).collect()
        } else {
            Vec::new()
        }
    }

    /// One metric over another, round by round; `None` where a round lacks one of them.
    pub fn ratio(&self, (metric, who): (&str, W), (other, whose): (&str, W)) -> Option<Spread> {
        let pairs = self.pairs((metric, who), (other, whose));
        (!pairs.is_empty()).then(|| Spread::of(pairs.into_iter().map(|(above, below)| above / below)))
    }

    /// The tables of a sheet, in Markdown.
    pub fn tables(&self, sheet: &Sheet<W>) -> String {
        let mut text = String::from("|");
        for (_, title) in sheet.columns {
            write!(text, " | {title}").expect("a string");
        }
        writeln!(text, " |\n|---|{}", "---:|".repeat(sheet.columns.len())).expect("a string");
        for row in sheet.rows {
            let cell = |&(who, _): &(W, &str)| {
                self.spread(row.metric, who)
                    .map_or_else(String::new, |spread| format!("{spread:.*}", row.decimals))
            };
            let cells: Vec<String> = sheet.columns.iter().map(cell).collect();
            if cells.iter().all(String::is_empty) {
                continue;
            }
            let tokens = row.of.and_then(|metric| self.spread(metric, sheet.columns[0].0));
            let tokens = tokens.map_or_else(|| "?".into(), |spread| format!("{:.0}", spread.median));
            let label = row.label.replace("{}", &tokens);
            writeln!(text, "| {label} | {} |", cells.join(" | ")).expect("a string");
        }
        text.push_str("\n| target | measured | holds |\n|---|---:|---|\n");
        for target in sheet.targets {
            let measured = match target.to {
                Some(to) => self.ratio(target.of, to),
                None => self.spread(target.of.0, target.of.1),
            };
            let Some(measured) = measured else {
                writeln!(text, "| {} | not measured | |", target.label).expect("a string");
                continue;
            };
            let holds = match target.limit {
                Limit::AtLeast(limit) => yes_no(measured.median >= limit),
                Limit::AtMost(limit) => yes_no(measured.median <= limit),
                Limit::None => "",
            };
            // Ratios are near one; what stands alone has a unit, and decimals where it is small.
            let decimals = match target.to {
                Some(_) => 3,
                None if measured.median.abs() < 1.0 => 2,
                None => usize::from(measured.median.abs() < 10.0),
            };
            writeln!(text, "| {} | {measured:.decimals$} | {holds} |", target.label).expect("a string");
        }
        for note in &self.notes {
            write!(text, "\n{note}\n").expect("a string");
        }
        text
    }
}

fn yes_no(holds: bool) -> &'static str {
    if holds { "yes" } else { "**no**" }
}

/// What stands together in docs/benchmarks.md.
pub struct Sheet<W: 'static> {
    /// Contenders and their titles, ours first.
    pub columns: &'static [(W, &'static str)],
    /// The first table.
    pub rows: &'static [Row],
    /// The second.
    pub targets: &'static [Target<W>],
}

/// A row of the first table. Rows without a measurement are left out.
pub struct Row {
    metric: &'static str,
    label: &'static str,
    of: Option<&'static str>,
    decimals: usize,
}

/// A row: the metric, what stands before it, and how many decimals it has.
pub const fn row(metric: &'static str, label: &'static str, decimals: usize) -> Row {
    Row {
        metric,
        label,
        of: None,
        decimals,
    }
}

/// The same; `{}` in the label stands for our median of the metric `of`.
pub const fn row_of(metric: &'static str, label: &'static str, decimals: usize, of: &'static str) -> Row {
    Row {
        metric,
        label,
        of: Some(of),
        decimals,
    }
}

/// What a measurement is held against.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// The median is to be no less.
    AtLeast(f64),
    /// The median is to be no more.
    AtMost(f64),
    /// Reported, not judged.
    None,
}

/// A row of the second table.
pub struct Target<W: 'static> {
    label: &'static str,
    of: (&'static str, W),
    to: Option<(&'static str, W)>,
    limit: Limit,
}

/// `of` over `to` is held against a limit.
pub const fn target<W: Copy>(
    label: &'static str,
    of: (&'static str, W),
    to: (&'static str, W),
    limit: Limit,
) -> Target<W> {
    Target {
        label,
        of,
        to: Some(to),
        limit,
    }
}

/// `of` itself is held against a limit, in its own unit.
pub const fn bound<W: Copy>(label: &'static str, of: (&'static str, W), limit: Limit) -> Target<W> {
    Target {
        label,
        of,
        to: None,
        limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHEET: Sheet<char> = Sheet {
        columns: &[('a', "ours"), ('b', "theirs")],
        rows: &[
            row_of("speed", "speed at {} tokens", 1, "size"),
            row("never", "never", 0),
        ],
        targets: &[
            target("a: ≥ 1.0 × b", ("speed", 'a'), ("speed", 'b'), Limit::AtLeast(1.0)),
            target("a: ≤ 0.5 × b", ("speed", 'a'), ("speed", 'b'), Limit::AtMost(0.5)),
            bound("a: ≤ 150 ms", ("wait", 'a'), Limit::AtMost(150.0)),
            bound("b: nothing", ("wait", 'b'), Limit::None),
        ],
    };

    fn samples() -> Samples<char> {
        let mut samples = Samples::default();
        for (ours, theirs) in [(60.0, 60.0), (30.0, 40.0), (50.0, 50.0)] {
            samples.record("speed", 'a', ours);
            samples.record("speed", 'b', theirs);
        }
        samples.record("size", 'a', 76.0);
        samples.record("wait", 'a', 140.0);
        samples
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let ratio = samples().ratio(("speed", 'a'), ("speed", 'b')).unwrap();
        assert_eq!((ratio.median, ratio.min), (1.0, 0.75));
    }

    #[test]
    fn the_tables_say_what_was_measured_and_what_was_missed() {
        let wanted = "| | ours | theirs |\n|---|---:|---:|\n\
             | speed at 76 tokens | 50.0 (30.0–60.0) | 50.0 (40.0–60.0) |\n\n\
             | target | measured | holds |\n|---|---:|---|\n\
             | a: ≥ 1.0 × b | 1.000 (0.750–1.000) | yes |\n\
             | a: ≤ 0.5 × b | 1.000 (0.750–1.000) | **no** |\n\
             | a: ≤ 150 ms | 140 (140–140) | yes |\n\
             | b: nothing | not measured | |\n";
        assert_eq!(samples().tables(&SHEET), wanted);
    }

    #[test]
    fn a_round_without_a_partner_gives_no_ratio() {
        let mut samples = samples();
        samples.record("speed", 'a', 1.0);
        assert!(samples.ratio(("speed", 'a'), ("speed", 'b')).is_none());
    }
}
