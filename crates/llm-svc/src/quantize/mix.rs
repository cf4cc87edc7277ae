//! Which tensor is stored how: llama.cpp's own mixtures (`llama_tensor_get_type` in its llama-quant.cpp), so that a file
//! made here has the types that one made by `llama-quantize` has. Its exceptions for the Falcon architecture are left out.

use solo_models::gguf::TensorKind;

/// What a file is quantised to. Named as llama.cpp names them, in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Name, for instance "q4_k_m".
    pub name: &'static str,
    /// llama.cpp's `llama_ftype`, which the header carries.
    pub file_type: u32,
    /// How most matrices are stored.
    kind: &'static str,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("f32", 0, "F32"),
    target("f16", 1, "F16"),
    target("bf16", 32, "BF16"),
    target("q8_0", 7, "Q8_0"),
    target("q6_k", 18, "Q6_K"),
    target("q5_k_m", 17, "Q5_K"),
    target("q5_k_s", 16, "Q5_K"),
    target("q5_1", 9, "Q5_1"),
    target("q5_0", 8, "Q5_0"),
    target("q4_k_m", 15, "Q4_K"),
    target("q4_k_s", 14, "Q4_K"),
    target("q4_1", 3, "Q4_1"),
    target("q4_0", 2, "Q4_0"),
    target("q3_k_m", 12, "Q3_K"),
    target("q2_k", 10, "Q2_K"),
];

const fn target(name: &'static str, file_type: u32, kind: &'static str) -> Target {
    Target { name, file_type, kind }
}

impl Target {
    /// The target of that name, in either case.
    pub fn from_name(name: &str) -> Option<Self> {
        TARGETS
            .iter()
            .find(|target| target.name.eq_ignore_ascii_case(name))
            .copied()
    }

    /// True when numbers keep at least 16 bits.
    pub fn is_float(self) -> bool {
        is_float(kind(self.kind))
    }
}

/// True when numbers keep at least 16 bits.
pub(super) fn is_float(kind: TensorKind) -> bool {
    matches!(kind.name, "F32" | "F16" | "BF16" | "F64")
}

/// What the choice depends on beside the tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    /// Transformer blocks.
    pub(super) blocks: u64,
    /// Tensors called attn_v, attn_qkv or attn_kv_b.
    pub(super) value_tensors: u64,
    /// Query heads for each head of keys and values.
    pub(super) heads_per_kv_head: u64,
    /// Experts; 0: none.
    pub(super) experts: u64,
    /// True when there is no output matrix, so that the token embedding serves as one.
    pub(super) tied: bool,
    /// True for Llama's 70B, whose attn_v is small and dear.
    pub(super) seventy: bool,
}

/// How a tensor will be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// The type.
    pub(super) kind: TensorKind,
    /// The type that was wanted, where its blocks do not divide the rows.
    pub(super) instead_of: Option<TensorKind>,
}

/// Vectors, norms, routing and positions keep their precision.
pub(super) fn may_be_quantised(name: &str, dimensions: &[u64]) -> bool {
    const KEPT: &[&str] = &[
        "_norm.weight",
        "ffn_gate_inp.weight",
        "position_embd",
        "token_types",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "time_mix_",
        "attn_rel_b.weight",
    ];
    // ggml counts trailing dimensions of 1 as none.
    let rank = dimensions.iter().rposition(|&size| size > 1).map_or(1, |last| last + 1);
    rank >= 2 && name.ends_with("weight") && !KEPT.iter().any(|part| name.contains(part))
}

/// How a tensor is stored that may be quantised.
pub(super) fn choose(target: Target, model: &Model, name: &str, row: u64) -> Choice {
    let base = kind(target.kind);
    if is_float(base) {
        return Choice {
            kind: base,
            instead_of: None,
        };
    }
    let wanted = kind(mixed(target, model, name, row).unwrap_or(target.kind));
    if row.is_multiple_of(wanted.block) {
        return Choice {
            kind: wanted,
            instead_of: None,
        };
    }
    let smaller = match wanted.name {
        "Q2_K" | "Q3_K" => "Q4_0",
        "Q4_K" => "Q5_0",
        "Q5_K" => "Q5_1",
        _ => "Q8_0",
    };
    let smaller = match kind(smaller) {
        smaller if row.is_multiple_of(smaller.block) => smaller,
        _ => kind("F16"),
    };
    Choice {
        kind: smaller,
        instead_of: Some(wanted),
    }
}

/// The type where it is not the target's own.
fn mixed(target: Target, model: &Model, name: &str, row: u64) -> Option<&'static str> {
    let block = block_of(name).unwrap_or(0);
    let (blocks, target) = (model.blocks, target.name);
    if name == "output.weight" || (model.tied && name == "token_embd.weight") {
        return match target {
            "q8_0" => None,
            _ if !row.is_multiple_of(kind(self::base(target)).block) => Some("Q8_0"),
            _ => Some("Q6_K"),
        };
    }
    if name == "token_embd.weight" {
        return None;
    }
    if ["attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"]
        .iter()
        .any(|part| name.contains(part))
    {
        if model.experts == 8 {
            return Some("Q8_0");
        }
        let chosen = match target {
            "q2_k" if model.heads_per_kv_head >= 4 => Some("Q4_K"),
            "q2_k" => Some("Q3_K"),
            "q3_k_m" if block < 2 => Some("Q5_K"),
            "q3_k_m" => Some("Q4_K"),
            "q4_k_m" | "q5_k_m" if more_bits(block, model.value_tensors) => Some("Q6_K"),
            "q4_k_s" if block < 4 => Some("Q5_K"),
            _ => None,
        };
        let low = matches!(chosen.unwrap_or(self::base(target)), "Q3_K" | "Q4_K");
        return if model.seventy && low { Some("Q5_K") } else { chosen };
    }
    if name.contains("attn_k.weight") {
        return (model.experts == 8).then_some("Q8_0");
    }
    if name.contains("ffn_down") {
        return match target {
            "q2_k" => Some("Q3_K"),
            "q3_k_m" if block < blocks / 16 => Some("Q5_K"),
            "q3_k_m" => Some("Q4_K"),
            "q4_k_m" | "q5_k_m" if more_bits(block, blocks) => Some("Q6_K"),
            "q4_k_s" if block < blocks / 8 => Some("Q5_K"),
            _ => None,
        };
    }
    if name.contains("attn_output.weight") {
        return match target {
            "q2_k" | "q3_k_m" | "q4_k_s" | "q4_k_m" if model.experts == 8 => Some("Q5_K"),
            "q2_k" => Some("Q3_K"),
            "q3_k_m" => Some("Q4_K"),
            _ => None,
        };
    }
    None
}

/// The first and last eighth of the blocks, and every third between.
fn more_bits(block: u64, blocks: u64) -> bool {
    block < blocks / 8 || block >= 7 * blocks / 8 || (block - blocks / 8) % 3 == 2
}

pub(super) fn block_of(name: &str) -> Option<u64> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

fn base(target: &str) -> &'static str {
    Target::from_name(target).map_or("F32", |target| target.kind)
}

/// A type by a name of this file; all of them exist (a test looks).
fn kind(name: &str) -> TensorKind {
    TensorKind::from_name(name).unwrap_or(TensorKind::F32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Model = Model {
        blocks: 32,
        value_tensors: 32,
        heads_per_kv_head: 4,
        experts: 0,
        tied: false,
        seventy: false,
    };

    fn chosen(target: &str, model: &Model, name: &str, row: u64) -> (&'static str, Option<&'static str>) {
        let choice = choose(Target::from_name(target).unwrap(), model, name, row);
        (choice.kind.name, choice.instead_of.map(|kind| kind.name))
    }

    #[test]
    fn every_name_is_a_type() {
        for target in TARGETS {
            assert_eq!(kind(target.kind).name, target.kind);
            assert_eq!(Target::from_name(&target.name.to_uppercase()), Some(*target));
            let said = solo_models::gguf::file_type_name(target.file_type.into()).unwrap();
            assert_eq!(said.to_lowercase(), target.name);
        }
    }

    /// The layers of a 32-layer model that `llama-quantize` gives six bits in Q4_K_M.
    #[test]
    fn q4_k_m_is_llama_cpps_mixture() {
        let six: Vec<u64> = (0..32)
            .filter(|block| chosen("q4_k_m", &SMALL, &format!("blk.{block}.ffn_down.weight"), 4096).0 == "Q6_K")
            .collect();
        assert_eq!(six, [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]);
        let also: Vec<u64> = (0..32)
            .filter(|block| chosen("q5_k_m", &SMALL, &format!("blk.{block}.attn_v.weight"), 4096).0 == "Q6_K")
            .collect();
        assert_eq!(also, six);
        assert_eq!(chosen("q4_k_m", &SMALL, "blk.5.attn_q.weight", 4096), ("Q4_K", None));
        assert_eq!(chosen("q4_k_m", &SMALL, "output.weight", 4096), ("Q6_K", None));
        assert_eq!(chosen("q4_k_m", &SMALL, "token_embd.weight", 4096), ("Q4_K", None));
        let tied = Model { tied: true, ..SMALL };
        assert_eq!(chosen("q4_k_m", &tied, "token_embd.weight", 4096), ("Q6_K", None));
        assert_eq!(chosen("q4_0", &tied, "token_embd.weight", 4096), ("Q6_K", None));
        assert_eq!(chosen("q8_0", &tied, "token_embd.weight", 4096), ("Q8_0", None));
    }

    /// Qwen 2.5's 0.5B is 896 wide: nothing of it divides by 256 but ffn_down's rows of 4,864.
    #[test]
    fn rows_that_do_not_divide_get_smaller_blocks_and_a_name() {
        let tied = Model { tied: true, ..SMALL };
        assert_eq!(
            chosen("q4_k_m", &tied, "blk.5.attn_q.weight", 896),
            ("Q5_0", Some("Q4_K"))
        );
        assert_eq!(
            chosen("q4_k_m", &tied, "blk.0.attn_v.weight", 896),
            ("Q8_0", Some("Q6_K"))
        );
        assert_eq!(chosen("q4_k_m", &tied, "blk.0.ffn_down.weight", 4864), ("Q6_K", None));
        assert_eq!(chosen("q4_k_m", &tied, "token_embd.weight", 896), ("Q8_0", None));
        assert_eq!(
            chosen("q5_k_m", &tied, "blk.5.attn_q.weight", 896),
            ("Q5_1", Some("Q5_K"))
        );
        assert_eq!(chosen("q4_0", &tied, "blk.5.attn_q.weight", 100), ("F16", Some("Q4_0")));
        assert_eq!(chosen("f16", &tied, "blk.5.attn_q.weight", 100), ("F16", None));
    }

    #[test]
    fn vectors_and_norms_keep_their_precision() {
        assert!(may_be_quantised("blk.0.attn_q.weight", &[64, 64]));
        assert!(may_be_quantised("blk.0.ffn_up_exps.weight", &[64, 64, 8]));
        for (name, shape) in [
            ("blk.0.attn_norm.weight", &[64, 64][..]),
            ("blk.0.attn_q.bias", &[64]),
            ("output_norm.weight", &[64]),
            ("blk.0.ffn_gate_inp.weight", &[64, 8]),
            ("odd.weight", &[64, 1]),
        ] {
            assert!(!may_be_quantised(name, shape), "{name}");
        }
    }
}
