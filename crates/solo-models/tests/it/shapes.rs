//! Headers of models of real shapes. Only headers: a reader is told how long the file would be.

use solo_models::gguf::{Facts, Header, HeaderWriter, TensorKind};

/// The shape of a llama-like model.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) blocks: u64,
    pub(crate) width: u64,
    pub(crate) inner: u64,
    pub(crate) heads: u64,
    pub(crate) kv_heads: u64,
    pub(crate) vocabulary: usize,
    pub(crate) context: u32,
    /// Storage type of the matrices.
    pub(crate) kind: &'static str,
    /// True when it has no output matrix of its own.
    pub(crate) tied: bool,
}

/// Two blocks, 64 wide: small enough to damage byte by byte.
pub(crate) const TINY: Shape = Shape {
    blocks: 2,
    width: 64,
    inner: 96,
    heads: 4,
    kv_heads: 2,
    vocabulary: 40,
    context: 512,
    kind: "Q8_0",
    tied: false,
};
/// Llama 2 7B.
pub(crate) const SEVEN: Shape = Shape {
    blocks: 32,
    width: 4096,
    inner: 11008,
    heads: 32,
    kv_heads: 32,
    vocabulary: 32_000,
    context: 4096,
    kind: "Q4_K",
    tied: false,
};
/// Llama 2 13B.
pub(crate) const THIRTEEN: Shape = Shape {
    blocks: 40,
    width: 5120,
    inner: 13_824,
    heads: 40,
    kv_heads: 40,
    ..SEVEN
};
/// Llama 3 70B.
pub(crate) const SEVENTY: Shape = Shape {
    blocks: 80,
    width: 8192,
    inner: 28_672,
    heads: 64,
    kv_heads: 8,
    vocabulary: 128_256,
    context: 131_072,
    ..SEVEN
};
/// Qwen 2.5 0.5B.
pub(crate) const HALF: Shape = Shape {
    blocks: 24,
    width: 896,
    inner: 4864,
    heads: 14,
    kv_heads: 2,
    vocabulary: 151_936,
    context: 32_768,
    kind: "Q8_0",
    tied: true,
};

impl Shape {
    /// The metadata of such a file.
    pub(crate) fn metadata(&self) -> HeaderWriter {
        let mut header = HeaderWriter::new();
        header.text("general.architecture", "llama");
        header.u32("llama.context_length", self.context);
        header.u32("llama.embedding_length", self.width as u32);
        header.u32("llama.block_count", self.blocks as u32);
        header.u32("llama.feed_forward_length", self.inner as u32);
        header.u32("llama.attention.head_count", self.heads as u32);
        header.u32("llama.attention.head_count_kv", self.kv_heads as u32);
        header.f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
        header.u32("llama.rope.dimension_count", (self.width / self.heads) as u32);
        header.text("tokenizer.ggml.model", "gpt2");
        let tokens: Vec<String> = (0..self.vocabulary).map(|token| format!("t{token}")).collect();
        header.texts("tokenizer.ggml.tokens", &tokens);
        header.i32s("tokenizer.ggml.token_type", &vec![1; self.vocabulary]);
        header.text("tokenizer.chat_template", "{{ messages[0].content }}");
        header
    }

    /// The header, and the length that the file would have.
    pub(crate) fn header_bytes(&self) -> (Vec<u8>, u64) {
        let mut header = self.metadata();
        let matrix = TensorKind::from_name(self.kind).unwrap();
        let (width, vocabulary) = (self.width, self.vocabulary as u64);
        let kv = width / self.heads * self.kv_heads;
        header
            .tensor("token_embd.weight", matrix, &[width, vocabulary])
            .unwrap();
        for block in 0..self.blocks {
            for (name, kind, dimensions) in [
                ("attn_norm", TensorKind::F32, [width].as_slice()),
                ("attn_q", matrix, &[width, width]),
                ("attn_k", matrix, &[width, kv]),
                ("attn_v", matrix, &[width, kv]),
                ("attn_output", matrix, &[width, width]),
                ("ffn_norm", TensorKind::F32, &[width]),
                ("ffn_gate", matrix, &[width, self.inner]),
                ("ffn_up", matrix, &[width, self.inner]),
                ("ffn_down", matrix, &[self.inner, width]),
            ] {
                header
                    .tensor(&format!("blk.{block}.{name}.weight"), kind, dimensions)
                    .unwrap();
            }
        }
        header.tensor("output_norm.weight", TensorKind::F32, &[width]).unwrap();
        if !self.tied {
            header.tensor("output.weight", matrix, &[width, vocabulary]).unwrap();
        }
        let bytes = header.finish();
        let last = header.tensors().last().unwrap();
        let length = bytes.len() as u64 + last.offset + last.bytes;
        (bytes, length)
    }

    /// The header as it is read.
    pub(crate) fn header(&self) -> Header {
        let (bytes, length) = self.header_bytes();
        Header::read(bytes.as_slice(), length).unwrap()
    }

    /// The header and what it says.
    pub(crate) fn model(&self) -> (Header, Facts) {
        let header = self.header();
        let facts = Facts::of(&header).unwrap();
        (header, facts)
    }

    /// A whole file, its weights zero.
    pub(crate) fn file(&self) -> Vec<u8> {
        let (mut bytes, length) = self.header_bytes();
        bytes.resize(length as usize, 0);
        bytes
    }
}
