//! `config.json` of a Hugging Face folder: what of it GGUF says, too.

use std::path::Path;

use serde_json::{Map, Value};
use solo_models::gguf::HeaderWriter;

use super::{QuantizeError, io};

/// More than any configuration has, in bytes.
pub(super) const MAX_CONFIG: u64 = 16 << 20;
/// More than any tokenizer has, in bytes.
const MAX_TOKENIZER: u64 = 256 << 20;

/// What `config.json` says.
pub(super) struct Config {
    pub(super) architecture: &'static str,
    pub(super) width: u32,
    pub(super) inner: u32,
    pub(super) blocks: u32,
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) head_width: u32,
    pub(super) context: u32,
    pub(super) epsilon: f32,
    pub(super) rope_base: f32,
    pub(super) scaling: Scaling,
    pub(super) tied: bool,
}

/// How RoPE is stretched.
pub(super) enum Scaling {
    None,
    /// "linear" or "yarn".
    Named {
        name: &'static str,
        factor: f32,
        original: Option<u32>,
    },
    /// By factors that depend on the frequency, which travel as a tensor.
    Llama3(Vec<f32>),
}

impl Config {
    pub(super) fn read(folder: &Path) -> Result<Self, QuantizeError> {
        let path = folder.join("config.json");
        let values = json(&path, MAX_CONFIG)?;
        let fields = Fields {
            path: &path,
            values: &values,
        };
        let named = values
            .get("architectures")
            .and_then(|list| list.get(0))
            .and_then(Value::as_str);
        let architecture = match named.unwrap_or_default() {
            "LlamaForCausalLM" => "llama",
            "Qwen2ForCausalLM" => "qwen2",
            other => {
                let reason = format!(
                    "its architecture is `{}`; LlamaForCausalLM and Qwen2ForCausalLM are converted here, llama.cpp's \
                     convert_hf_to_gguf.py knows more",
                    other.escape_debug()
                );
                return Err(wrong(&path, reason));
            }
        };
        if values
            .get("quantization_config")
            .is_some_and(|config| !config.is_null())
        {
            return Err(wrong(
                &path,
                "its weights are quantised already: take the full-precision model".into(),
            ));
        }
        let (width, heads) = (
            fields.number("hidden_size", 1 << 20)?,
            fields.number("num_attention_heads", 1 << 12)?,
        );
        let kv_heads = match values.get("num_key_value_heads") {
            None | Some(Value::Null) => heads,
            Some(_) => fields.number("num_key_value_heads", heads)?,
        };
        let head_width = match values.get("head_dim") {
            None | Some(Value::Null) => width / heads,
            Some(_) => fields.number("head_dim", 1 << 12)?,
        };
        if !heads.is_multiple_of(kv_heads) || head_width == 0 || !head_width.is_multiple_of(2) {
            let reason = format!("{heads} heads of {head_width}, {kv_heads} of keys and values, do not go together");
            return Err(wrong(&path, reason));
        }
        // Newer configurations keep all of RoPE's numbers in one place.
        let rope = ["rope_parameters", "rope_scaling"]
            .iter()
            .find_map(|key| values.get(*key)?.as_object());
        let rope_base = rope
            .and_then(|rope| rope.get("rope_theta"))
            .or_else(|| values.get("rope_theta"));
        let rope_base = rope_base.and_then(Value::as_f64).unwrap_or(10_000.0) as f32;
        let context = fields.number("max_position_embeddings", 1 << 30)?;
        let scaling = match rope {
            Some(rope) => scaling(&path, rope, head_width, rope_base)?,
            None => Scaling::None,
        };
        Ok(Self {
            architecture,
            width,
            inner: fields.number("intermediate_size", 1 << 24)?,
            blocks: fields.number("num_hidden_layers", 512)?,
            heads,
            kv_heads,
            head_width,
            context,
            epsilon: values.get("rms_norm_eps").and_then(Value::as_f64).unwrap_or(1e-6) as f32,
            rope_base,
            scaling,
            tied: values
                .get("tie_word_embeddings")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        })
    }

    pub(super) fn describe(&self, folder: &Path, header: &mut HeaderWriter) {
        header.text("general.architecture", self.architecture);
        header.text("general.type", "model");
        if let Some(name) = folder.canonicalize().ok().as_deref().and_then(Path::file_name) {
            header.text("general.name", &name.to_string_lossy());
        }
        let key = |name: &str| format!("{}.{name}", self.architecture);
        header.u32(&key("block_count"), self.blocks);
        header.u32(&key("context_length"), self.context);
        header.u32(&key("embedding_length"), self.width);
        header.u32(&key("feed_forward_length"), self.inner);
        header.u32(&key("attention.head_count"), self.heads);
        header.u32(&key("attention.head_count_kv"), self.kv_heads);
        header.f32(&key("attention.layer_norm_rms_epsilon"), self.epsilon);
        if self.head_width * self.heads != self.width {
            header.u32(&key("attention.key_length"), self.head_width);
            header.u32(&key("attention.value_length"), self.head_width);
        }
        header.u32(&key("rope.dimension_count"), self.head_width);
        header.f32(&key("rope.freq_base"), self.rope_base);
        if let Scaling::Named { name, factor, original } = self.scaling {
            header.text(&key("rope.scaling.type"), name);
            header.f32(&key("rope.scaling.factor"), factor);
            if let Some(original) = original {
                header.u32(&key("rope.scaling.original_context_length"), original);
            }
        }
    }
}

fn scaling(path: &Path, rope: &Map<String, Value>, head_width: u32, base: f32) -> Result<Scaling, QuantizeError> {
    let kind = ["rope_type", "type"]
        .iter()
        .find_map(|key| rope.get(*key)?.as_str())
        .unwrap_or("default");
    let positive = |key: &str| {
        let number = rope
            .get(key)
            .and_then(Value::as_f64)
            .filter(|number| number.is_finite() && *number > 0.0);
        number.ok_or_else(|| wrong(path, format!("RoPE's \"{key}\" is missing or no positive number")))
    };
    let original = "original_max_position_embeddings";
    match kind {
        "default" => Ok(Scaling::None),
        "linear" | "yarn" => Ok(Scaling::Named {
            name: if kind == "yarn" { "yarn" } else { "linear" },
            factor: positive("factor")? as f32,
            original: match rope.contains_key(original) {
                true => Some(positive(original)? as u32),
                false => None,
            },
        }),
        "llama3" => {
            let (factor, low, high) = (
                positive("factor")?,
                positive("low_freq_factor")?,
                positive("high_freq_factor")?,
            );
            let trained = positive(original)?;
            if low >= high {
                return Err(wrong(
                    path,
                    "RoPE's low_freq_factor is not below its high_freq_factor".into(),
                ));
            }
            Ok(Scaling::Llama3(llama3_factors(
                head_width,
                base.into(),
                [factor, low, high, trained],
            )))
        }
        other => Err(wrong(
            path,
            format!("RoPE scaling `{}` is not converted here", other.escape_debug()),
        )),
    }
}

/// What each frequency is divided by: nothing where it turns often within the trained context, `factor` where it turns
/// seldom, and something between in between (Llama 3.1's).
fn llama3_factors(head_width: u32, base: f64, [factor, low, high, trained]: [f64; 4]) -> Vec<f32> {
    let of_frequency = |index: u32| {
        let wave = std::f64::consts::TAU * base.powf(f64::from(2 * index) / f64::from(head_width));
        if wave < trained / high {
            return 1.0;
        }
        if wave > trained / low {
            return factor;
        }
        let smooth = (trained / wave - low) / (high - low);
        1.0 / ((1.0 - smooth) / factor + smooth)
    };
    (0..head_width / 2).map(|index| of_frequency(index) as f32).collect()
}

/// Reads numbers of a configuration.
struct Fields<'a> {
    path: &'a Path,
    values: &'a Map<String, Value>,
}

impl Fields<'_> {
    /// A number from 1 to `most`.
    fn number(&self, key: &str, most: u32) -> Result<u32, QuantizeError> {
        let number = self
            .values
            .get(key)
            .and_then(Value::as_u64)
            .and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| wrong(self.path, format!("\"{key}\" is missing or no number from 1 to {most}")))
    }
}

/// A JSON object out of a file of at most `limit` bytes.
pub(super) fn json(path: &Path, limit: u64) -> Result<Map<String, Value>, QuantizeError> {
    let bytes = std::fs::metadata(path).map_err(io(path))?.len();
    if bytes > limit {
        return Err(wrong(path, format!("it has {bytes} bytes; at most {limit} are read")));
    }
    let text = std::fs::read(path).map_err(io(path))?;
    match serde_json::from_slice(&text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(wrong(path, "it is no JSON object".into())),
        Err(error) => Err(wrong(path, format!("it is no JSON: {error}"))),
    }
}

/// `tokenizer.json`.
pub(super) fn tokenizer(path: &Path) -> Result<Map<String, Value>, QuantizeError> {
    json(path, MAX_TOKENIZER)
}

/// `tokenizer_config.json`; empty where there is none.
pub(super) fn optional(path: &Path) -> Result<Map<String, Value>, QuantizeError> {
    if path.exists() {
        json(path, MAX_CONFIG)
    } else {
        Ok(Map::new())
    }
}

pub(super) fn wrong(path: &Path, reason: String) -> QuantizeError {
    QuantizeError::Folder {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3.2's numbers: fast frequencies stay, slow ones are divided by the whole factor.
    #[test]
    fn llama3_stretches_slow_frequencies_only() {
        let factors = llama3_factors(64, 500_000.0, [32.0, 1.0, 4.0, 8192.0]);
        assert_eq!((factors.len(), factors[0], factors[31]), (32, 1.0, 32.0));
        assert!(factors.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(factors.iter().any(|factor| (1.5..30.0).contains(factor)));
    }
}
