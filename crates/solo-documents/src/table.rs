//! Tables in text (CSV and its relatives): each row becomes a line that says its columns' names, so that a row found alone
//! is understood.

use super::{Bounded, Extracted, Refusal};

/// What may separate cells.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Lines that are looked at to find the separator.
const SAMPLE_LINES: usize = 20;

/// Reads a table whose first row names the columns.
pub(super) fn extract(table: String, max_text_bytes: usize) -> Result<Extracted, Refusal> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator(&table))
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(table.as_bytes());
    let broken = |error: csv::Error| Refusal::broken("CSV file", error);
    let names = reader.headers().map_err(broken)?.clone();
    let mut text = Bounded::new(max_text_bytes);
    let mut rows = 0;
    for row in reader.records() {
        let row = row.map_err(broken)?;
        let mut cells = Vec::with_capacity(row.len());
        for (index, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let cell = cell.split_whitespace().collect::<Vec<_>>().join(" ");
            match names.get(index).filter(|name| !name.is_empty()) {
                Some(name) => cells.push(format!("{name}: {cell}")),
                None => cells.push(cell),
            }
        }
        if !cells.is_empty() {
            text.push(&cells.join("; "))?;
            text.push("\n")?;
            rows += 1;
        }
    }
    if rows == 0 {
        // A table of one row has no names, only cells.
        text.push(&names.iter().collect::<Vec<_>>().join("; "))?;
    }
    Ok(Extracted {
        text: text.text,
        ..Extracted::default()
    })
}

/// The one that stands most regularly in the first lines: the largest least count, outside quotation marks.
fn separator(table: &str) -> u8 {
    let lines: Vec<&str> = table
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(SAMPLE_LINES)
        .collect();
    let least = |separator: u8| {
        let count = |line: &str| {
            let mut quoted = false;
            let outside = line.bytes().filter(|byte| {
                quoted ^= *byte == b'"';
                !quoted && *byte == separator
            });
            outside.count()
        };
        lines.iter().map(|line| count(line)).min().unwrap_or(0)
    };
    // The first of equals.
    SEPARATORS
        .into_iter()
        .rev()
        .max_by_key(|separator| least(*separator))
        .unwrap_or(b',')
}
