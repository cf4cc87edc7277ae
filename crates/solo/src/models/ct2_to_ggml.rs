//! Whisper weights of CTranslate2 (float16) as whisper.cpp's ggml file, byte for byte reproducible.
//!
//! The package registries hold Whisper only in CTranslate2's format. The tensors are the same; what differs is their
//! names, the fused projections (queries, keys and values in one matrix, which whisper.cpp keeps apart, and whose keys
//! have no bias), and that ggml carries the mel filter bank and the vocabulary along.
//!
//! The layout written here is that of `convert-pt-to-ggml.py` in whisper.cpp: a magic number, eleven hyperparameters,
//! the filter bank, the first 50,257 tokens, then each tensor with its dimensions reversed. Vectors, convolution biases
//! and position tables are f32, all other tensors f16. The input is not trusted: whatever it holds, the outcome is a
//! file or an error.

mod reader;
mod vocabulary;

use std::io::{self, Write};

use half::f16;

use reader::{Element, Tensor, Weights};
use vocabulary::TOKENS;

/// "ggml" as whisper.cpp reads it.
const MAGIC: u32 = 0x6767_6d6c;
/// Of the audio that Whisper was trained on.
const SAMPLE_RATE_HZ: usize = 16_000;
/// The window of its Fourier transform, in samples.
const WINDOW: usize = 400;

/// Why weights cannot be converted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConversionError {
    /// The file is not laid out as CTranslate2 writes it.
    #[error("not a CTranslate2 model: {what} at byte {offset}")]
    Malformed { what: &'static str, offset: usize },
    /// It is a model of another kind.
    #[error("not a Whisper model of CTranslate2: it has no \"{0}\"")]
    MissingTensor(String),
    /// A tensor is not shaped as Whisper's are.
    #[error("not a Whisper model of CTranslate2: \"{name}\" has the shape {shape:?}, {expected} is wanted")]
    Shape {
        name: String,
        shape: Vec<usize>,
        expected: &'static str,
    },
    /// It is quantised.
    #[error("\"{0}\" is quantised: only float16 and float32 weights can be converted")]
    Quantised(String),
    /// The keys have a bias, for which whisper.cpp has no room.
    #[error("\"{0}\" gives the keys a bias, which whisper.cpp cannot hold")]
    KeyBias(String),
    /// The vocabulary is not that of the model.
    #[error("the vocabulary has {found} tokens, at least {TOKENS} are wanted")]
    Vocabulary { found: usize },
    /// The result cannot be written.
    #[error("the converted model cannot be written")]
    Write(#[from] io::Error),
}

/// Converts a `model.bin` of CTranslate2 and its `vocabulary.txt` (one token a line), writing whisper.cpp's file to
/// `out`.
pub(crate) fn convert(model: &[u8], vocabulary: &str, out: &mut impl Write) -> Result<(), ConversionError> {
    let weights = reader::read(model)?;
    let tensors = whisper_tensors(&weights)?;
    let tokens = vocabulary::tokens(vocabulary)?;

    out.write_all(&MAGIC.to_le_bytes())?;
    for value in hyperparameters(&weights)? {
        out.write_all(&value.to_le_bytes())?;
    }
    let mels = weights.get("encoder/conv1/weight")?.dim(1, "three dimensions")?;
    let filters = solo_audio::mel::filter_bank(mels, SAMPLE_RATE_HZ, WINDOW);
    write_int(out, mels)?;
    write_int(out, WINDOW / 2 + 1)?;
    for value in &filters {
        out.write_all(&value.to_le_bytes())?;
    }
    write_int(out, TOKENS)?;
    for token in tokens {
        write_int(out, token.len())?;
        out.write_all(&token)?;
    }
    for tensor in &tensors {
        tensor.write(out)?;
    }
    Ok(())
}

/// whisper.cpp's hyperparameters in its order; the last one says "f16".
fn hyperparameters(weights: &Weights) -> Result<[i32; 11], ConversionError> {
    let embeddings = weights.get("decoder/embeddings/weight")?;
    let conv1 = weights.get("encoder/conv1/weight")?;
    let audio_context = weights
        .get("encoder/position_encodings/encodings")?
        .dim(0, "two dimensions")?;
    let text_context = weights
        .get("decoder/position_encodings/encodings")?
        .dim(0, "two dimensions")?;
    let sizes = [
        embeddings.dim(0, "two dimensions")?,
        audio_context,
        conv1.dim(0, "three dimensions")?,
        weights.get("encoder/num_heads")?.scalar()?,
        layers(weights, "encoder"),
        text_context,
        embeddings.dim(1, "two dimensions")?,
        weights.get("decoder/num_heads")?.scalar()?,
        layers(weights, "decoder"),
        conv1.dim(1, "three dimensions")?,
        1,
    ];
    let mut values = [0; 11];
    for (value, size) in values.iter_mut().zip(sizes) {
        // Whisper's largest is a vocabulary of 51,866; a filter bank of a hostile size must not be computed.
        *value = i32::try_from(size)
            .ok()
            .filter(|size| (1..=1 << 20).contains(size))
            .ok_or(ConversionError::Malformed {
                what: "a hyperparameter that no Whisper model has",
                offset: 0,
            })?;
    }
    Ok(values)
}

/// How many layers a side has: one more than the highest number in a name. A number that is too high for the layers
/// that are there ends in a missing tensor.
fn layers(weights: &Weights, side: &str) -> usize {
    let number = |name: &str| {
        let rest = name.strip_prefix(side)?.strip_prefix("/layer_")?;
        rest.split('/').next()?.parse::<usize>().ok()
    };
    weights
        .names()
        .filter_map(number)
        .max()
        .map_or(0, |highest| highest.saturating_add(1))
}

/// A tensor as it is written: a slice of the input under whisper.cpp's name.
struct Output<'a> {
    name: String,
    shape: Vec<usize>,
    data: Tensor<'a>,
    single: bool,
}

impl<'a> Output<'a> {
    fn new(name: String, data: Tensor<'a>) -> Self {
        let single = data.shape.len() < 2;
        Self {
            name,
            shape: data.shape.clone(),
            data,
            single,
        }
    }

    /// As f32 although it is a matrix.
    fn single(mut self) -> Self {
        self.single = true;
        self
    }

    fn write(&self, out: &mut impl Write) -> Result<(), ConversionError> {
        write_int(out, self.shape.len())?;
        write_int(out, self.name.len())?;
        write_int(out, usize::from(!self.single))?;
        for &size in self.shape.iter().rev() {
            write_int(out, size)?;
        }
        out.write_all(self.name.as_bytes())?;
        match (self.data.element, self.single) {
            (Element::F16, false) | (Element::F32, true) => out.write_all(self.data.bytes)?,
            (Element::F16, true) => {
                let wide: Vec<u8> = halves(self.data.bytes)
                    .flat_map(|value| value.to_f32().to_le_bytes())
                    .collect();
                out.write_all(&wide)?;
            }
            (Element::F32, false) => {
                let narrow = singles(self.data.bytes).flat_map(|value| f16::from_f32(value).to_le_bytes());
                out.write_all(&narrow.collect::<Vec<u8>>())?;
            }
            (Element::Int(_), _) => return Err(ConversionError::Quantised(self.name.clone())),
        }
        Ok(())
    }
}

/// All tensors in whisper.cpp's order.
fn whisper_tensors<'a>(weights: &'a Weights<'a>) -> Result<Vec<Output<'a>>, ConversionError> {
    let mut outputs = Vec::new();
    let one = |from: &str, to: String| Ok::<_, ConversionError>(Output::new(to, weights.get(from)?.floats()?));
    for conv in ["conv1", "conv2"] {
        outputs.push(one(
            &format!("encoder/{conv}/weight"),
            format!("encoder.{conv}.weight"),
        )?);
        let mut bias = one(&format!("encoder/{conv}/bias"), format!("encoder.{conv}.bias"))?.single();
        // A column: whisper.cpp adds it to each frame.
        bias.shape.push(1);
        outputs.push(bias);
    }
    for side in ["encoder", "decoder"] {
        let from = format!("{side}/position_encodings/encodings");
        outputs.push(one(&from, format!("{side}.positional_embedding"))?.single());
    }
    outputs.push(one(
        "decoder/embeddings/weight",
        "decoder.token_embedding.weight".to_owned(),
    )?);
    for layer in 0..layers(weights, "encoder") {
        block(weights, "encoder", layer, &mut outputs)?;
    }
    norm(weights, "encoder/layer_norm", "encoder.ln_post", &mut outputs)?;
    for layer in 0..layers(weights, "decoder") {
        block(weights, "decoder", layer, &mut outputs)?;
    }
    norm(weights, "decoder/layer_norm", "decoder.ln", &mut outputs)?;
    Ok(outputs)
}

fn block<'a>(
    weights: &'a Weights<'a>,
    side: &str,
    layer: usize,
    outputs: &mut Vec<Output<'a>>,
) -> Result<(), ConversionError> {
    let from = format!("{side}/layer_{layer}");
    let to = format!("{side}.blocks.{layer}");

    norm(
        weights,
        &format!("{from}/self_attention/layer_norm"),
        &format!("{to}.attn_ln"),
        outputs,
    )?;
    let fused = split(weights, &format!("{from}/self_attention/linear_0"), 3)?;
    attention(
        weights,
        &fused,
        &format!("{from}/self_attention/linear_1"),
        &format!("{to}.attn"),
        outputs,
    )?;

    if side == "decoder" {
        norm(
            weights,
            &format!("{from}/attention/layer_norm"),
            &format!("{to}.cross_attn_ln"),
            outputs,
        )?;
        // Queries come from the text, keys and values from the audio: two matrices instead of one.
        let mut fused = split(weights, &format!("{from}/attention/linear_0"), 1)?;
        fused.extend(split(weights, &format!("{from}/attention/linear_1"), 2)?);
        attention(
            weights,
            &fused,
            &format!("{from}/attention/linear_2"),
            &format!("{to}.cross_attn"),
            outputs,
        )?;
    }

    norm(
        weights,
        &format!("{from}/ffn/layer_norm"),
        &format!("{to}.mlp_ln"),
        outputs,
    )?;
    linear(
        weights,
        &format!("{from}/ffn/linear_0"),
        &format!("{to}.mlp.0"),
        outputs,
    )?;
    linear(
        weights,
        &format!("{from}/ffn/linear_1"),
        &format!("{to}.mlp.2"),
        outputs,
    )
}

/// Query (with bias), key (without), value (with), and the projection of the result.
fn attention<'a>(
    weights: &'a Weights<'a>,
    fused: &[Projection<'a>],
    result: &str,
    to: &str,
    outputs: &mut Vec<Output<'a>>,
) -> Result<(), ConversionError> {
    for (projection, name) in fused.iter().zip(["query", "key", "value"]) {
        outputs.push(Output::new(format!("{to}.{name}.weight"), projection.weight.clone()));
        if name != "key" {
            outputs.push(Output::new(format!("{to}.{name}.bias"), projection.bias.clone()));
        } else if !projection.bias.is_zero() {
            return Err(ConversionError::KeyBias(projection.from.clone()));
        }
    }
    linear(weights, result, &format!("{to}.out"), outputs)
}

struct Projection<'a> {
    from: String,
    weight: Tensor<'a>,
    bias: Tensor<'a>,
}

/// Cuts a fused projection into its `parts`, along the rows.
fn split<'a>(weights: &'a Weights<'a>, from: &str, parts: usize) -> Result<Vec<Projection<'a>>, ConversionError> {
    let weight = weights.get(&format!("{from}/weight"))?.floats()?.split(parts)?;
    let bias = weights.get(&format!("{from}/bias"))?.floats()?.split(parts)?;
    Ok(weight
        .into_iter()
        .zip(bias)
        .map(|(weight, bias)| Projection {
            from: from.to_owned(),
            weight,
            bias,
        })
        .collect())
}

fn norm<'a>(weights: &'a Weights<'a>, from: &str, to: &str, out: &mut Vec<Output<'a>>) -> Result<(), ConversionError> {
    out.push(Output::new(
        format!("{to}.weight"),
        weights.get(&format!("{from}/gamma"))?.floats()?,
    ));
    out.push(Output::new(
        format!("{to}.bias"),
        weights.get(&format!("{from}/beta"))?.floats()?,
    ));
    Ok(())
}

fn linear<'a>(
    weights: &'a Weights<'a>,
    from: &str,
    to: &str,
    out: &mut Vec<Output<'a>>,
) -> Result<(), ConversionError> {
    out.push(Output::new(
        format!("{to}.weight"),
        weights.get(&format!("{from}/weight"))?.floats()?,
    ));
    out.push(Output::new(
        format!("{to}.bias"),
        weights.get(&format!("{from}/bias"))?.floats()?,
    ));
    Ok(())
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = f16> + '_ {
    bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]))
}

fn singles(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

/// ggml's integers are signed, 32 bits, little-endian.
fn write_int(out: &mut impl Write, value: usize) -> Result<(), ConversionError> {
    let value = i32::try_from(value).map_err(|_| ConversionError::Malformed {
        what: "a size beyond 32 bits",
        offset: 0,
    })?;
    Ok(out.write_all(&value.to_le_bytes())?)
}

#[cfg(test)]
mod tests;
