//! Kernels against plain sums, and every instruction set against every other.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::kernels::Isa;
use super::kernels::activation::{CHUNK, Chunk, Curve, Gate, Norm, Quantise};
use super::kernels::attention::{Attend, Query};
use super::linear::{self, Input, Linear, Rows, Task};
use super::threads::Threads;
use super::weights::Stored;
use crate::engine::BLOCK;

/// xorshift64: the same numbers every time, −1 to 1.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32 * 2.0 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn quantise(rows: &[f32], width: usize, isa: Isa) -> Vec<Chunk> {
    let mut chunks = vec![Chunk::default(); rows.len() / width * width.div_ceil(CHUNK)];
    for (row, chunks) in rows
        .chunks_exact(width)
        .zip(chunks.chunks_exact_mut(width.div_ceil(CHUNK)))
    {
        // SAFETY: `isa` is one of those available.
        unsafe { isa.run(Quantise { row, chunks }) };
    }
    chunks
}

/// All rows' results of a layer.
fn apply(linear: &Linear, rows: &[f32], inputs: usize, outputs: usize, isa: Isa) -> Vec<f32> {
    let chunks = quantise(rows, inputs, isa);
    let count = rows.len() / inputs;
    let mut results = vec![0.5; count * outputs];
    let input = Input {
        chunks: &chunks,
        floats: rows,
        rows: count,
    };
    let out = Rows::of(&mut results, outputs, count);
    let task = Task {
        linear,
        out: &out,
        column: 0,
        add: true,
    };
    linear::run(&[task], input, &mut Threads::new(2).unwrap(), isa);
    results
}

const TYPES: [GgmlDType; 13] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

const INPUTS: usize = 512;
const OUTPUTS: usize = 40;

#[test]
fn products_are_those_of_the_unpacked_weights() {
    for dtype in TYPES {
        check_products(dtype, numbers(INPUTS * OUTPUTS, 7), &numbers(15 * INPUTS, 11), 2e-4);
    }
}

#[test]
fn sums_of_the_largest_codes_fit_where_they_are_summed() {
    // In each block one weight gives the scale, all others have its largest code, and activations have all one sign.
    let weight = |index: usize| if index.is_multiple_of(32) { -1.0 } else { 0.98 };
    let rows = [vec![1.0; 3 * INPUTS], vec![-1.0; 2 * INPUTS]].concat();
    for dtype in TYPES {
        check_products(dtype, (0..INPUTS * OUTPUTS).map(weight).collect(), &rows, 2e-3);
    }
}

/// Holds the products of `rows` with weights that are stored so against plain sums, and all instructions and any number of
/// rows against each other.
fn check_products(dtype: GgmlDType, weights: Vec<f32>, rows: &[f32], tolerance: f64) {
    let bias = numbers(OUTPUTS, 3);
    let weights = Tensor::from_vec(weights, (OUTPUTS, INPUTS), &Device::Cpu).unwrap();
    let weights = QTensor::quantize(&weights, dtype).unwrap();
    let exact: Vec<f32> = weights
        .dequantize(&Device::Cpu)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    let stored = Stored::of_bytes(&weights.data().unwrap(), dtype, OUTPUTS, INPUTS);
    let linear = Linear::new(stored, Some(bias.clone()), &mut Threads::new(2).unwrap()).unwrap();
    let isas = Isa::available();
    let reference = apply(&linear, rows, INPUTS, OUTPUTS, isas[0]);
    let rounded = quantise(rows, INPUTS, isas[0]);
    let float = matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
    for (row, results) in reference.chunks_exact(OUTPUTS).enumerate() {
        for (output, result) in results.iter().enumerate() {
            let x = |input: usize| {
                let chunk = &rounded[row * INPUTS / CHUNK + input / CHUNK];
                match float {
                    true => f64::from(rows[row * INPUTS + input]),
                    false => f64::from(chunk.scale) * f64::from(chunk.codes[input % CHUNK]),
                }
            };
            let weight = |input: usize| f64::from(exact[output * INPUTS + input]);
            let sum: f64 = (0..INPUTS).map(|input| x(input) * weight(input)).sum();
            let wanted = sum + f64::from(bias[output]) + 0.5;
            assert!(
                (f64::from(*result) - wanted).abs() < tolerance,
                "{dtype:?} row {row} output {output}: {result}, not {wanted}"
            );
        }
    }
    for isa in isas {
        assert_eq!(
            bits(&reference),
            bits(&apply(&linear, rows, INPUTS, OUTPUTS, isa)),
            "{dtype:?} on {isa:?}"
        );
        for count in [1, 2, 3, 5, 9].into_iter().filter(|count| count * INPUTS <= rows.len()) {
            let some = apply(&linear, &rows[..count * INPUTS], INPUTS, OUTPUTS, isa);
            assert_eq!(
                bits(&reference[..count * OUTPUTS]),
                bits(&some),
                "{dtype:?}: {count} rows on {isa:?}"
            );
        }
    }
}

#[test]
fn rows_between_products_are_the_same_everywhere() {
    let (row, weights) = (numbers(1003, 5), numbers(1003, 9));
    let mut results = Vec::new();
    for isa in Isa::available() {
        let mut normed = vec![0.0; row.len()];
        let mut gated = [vec![0.0; row.len()], vec![0.0; row.len()]];
        // SAFETY: `isa` is one of those available.
        unsafe {
            isa.run(Norm {
                row: &row,
                weights: &weights,
                epsilon: 1e-5,
                out: &mut normed,
            });
            for (out, curve) in gated.iter_mut().zip([Curve::Silu, Curve::Gelu]) {
                isa.run(Gate {
                    gate: &row,
                    up: &weights,
                    curve,
                    out,
                });
            }
        }
        let mean = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / row.len() as f64 + 1e-5;
        for index in 0..row.len() {
            let (x, w) = (f64::from(row[index]), f64::from(weights[index]));
            assert!((f64::from(normed[index]) - x / mean.sqrt() * w).abs() < 1e-5);
            assert!((f64::from(gated[0][index]) - x / (1.0 + (-x).exp()) * w).abs() < 1e-6);
            let gelu = 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
            assert!((f64::from(gated[1][index]) - gelu * w).abs() < 1e-6);
        }
        let [silu, gelu] = gated;
        results.push([normed, silu, gelu].map(|numbers| bits(&numbers)));
    }
    assert!(results.iter().all(|found| *found == results[0]));
}

#[test]
fn attention_is_a_softmax_over_what_is_seen() {
    const HEAD: usize = 48;
    const TOKENS: usize = 77;
    let (keys, values) = (numbers(TOKENS * HEAD, 21), numbers(TOKENS * HEAD, 22));
    let queries: Vec<f32> = numbers(11 * HEAD, 23).iter().map(|x| x * 3.0).collect();
    let mut blocks = Vec::new();
    for block in 0..TOKENS.div_ceil(BLOCK) {
        let mut room = vec![0.0_f32; 2 * HEAD * BLOCK];
        for token in block * BLOCK..TOKENS.min((block + 1) * BLOCK) {
            for dimension in 0..HEAD {
                room[dimension * BLOCK + token % BLOCK] = keys[token * HEAD + dimension];
                room[HEAD * BLOCK + token % BLOCK * HEAD + dimension] = values[token * HEAD + dimension];
            }
        }
        blocks.push(room);
    }
    let pointers: Vec<*const f32> = blocks.iter().map(|block| block.as_ptr()).collect();
    let seen = |index: usize| (if index.is_multiple_of(2) { 0 } else { 20 + index }, 66 + index);
    let compute = |isa: Isa, together: usize| {
        let mut out = vec![0.0_f32; queries.len()];
        let room = Rows::of(&mut out, HEAD, 11);
        let all: Vec<Query> = (0..11)
            .map(|index| Query {
                numbers: queries[index * HEAD..].as_ptr(),
                out: room.at(index, 0),
                first: seen(index).0,
                last: seen(index).1,
            })
            .collect();
        for some in all.chunks(together) {
            // SAFETY: `isa` is available; the queries, results and blocks are there.
            unsafe {
                isa.run(Attend {
                    queries: some,
                    head: HEAD,
                    blocks: &pointers,
                });
            }
        }
        out
    };
    let reference = compute(Isa::Any, 1);
    for index in 0..11 {
        let (first, last) = seen(index);
        let score = |token: usize| -> f64 {
            let product = |d: usize| f64::from(queries[index * HEAD + d]) * f64::from(keys[token * HEAD + d]);
            (0..HEAD).map(product).sum()
        };
        let total: f64 = (first..=last).map(|token| score(token).exp()).sum();
        for dimension in 0..HEAD {
            let part = |token: usize| score(token).exp() * f64::from(values[token * HEAD + dimension]);
            let wanted = (first..=last).map(part).sum::<f64>() / total;
            assert!(
                (f64::from(reference[index * HEAD + dimension]) - wanted).abs() < 1e-5,
                "query {index}"
            );
        }
    }
    for isa in Isa::available() {
        for together in [1, 3, 11] {
            assert_eq!(bits(&reference), bits(&compute(isa, together)), "{isa:?}");
        }
    }
}

#[test]
fn work_is_done_once_and_panics_come_back() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let mut threads = Threads::new(4).unwrap();
    for count in (0..200).chain([5000]) {
        let calls: Arc<Vec<AtomicUsize>> = Arc::new((0..count).map(|_| AtomicUsize::new(0)).collect());
        threads.run(count, &|index| {
            calls[index].fetch_add(1, Ordering::Relaxed);
        });
        assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1));
    }
    let mut caught = std::panic::AssertUnwindSafe(&mut threads);
    let panicked = std::panic::catch_unwind(move || caught.run(50, &|index| assert!(index != 20, "on purpose")));
    assert!(panicked.is_err());
    let calls = AtomicUsize::new(0);
    threads.run(50, &|_| {
        calls.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(calls.load(Ordering::Relaxed), 50);
}
