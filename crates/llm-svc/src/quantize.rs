//! Makes a GGUF file of another GGUF file or of a folder of safetensors, its weights stored in fewer bits.
//!
//! `llm-svc quantize` is what `solo quantize` runs. The input is mapped and read once, in pieces of a few megabytes, so
//! memory does not grow with the model. The result is written beside its place (`OUT.part`), opened with our own header
//! reader, loaded into llama.cpp for one step, and only then put in place: whatever goes wrong before, an interruption
//! included, nothing is left behind.
//!
//! ```text
//! command.rs      what can be typed, and the lines that are printed for the other side
//! source.rs       a GGUF file as metadata and tensors
//! safetensors.rs  a Hugging Face folder as the same; config.rs reads its configuration
//! tokens.rs       its tokenizer as GGUF's tables
//! mix.rs          which tensor is stored how
//! numbers.rs      rows from one type into another
//! check.rs        the result, loaded
//! ```

mod check;
mod command;
mod config;
mod mix;
mod numbers;
mod safetensors;
mod source;
mod tokens;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;
use solo_models::gguf::{GgufError, HeaderWriter, TensorKind};

pub use check::scores;
pub use command::command;
pub use mix::{TARGETS, Target};
use source::{Input, Source};

/// Numbers that are converted at a time by one thread.
const PIECE: usize = 1 << 20;
/// Bytes that are copied at a time where nothing is converted.
const COPY: usize = 8 << 20;

/// What to make.
#[derive(Debug, Clone)]
pub struct Order {
    /// A GGUF file, or a folder of safetensors with their `config.json` and `tokenizer.json`.
    pub input: PathBuf,
    /// The file to make.
    pub output: PathBuf,
    /// How its weights are stored.
    pub target: Target,
    /// Replace `output` if it is there.
    pub force: bool,
    /// Take weights that were already quantised.
    pub allow_requantize: bool,
}

/// What happens meanwhile.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A tensor is being written.
    Tensor {
        /// Its name.
        name: &'a str,
        /// Bytes of the result that are written.
        done: u64,
        /// Bytes of the result.
        total: u64,
    },
    /// Everything is written; the result is being loaded.
    Checking,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The file.
    pub output: PathBuf,
    /// Name of the target.
    pub r#type: &'static str,
    /// Bytes of the input's weights.
    pub input_bytes: u64,
    /// Bytes of the file.
    pub output_bytes: u64,
    /// Every storage type in it, by name.
    pub types: BTreeMap<&'static str, TypeShare>,
    /// Tensors whose rows the wanted type's blocks do not divide.
    pub fallbacks: Vec<Fallback>,
    /// What it took.
    pub seconds: f64,
}

/// How much of a file is stored in one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TypeShare {
    /// Tensors.
    pub tensors: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Tensors that are stored otherwise than the target says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// What was wanted.
    pub wanted: &'static str,
    /// What was taken.
    pub used: &'static str,
    /// Length of the rows.
    pub row: u64,
    /// How many tensors.
    pub tensors: u64,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The result is there already.
    #[error("{} is already there: give another name, or --force to replace it", .0.display())]
    Exists(PathBuf),
    /// Input and output are one file.
    #[error("{} cannot be quantised onto itself: give the result another name", .0.display())]
    Same(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The input is no GGUF file that can be trusted.
    #[error("{} is no model that can be read: {reason}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: GgufError,
    },
    /// The folder is none that is understood.
    #[error("{} cannot be converted: {reason}", path.display())]
    Folder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The weights have lost their precision before.
    #[error(
        "{count} of its tensors are stored as {kind} already: quantised again they lose twice, and end up worse than \
         {target} made from the full-precision model; take that, or insist with --allow-requantize"
    )]
    Requantize {
        /// How many.
        count: u64,
        /// As what.
        kind: &'static str,
        /// The target.
        target: &'static str,
    },
    /// A type that candle does not know.
    #[error("tensor `{tensor}` is stored as {kind}, which cannot be read here: take a file in f16, bf16 or f32")]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// Its type.
        kind: &'static str,
    },
    /// A weight that is no number.
    #[error("tensor `{tensor}` holds a number that is not finite: the input is damaged")]
    NotFinite {
        /// The tensor.
        tensor: String,
    },
    /// A weight beyond 16-bit floats.
    #[error("tensor `{tensor}` holds numbers beyond f16's 65504: choose bf16, f32 or q8_0")]
    TooLarge {
        /// The tensor.
        tensor: String,
    },
    /// candle failed.
    #[error("tensor `{tensor}` cannot be converted: {cause}")]
    Computing {
        /// The tensor.
        tensor: String,
        /// Its own words.
        cause: candle_core::Error,
    },
    /// The result is no model that works.
    #[error("the result does not work and was removed: {0}")]
    Check(String),
    /// Somebody wanted it to stop.
    #[error("interrupted; nothing is left behind")]
    Interrupted,
}

/// Told what happens; answers whether to go on.
pub type Told<'a> = &'a (dyn Fn(Event<'_>) -> bool + Sync);

/// Makes the file.
///
/// # Errors
/// [`QuantizeError`]; nothing is left behind then.
pub fn run(order: &Order, told: Told<'_>) -> Result<Report, QuantizeError> {
    let begun = Instant::now();
    check_places(order)?;
    let source = Source::open(&order.input)?;
    let plan = plan(&source, order)?;
    let mut header = source.metadata.clone();
    header.u32("general.file_type", order.target.file_type);
    header.u32("general.quantization_version", 2);
    let wrong = |reason| QuantizeError::Gguf {
        path: order.input.clone(),
        reason,
    };
    for (input, choice) in source.tensors.iter().zip(&plan.kinds) {
        header.tensor(&input.name, *choice, &input.dimensions).map_err(wrong)?;
    }
    let part = Part::of(&order.output);
    write(&part, &source, &header, told)?;
    if !told(Event::Checking) {
        return Err(QuantizeError::Interrupted);
    }
    check::check(&part.0, told)?;
    let output_bytes = std::fs::metadata(&part.0).map_err(io(&part.0))?.len();
    std::fs::rename(&part.0, &order.output).map_err(io(&order.output))?;
    let mut types: BTreeMap<&'static str, TypeShare> = BTreeMap::new();
    for tensor in header.tensors() {
        let share = types.entry(tensor.kind.name).or_default();
        share.tensors += 1;
        share.bytes += tensor.bytes;
    }
    Ok(Report {
        output: order.output.clone(),
        r#type: order.target.name,
        input_bytes: source.tensors.iter().map(|input| input.bytes as u64).sum(),
        output_bytes,
        types,
        fallbacks: plan.fallbacks,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn check_places(order: &Order) -> Result<(), QuantizeError> {
    if let (Ok(input), Ok(output)) = (order.input.canonicalize(), order.output.canonicalize())
        && input == output
    {
        return Err(QuantizeError::Same(order.output.clone()));
    }
    if order.output.exists() && !order.force {
        return Err(QuantizeError::Exists(order.output.clone()));
    }
    if order.output.is_dir() {
        let cause = std::io::Error::from(std::io::ErrorKind::IsADirectory);
        return Err(io(&order.output)(cause));
    }
    Ok(())
}

struct Plan {
    /// A type for each tensor.
    kinds: Vec<TensorKind>,
    fallbacks: Vec<Fallback>,
}

fn plan(source: &Source, order: &Order) -> Result<Plan, QuantizeError> {
    let (mut kinds, mut fallbacks) = (Vec::new(), Vec::<Fallback>::new());
    let mut again: Option<(u64, &'static str)> = None;
    for input in &source.tensors {
        let row = input.dimensions.first().copied().unwrap_or(1);
        if !mix::may_be_quantised(&input.name, &input.dimensions) {
            // Vectors are small and dear: in full precision, unless a file has them in few bits already.
            let widened = mix::is_float(input.kind) && (input.dimensions.len() == 1 || source.converted);
            kinds.push(if widened { TensorKind::F32 } else { input.kind });
            continue;
        }
        let choice = mix::choose(order.target, &source.model, &input.name, row);
        if choice.kind != input.kind && !mix::is_float(input.kind) {
            again = Some((again.map_or(1, |(count, _)| count + 1), input.kind.name));
        }
        if let Some(wanted) = choice.instead_of {
            let same = |f: &&mut Fallback| f.wanted == wanted.name && f.used == choice.kind.name && f.row == row;
            match fallbacks.iter_mut().find(same) {
                Some(fallback) => fallback.tensors += 1,
                None => fallbacks.push(Fallback {
                    wanted: wanted.name,
                    used: choice.kind.name,
                    row,
                    tensors: 1,
                }),
            }
        }
        kinds.push(choice.kind);
    }
    match again {
        Some((count, kind)) if !order.allow_requantize => Err(QuantizeError::Requantize {
            count,
            kind,
            target: order.target.name,
        }),
        _ => Ok(Plan { kinds, fallbacks }),
    }
}

fn write(part: &Part, source: &Source, header: &HeaderWriter, told: Told<'_>) -> Result<(), QuantizeError> {
    let failed = |cause| io(&part.0)(cause);
    let file = File::create(&part.0).map_err(failed)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(&header.finish()).map_err(failed)?;
    let total = header.tensors().iter().map(|tensor| tensor.bytes).sum();
    let mut done = 0;
    for (input, tensor) in source.tensors.iter().zip(header.tensors()) {
        let mut written = 0;
        let mut put = |bytes: &[u8]| {
            file.write_all(bytes).map_err(failed)?;
            written += bytes.len() as u64;
            done += bytes.len() as u64;
            let name = tensor.name.as_str();
            match told(Event::Tensor { name, done, total }) {
                true => Ok(()),
                false => Err(QuantizeError::Interrupted),
            }
        };
        convert(source, input, tensor.kind, &mut put)?;
        if written != tensor.bytes {
            let reason = format!(
                "tensor `{}` became {written} bytes instead of {}",
                tensor.name, tensor.bytes
            );
            return Err(QuantizeError::Check(reason));
        }
        let padding = written.next_multiple_of(HeaderWriter::ALIGNMENT) - written;
        file.write_all(&vec![0; padding as usize]).map_err(failed)?;
    }
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

/// Hands over a tensor's bytes in its new type, in order.
fn convert(
    source: &Source,
    input: &Input,
    kind: TensorKind,
    put: &mut dyn FnMut(&[u8]) -> Result<(), QuantizeError>,
) -> Result<(), QuantizeError> {
    if kind == input.kind && input.interleave.is_none() {
        return source.data(input).chunks(COPY).try_for_each(put);
    }
    let width = input.row();
    let rows = input.rows();
    let each = (PIECE / width.max(1)).max(1);
    let starts: Vec<usize> = (0..rows).step_by(each).collect();
    for starts in starts.chunks(2 * rayon::current_num_threads()) {
        let pieces: Vec<Result<Vec<u8>, QuantizeError>> = starts
            .par_iter()
            .map(|&first| {
                let bytes = source.take_rows(input, first, each.min(rows - first));
                let numbers = numbers::decode(&input.name, input.kind, &bytes, width)?;
                numbers::encode(&input.name, kind, numbers, width)
            })
            .collect();
        for piece in pieces {
            put(&piece?)?;
        }
    }
    Ok(())
}

/// The unfinished file; gone when this is dropped, unless it was renamed.
struct Part(PathBuf);

impl Part {
    fn of(output: &Path) -> Self {
        let mut name = output.as_os_str().to_owned();
        name.push(".part");
        Self(name.into())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> QuantizeError + '_ {
    move |cause| QuantizeError::Io {
        path: path.to_owned(),
        cause,
    }
}
