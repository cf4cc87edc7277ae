//! Damages PDFs as disks, networks, careless programs and malice do.

use std::ops::Range;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Damages a PDF; the second is another one.
type Damage = fn(&[u8], &[u8], &mut StdRng) -> Vec<u8>;

const WAYS: [(&str, Damage); 10] = [
    ("flipped-bits", flip_bits),
    ("truncated", truncate),
    ("range-deleted", delete_range),
    ("range-repeated", repeat_range),
    ("spliced", splice),
    ("extreme-numbers", put_extreme_numbers),
    ("objects-swapped", swap_objects),
    ("references-redirected", redirect_references),
    ("wrong-length", put_wrong_length),
    ("wrong-cross-references", put_wrong_cross_references),
];

/// What programs forget that numbers can be.
const EXTREMES: [&str; 7] = [
    "99999999999999999999",
    "4294967296",
    "2147483647",
    "1000000000",
    "65536",
    "0",
    "-1",
];

/// More than the undamaged PDFs have.
const OBJECTS: usize = 32;

/// So many damaged PDFs with names that say how, made of `wholes`, each in each way in turn.
pub fn corpus(wholes: &[Vec<u8>], count: usize, rng: &mut StdRng) -> Vec<(String, Vec<u8>)> {
    let one = |number: usize| {
        let (way, damage) = WAYS[number % WAYS.len()];
        let round = number / WAYS.len();
        let (whole, other) = (&wholes[round % wholes.len()], &wholes[(round + 1) % wholes.len()]);
        let damaged = damage(whole, other, rng);
        let damaged = if round.is_multiple_of(2) {
            mended(damaged)
        } else {
            damaged
        };
        (format!("{number}-{way}.pdf"), damaged)
    };
    (0..count).map(one).collect()
}

/// The same with a cross-reference table that is right again. Where objects have moved, parsers give up before they look at
/// any; with this they meet what else is wrong.
fn mended(pdf: Vec<u8>) -> Vec<u8> {
    let Some(table) = find(&pdf, b"xref\n0 ", 0) else {
        return pdf;
    };
    let Some(trailer) = find(&pdf, b"trailer", table) else {
        return pdf;
    };
    let end = find(&pdf, b"startxref", trailer).unwrap_or(pdf.len());
    let body = &pdf[..table];
    let mut entries = format!("xref\n0 {OBJECTS}\n0000000000 65535 f \n");
    for number in 1..OBJECTS {
        entries += &match find(body, format!("\n{number} 0 obj").as_bytes(), 0) {
            Some(line_end) => format!("{:010} 00000 n \n", line_end + 1),
            None => "0000000000 00000 f \n".to_owned(),
        };
    }
    let last = format!("startxref\n{table}\n%%EOF");
    [body, entries.as_bytes(), &pdf[trailer..end], last.as_bytes()].concat()
}

fn flip_bits(pdf: &[u8], _: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut damaged = pdf.to_vec();
    for _ in 0..rng.random_range(1..=32) {
        let place = rng.random_range(0..damaged.len());
        damaged[place] ^= 1_u8 << rng.random_range(0..8_u32);
    }
    damaged
}

fn truncate(pdf: &[u8], _: &[u8], rng: &mut StdRng) -> Vec<u8> {
    pdf[..rng.random_range(1..pdf.len())].to_vec()
}

fn delete_range(pdf: &[u8], _: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let lost = some_range(pdf, rng);
    [&pdf[..lost.start], &pdf[lost.end..]].concat()
}

fn repeat_range(pdf: &[u8], _: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let repeated = some_range(pdf, rng);
    let place = rng.random_range(0..=pdf.len());
    [&pdf[..place], &pdf[repeated], &pdf[place..]].concat()
}

/// The beginning of one and the end of the other.
fn splice(pdf: &[u8], other: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let beginning = &pdf[..rng.random_range(1..pdf.len())];
    let end = &other[rng.random_range(0..other.len())..];
    [beginning, end].concat()
}

fn put_extreme_numbers(pdf: &[u8], _: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut damaged = pdf.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        let value = EXTREMES[rng.random_range(0..EXTREMES.len())];
        damaged = with_one_replaced(&damaged, &numbers(&damaged), value, rng);
    }
    damaged
}

fn swap_objects(pdf: &[u8], _: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let bodies = bodies(pdf);
    let first = rng.random_range(0..bodies.len() - 1);
    let second = rng.random_range(first + 1..bodies.len());
    let (first, second) = (bodies[first].clone(), bodies[second].clone());
    [
        &pdf[..first.start],
        &pdf[second.clone()],
        &pdf[first.end..second.start],
        &pdf[first],
        &pdf[second.end..],
    ]
    .concat()
}

/// Objects become their own parents, pages fonts, and some are referred to that do not exist.
fn redirect_references(pdf: &[u8], _: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut damaged = pdf.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        let mut references = numbers(&damaged);
        references.retain(|number| damaged[number.end..].starts_with(b" 0 R"));
        let target = rng.random_range(0..OBJECTS).to_string();
        damaged = with_one_replaced(&damaged, &references, &target, rng);
    }
    damaged
}

/// A stream that says to be shorter or longer than it is.
fn put_wrong_length(pdf: &[u8], _: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut lengths = numbers(pdf);
    lengths.retain(|number| pdf[..number.start].ends_with(b"/Length "));
    let length = match rng.random_range(0..3) {
        0 => rng.random_range(0..1000),
        1 => i64::from(u32::MAX),
        _ => i64::MAX,
    };
    with_one_replaced(pdf, &lengths, &length.to_string(), rng)
}

/// Damages the table or the stream of cross-references, the trailer, and where they are said to be.
fn put_wrong_cross_references(pdf: &[u8], _: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let start = find(pdf, b"/XRef", 0).or_else(|| find(pdf, b"xref", 0)).unwrap_or(0);
    let mut damaged = pdf.to_vec();
    for _ in 0..rng.random_range(1..=8) {
        let place = rng.random_range(start..damaged.len());
        damaged[place] = rng.random_range(b'0'..=b'9');
    }
    damaged
}

fn with_one_replaced(pdf: &[u8], places: &[Range<usize>], value: &str, rng: &mut StdRng) -> Vec<u8> {
    match places.choose(rng) {
        Some(place) => [&pdf[..place.start], value.as_bytes(), &pdf[place.end..]].concat(),
        None => pdf.to_vec(),
    }
}

fn some_range(pdf: &[u8], rng: &mut StdRng) -> Range<usize> {
    let start = rng.random_range(0..pdf.len());
    start..pdf.len().min(start + rng.random_range(1..200_usize))
}

/// Where digits stand.
fn numbers(pdf: &[u8]) -> Vec<Range<usize>> {
    let mut end = 0;
    let runs = pdf.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    runs.filter_map(|run| {
        let start = end;
        end += run.len();
        run[0].is_ascii_digit().then_some(start..end)
    })
    .collect()
}

/// What stands between `obj` and `endobj`.
fn bodies(pdf: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = find(pdf, b" obj", from).map(|place| place + 4)
        && let Some(end) = find(pdf, b"endobj", start)
    {
        found.push(start..end);
        from = end;
    }
    found
}

fn find(pdf: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let mut windows = pdf[from..].windows(wanted.len());
    windows.position(|window| window == wanted).map(|place| from + place)
}
