//! A model's card: what is shown, as programs read it.

use std::path::{Path, PathBuf};

use serde::Serialize;
use solo_models::fit::{Budget, Demand, KvType, Needs, Outcome, Plan};
use solo_models::gguf::{Facts, Header, TensorInfo};

use super::machine::Machine;

/// Tokens computed at once that plans reckon with.
const BATCH: u64 = 512;

/// What `solo models show --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Card {
    pub(super) path: PathBuf,
    pub(super) file_bytes: u64,
    pub(super) name: Option<String>,
    pub(super) architecture: String,
    pub(super) parameters: u64,
    /// What most of its weights are stored as.
    pub(super) quantization: String,
    /// Every storage type, most bytes first.
    pub(super) types: Vec<TypeShare>,
    pub(super) trained_context: u32,
    pub(super) rope: Rope,
    pub(super) layers: u32,
    pub(super) width: u32,
    pub(super) feed_forward: Option<u64>,
    pub(super) experts: Option<u64>,
    pub(super) attention: Option<Heads>,
    pub(super) vocabulary: u32,
    pub(super) tokenizer: TokenizerKind,
    /// None: it has no template.
    pub(super) template: Option<Template>,
    pub(super) memory: Memory,
    pub(super) machine: Machine,
    /// The fit for this machine, with the processor alone and, where there are GPUs, with them.
    pub(super) fit: Vec<Fit>,
}

/// How much of a file is stored in one way.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct TypeShare {
    pub(super) name: &'static str,
    pub(super) tensors: usize,
    pub(super) bytes: u64,
}

/// How positions are encoded.
#[derive(Debug, Serialize)]
pub(super) struct Rope {
    pub(super) base: Option<f64>,
    /// "none", "linear", "yarn", "longrope", or "llama3" where the file brings its factors as a tensor.
    pub(super) scaling: String,
    pub(super) factor: Option<f64>,
    pub(super) original_context: Option<u64>,
}

/// Attention heads; of the widest layer where layers differ.
#[derive(Debug, Serialize)]
pub(super) struct Heads {
    pub(super) queries: u32,
    pub(super) keys_and_values: u32,
    /// Numbers in a key.
    pub(super) width: u32,
}

/// Which tokenizer the file asks for.
#[derive(Debug, Serialize)]
pub(super) struct TokenizerKind {
    pub(super) model: String,
    pub(super) pre: Option<String>,
}

/// What the chat template is.
#[derive(Debug, Serialize)]
pub(super) struct Template {
    pub(super) bytes: usize,
    /// True when it knows tools.
    pub(super) tools: bool,
    /// Variables that it takes from outside; empty when it is not understood.
    pub(super) variables: Vec<String>,
    /// Why it is not understood.
    pub(super) fault: Option<String>,
}

/// What it takes in memory, in bytes.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) weights_bytes: u64,
    pub(super) kv_bytes_per_1k_tokens_f16: u64,
    pub(super) kv_bytes_per_1k_tokens_q8_0: u64,
    /// Buffers of a computation, estimated.
    pub(super) compute_bytes: u64,
}

/// Whether it fits.
#[derive(Debug, Serialize)]
pub(super) struct Fit {
    /// "processor" or "gpus".
    pub(super) with: &'static str,
    pub(super) context: u32,
    /// "whole", "partly" or "no".
    pub(super) fits: &'static str,
    /// Layers on GPUs, and all layers.
    pub(super) gpu_layers: u32,
    pub(super) all_layers: u32,
    pub(super) ram_bytes: Option<u64>,
    pub(super) gpu_bytes: Vec<u64>,
    /// The largest context that would fit, where this one does not.
    pub(super) largest_context: Option<u64>,
    /// The same as a sentence.
    pub(super) text: String,
}

impl Card {
    pub(super) fn of(path: &Path, header: &Header, facts: &Facts, context: u32, machine: &Machine) -> Self {
        let of_architecture = |key: &str| format!("{}.{key}", facts.architecture);
        let largest = |key: &str| header.get(&of_architecture(key))?.uints()?.into_iter().max();
        let demand = demand(context, KvType::F16);
        let needs = Needs::of(header, facts, &demand);
        let per_1k = |kv: KvType| kv.bytes(facts.kv_numbers_per_token()).saturating_mul(1000);
        let mut budgets = vec![("processor", machine.processor())];
        budgets.extend(machine.with_gpus().map(|budget| ("gpus", budget)));
        Self {
            path: path.to_owned(),
            file_bytes: header.file_bytes,
            name: header.text("general.name").map(str::to_owned),
            architecture: facts.architecture.clone(),
            parameters: facts.parameters,
            quantization: facts.quantization.clone(),
            types: types(&header.tensors),
            trained_context: facts.trained_context,
            rope: Rope {
                base: header.float(&of_architecture("rope.freq_base")),
                scaling: scaling(header, &of_architecture("rope.scaling.type")),
                factor: header.float(&of_architecture("rope.scaling.factor")),
                original_context: header.uint(&of_architecture("rope.scaling.original_context_length")),
            },
            layers: facts.blocks,
            width: facts.embedding,
            feed_forward: largest("feed_forward_length"),
            experts: largest("expert_count").filter(|count| *count > 0),
            attention: facts.attention.map(|attention| Heads {
                queries: attention.heads,
                keys_and_values: attention.kv_heads,
                width: attention.key_length,
            }),
            vocabulary: facts.vocabulary,
            tokenizer: TokenizerKind {
                model: header.text("tokenizer.ggml.model").unwrap_or_default().to_owned(),
                pre: header.text("tokenizer.ggml.pre").map(str::to_owned),
            },
            template: facts.chat_template.as_deref().map(Template::of),
            memory: Memory {
                weights_bytes: needs.weights,
                kv_bytes_per_1k_tokens_f16: per_1k(KvType::F16),
                kv_bytes_per_1k_tokens_q8_0: per_1k(KvType::Q8_0),
                compute_bytes: needs.compute,
            },
            machine: machine.clone(),
            fit: budgets
                .into_iter()
                .map(|(with, budget)| Fit::of(with, header, facts, &budget, context))
                .collect(),
        }
    }
}

fn demand(context: u32, kv: KvType) -> Demand {
    Demand {
        context: context.into(),
        kv,
        batch: BATCH,
    }
}

fn scaling(header: &Header, key: &str) -> String {
    match header.text(key) {
        Some(scaling) if scaling != "none" => scaling.to_owned(),
        _ if header.tensor("rope_freqs.weight").is_some() => "llama3".into(),
        _ => "none".into(),
    }
}

/// Tensors and bytes of each storage type, most bytes first.
pub(super) fn types(tensors: &[TensorInfo]) -> Vec<TypeShare> {
    let mut shares: Vec<TypeShare> = Vec::new();
    for tensor in tensors {
        let name = tensor.kind.name;
        let share = match shares.iter().position(|share| share.name == name) {
            Some(index) => &mut shares[index],
            None => {
                shares.push(TypeShare {
                    name,
                    tensors: 0,
                    bytes: 0,
                });
                // Just pushed.
                let last = shares.len() - 1;
                &mut shares[last]
            }
        };
        share.tensors += 1;
        share.bytes = share.bytes.saturating_add(tensor.bytes);
    }
    shares.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    shares
}

impl Template {
    fn of(text: &str) -> Self {
        let mut template = Self {
            bytes: text.len(),
            tools: false,
            variables: Vec::new(),
            fault: None,
        };
        match minijinja::Environment::new().template_from_str(text) {
            Ok(parsed) => {
                template.variables = parsed.undeclared_variables(false).into_iter().collect();
                template.variables.sort();
                template.tools = template.variables.iter().any(|name| name == "tools");
            }
            Err(error) => template.fault = Some(error.to_string()),
        }
        template
    }
}

impl Fit {
    fn of(with: &'static str, header: &Header, facts: &Facts, budget: &Budget, context: u32) -> Self {
        let plan = Plan::of(header, facts, budget, &demand(context, KvType::F16));
        let (fits, largest_context) = match &plan.outcome {
            Outcome::Whole(_) => ("whole", None),
            Outcome::Partly(_) => ("partly", None),
            Outcome::DoesNotFit(shortage) => ("no", shortage.largest_context),
        };
        let placement = plan.placement();
        Self {
            with,
            context,
            fits,
            gpu_layers: placement.map_or(0, |placement| placement.gpu_layers()),
            all_layers: facts.blocks + 1,
            ram_bytes: placement.map(|placement| placement.ram),
            gpu_bytes: placement.map_or_else(Vec::new, |placement| {
                placement.gpus.iter().map(|share| share.bytes).collect()
            }),
            largest_context,
            text: plan.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_names_what_it_takes() {
        let template = Template::of("{% for m in messages %}{{ m.role }}{% endfor %}{% if tools %}x{% endif %}");
        assert_eq!(template.variables, ["messages", "tools"]);
        assert!(template.tools);
        let plain = Template::of("{{ bos_token }}{{ messages[0].content }}");
        assert_eq!(
            (plain.variables, plain.tools),
            (vec!["bos_token".to_owned(), "messages".to_owned()], false)
        );
        let broken = Template::of("{% for %}");
        assert!(broken.fault.is_some() && broken.variables.is_empty());
    }
}
