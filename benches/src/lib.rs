//! What every benchmark shares: medians with their spread, the machine, and the place in docs/benchmarks.md where a
//! result is written.

pub mod compose;
pub mod llm;
pub mod memory;
pub mod portable;
pub mod process;
pub mod report;
pub mod voice;
pub mod wake;

use std::fmt::Write as _;
use std::path::Path;

/// Middle and range of some measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Half of the measurements are below.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one measurement.
    ///
    /// # Panics
    /// Without any: a benchmark that measured nothing has no result.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self {
            median,
            min: values[0],
            max: values[values.len() - 1],
        }
    }
}

/// The value that a share of the measurements does not exceed (nearest rank): 0.95 of 20 is the second largest, of eight the
/// largest.
///
/// # Panics
/// Without any measurement.
pub fn percentile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// Whole numbers, or as many decimals as the format's precision says.
impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decimals = f.precision().unwrap_or(0);
        let Self { median, min, max } = self;
        write!(f, "{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
    }
}

/// The machine, in a line.
pub fn machine() -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: u64 = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|value| value.trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    format!(
        "{cpu}, {cores} cores, {} GiB, {}",
        kib.div_ceil(1024 * 1024),
        std::env::consts::OS
    )
}

/// Writes a result under its heading in docs/benchmarks.md, in place of the one before.
pub fn publish(name: &str, command: &str, profile: &str, body: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
    let text = std::fs::read_to_string(&file).expect("docs/benchmarks.md is there");
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("docs/benchmarks.md has no {begin}"));
    let (_, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("docs/benchmarks.md has no {end}"));
    let mut result = String::new();
    let date = jiff::Zoned::now().date();
    writeln!(result, "`{command}` · {profile} profile · {} · {date}\n", machine()).expect("a string");
    result.push_str(body);
    std::fs::write(&file, format!("{before}{begin}\n{result}{end}{after}")).expect("docs/benchmarks.md can be written");
}

/// The profile that this program was built in; "native release" where the target folder says that it is for this machine
/// alone (`…/native/release`), "x86-64-v3 release" where it is for all of a kind.
pub fn profile() -> String {
    let program = std::env::current_exe().expect("a running program");
    let mut folders = program.ancestors().skip(1).filter_map(Path::file_name);
    let profile = folders.next().map(|name| name.to_string_lossy());
    let profile = match profile.as_deref() {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let processor = folders.next().map(|name| name.to_string_lossy());
    match processor.filter(|name| name == "native" || name.starts_with("x86-64-v")) {
        Some(processor) => format!("{processor} {profile}"),
        None => profile.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            }
        );
        assert_eq!(Spread::of([4.0, 1.0]).median, 2.5);
    }

    #[test]
    fn a_percentile_is_one_of_the_measurements() {
        assert_eq!(percentile((1..=20).map(f64::from), 0.95), 19.0);
        assert_eq!(percentile([3.0, 1.0, 2.0], 0.95), 3.0);
        assert_eq!(percentile([7.0], 0.5), 7.0);
    }
}
