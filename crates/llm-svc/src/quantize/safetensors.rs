//! A Hugging Face folder as GGUF's metadata and tensors: what llama.cpp's `convert_hf_to_gguf.py` makes of it, for the
//! architectures llama and qwen2.

use std::collections::{BTreeSet, HashSet};
use std::path::{Component, Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use solo_models::gguf::{HeaderWriter, TensorKind};

use super::config::{Config, MAX_CONFIG, Scaling, json, wrong};
use super::source::{self, Data, Input, Source};
use super::{QuantizeError, tokens};

pub(super) fn open(folder: &Path) -> Result<Source, QuantizeError> {
    let config = Config::read(folder)?;
    let mut maps = Vec::new();
    let mut tensors = Vec::new();
    let mut seen = HashSet::new();
    for path in shards(folder)? {
        let map = source::map(&path)?;
        for tensor in shard(&path, &map, maps.len(), &config)? {
            if !seen.insert(tensor.name.clone()) {
                return Err(wrong(&path, format!("tensor `{}` occurs twice", tensor.name)));
            }
            tensors.push(tensor);
        }
        maps.push(map);
    }
    if let Scaling::Llama3(factors) = &config.scaling {
        tensors.push(Input {
            name: "rope_freqs.weight".into(),
            kind: TensorKind::F32,
            dimensions: vec![factors.len() as u64],
            bytes: factors.len() * 4,
            data: Data::Own(factors.iter().flat_map(|factor| factor.to_le_bytes()).collect()),
            interleave: None,
        });
    }
    tensors.sort_by_key(|tensor| place(&tensor.name));
    let embedding = tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
    let vocabulary = embedding.and_then(|tensor| tensor.dimensions.get(1)).copied();
    let vocabulary = vocabulary.ok_or_else(|| wrong(folder, "it has no model.embed_tokens.weight".into()))?;
    let mut metadata = HeaderWriter::new();
    config.describe(folder, &mut metadata);
    tokens::describe(folder, vocabulary, &mut metadata)?;
    let per_head = config.heads / config.kv_heads;
    let model = source::model(&tensors, config.architecture, config.blocks.into(), per_head.into(), 0);
    Ok(Source {
        metadata,
        tensors,
        model,
        converted: true,
        maps,
    })
}

/// The files with weights: those that the index names, or the only one.
fn shards(folder: &Path) -> Result<Vec<PathBuf>, QuantizeError> {
    let index = folder.join("model.safetensors.index.json");
    if !index.exists() {
        let single = folder.join("model.safetensors");
        return match single.is_file() {
            true => Ok(vec![single]),
            false => Err(wrong(
                folder,
                "it has neither model.safetensors nor model.safetensors.index.json".into(),
            )),
        };
    }
    let Some(Value::Object(files)) = json(&index, MAX_CONFIG)?.remove("weight_map") else {
        return Err(wrong(&index, "it has no \"weight_map\"".into()));
    };
    let mut names = BTreeSet::new();
    for name in files.values() {
        let name = name.as_str().unwrap_or_default();
        let mut parts = Path::new(name).components();
        // A file of this folder, not of another one.
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(wrong(
                &index,
                format!("\"{}\" is no file of this folder", name.escape_debug()),
            ));
        }
        names.insert(folder.join(name));
    }
    Ok(names.into_iter().collect())
}

fn shard(path: &Path, map: &Mmap, number: usize, config: &Config) -> Result<Vec<Input>, QuantizeError> {
    let read = SafeTensors::deserialize(map).map_err(|error| wrong(path, format!("it is damaged: {error}")))?;
    let mut tensors = Vec::new();
    for (name, view) in read.iter() {
        // Left over from training, and computed anew by everybody.
        if name.ends_with(".rotary_emb.inv_freq") || (config.tied && name == "lm_head.weight") {
            continue;
        }
        let renamed = rename(name).ok_or_else(|| {
            wrong(
                path,
                format!(
                    "tensor `{}` belongs to no {} model",
                    name.escape_debug(),
                    config.architecture
                ),
            )
        })?;
        let kind = match view.dtype() {
            Dtype::F32 => TensorKind::F32,
            Dtype::F16 => TensorKind::from_name("F16").unwrap_or(TensorKind::F32),
            Dtype::BF16 => TensorKind::from_name("BF16").unwrap_or(TensorKind::F32),
            other => {
                let reason = format!("tensor `{name}` is stored as {other:?}; f32, f16 and bf16 are read");
                return Err(wrong(path, reason));
            }
        };
        let shape = view.shape();
        if shape.is_empty() || shape.len() > 2 || shape.contains(&0) {
            return Err(wrong(path, format!("tensor `{name}` has shape {shape:?}")));
        }
        let rotated = match renamed.rsplit('.').nth(1) {
            Some("attn_q") => Some(config.heads),
            Some("attn_k") => Some(config.kv_heads),
            _ => None,
        };
        let interleave = rotated
            .filter(|_| config.architecture == "llama")
            .map(|heads| heads as usize);
        if let Some(heads) = interleave
            && shape[0] != heads * config.head_width as usize
        {
            let reason = format!(
                "tensor `{name}` has {} rows for {heads} heads of {}",
                shape[0], config.head_width
            );
            return Err(wrong(path, reason));
        }
        tensors.push(Input {
            name: renamed,
            kind,
            dimensions: shape.iter().rev().map(|&size| size as u64).collect(),
            bytes: view.data().len(),
            data: Data::Mapped {
                map: number,
                // The view is a piece of the map.
                start: view.data().as_ptr().addr() - map.as_ptr().addr(),
            },
            interleave,
        });
    }
    Ok(tensors)
}

/// GGUF's name of a tensor.
fn rename(name: &str) -> Option<String> {
    match name {
        "model.embed_tokens.weight" => return Some("token_embd.weight".into()),
        "model.norm.weight" => return Some("output_norm.weight".into()),
        "lm_head.weight" => return Some("output.weight".into()),
        _ => {}
    }
    let (block, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let block: u32 = block.parse().ok()?;
    let (module, suffix) = rest.rsplit_once('.')?;
    let module = match module {
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        _ => return None,
    };
    matches!(suffix, "weight" | "bias").then(|| format!("blk.{block}.{module}.{suffix}"))
}

/// Where a tensor comes in the file: input, blocks in order, output.
fn place(name: &str) -> (u8, u64, String) {
    match super::mix::block_of(name) {
        Some(block) => (1, block, name.to_owned()),
        None if name.starts_with("output") => (2, 0, name.to_owned()),
        None => (0, 0, name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ggufs() {
        assert_eq!(
            rename("model.layers.11.self_attn.q_proj.bias").as_deref(),
            Some("blk.11.attn_q.bias")
        );
        assert_eq!(
            rename("model.layers.0.input_layernorm.weight").as_deref(),
            Some("blk.0.attn_norm.weight")
        );
        assert_eq!(rename("model.layers.0.block_sparse_moe.gate.weight"), None);
        assert_eq!(rename("transformer.wte.weight"), None);
    }
}
