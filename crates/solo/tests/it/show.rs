//! `models show` on files of every kind.

use serde_json::Value;
use solo_models::gguf::{HeaderWriter, TensorKind};

use crate::sandbox::{Sandbox, text};

/// A small llama, its weights zero.
fn model() -> Vec<u8> {
    let mut header = HeaderWriter::new();
    header.text("general.architecture", "llama");
    header.text("general.name", "Tiny \u{1b}[31mLlama");
    header.u32("llama.context_length", 32_768);
    header.u32("llama.embedding_length", 64);
    header.u32("llama.block_count", 2);
    header.u32("llama.feed_forward_length", 96);
    header.u32("llama.attention.head_count", 4);
    header.u32("llama.attention.head_count_kv", 2);
    header.f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
    header.f32("llama.rope.freq_base", 10_000.0);
    header.text("llama.rope.scaling.type", "yarn");
    header.f32("llama.rope.scaling.factor", 4.0);
    header.u32("llama.rope.scaling.original_context_length", 8192);
    header.text("tokenizer.ggml.model", "gpt2");
    header.text("tokenizer.ggml.pre", "smollm");
    header.texts("tokenizer.ggml.tokens", &["a", "b", "c"]);
    header.text(
        "tokenizer.chat_template",
        "{% for m in messages %}{{ m }}{% endfor %}{{ tools }}",
    );
    header
        .tensor("token_embd.weight", TensorKind::from_name("Q8_0").unwrap(), &[64, 3])
        .unwrap();
    header.tensor("output_norm.weight", TensorKind::F32, &[64]).unwrap();
    let mut bytes = header.finish();
    let last = header.tensors().last().unwrap();
    bytes.resize(bytes.len() + (last.offset + last.bytes) as usize, 0);
    bytes
}

#[test]
fn a_file_is_shown() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tiny.gguf");
    std::fs::write(&file, model()).unwrap();
    let output = sandbox.solo(&["models", "show", "tiny.gguf"]);
    assert!(output.status.success(), "{}", text(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(!shown.contains('\u{1b}'), "{shown}");
    for words in [
        "Tiny [31mLlama",
        "llama, 2 layers, 64 wide, feed-forward 96, 4 heads of 16 (2 for keys and values)",
        "Q8_0        204 B  in 1 tensor",
        "F32         256 B  in 1 tensor",
        "trained for 32,768 tokens, RoPE base 10000, yarn scaling by 4 from 8,192",
        "3 tokens, byte-level BPE, splits as smollm",
        "knows tools; takes messages, tools",
        "this machine",
        "fits whole: ",
        "(4,096 tokens of context)",
    ] {
        assert!(shown.contains(words), "{words:?} is missing:\n{shown}");
    }
    // The second column begins at the same place in every line.
    let column = |word: &str| shown.lines().find_map(|line| line.find(word)).unwrap();
    assert_eq!(column("llama, 2 layers"), column("knows tools"));

    let output = sandbox.solo(&["models", "show", "./tiny.gguf", "--json", "--context", "100"]);
    let card: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
    assert_eq!((&card["layers"], &card["rope"]["scaling"]), (&2.into(), &"yarn".into()));
    // Two layers, two heads, 16 + 16 numbers of 2 bytes, 1,000 tokens.
    assert_eq!(card["memory"]["kv_bytes_per_1k_tokens_f16"], 256_000);
    assert_eq!(card["memory"]["kv_bytes_per_1k_tokens_q8_0"], 136_000);
    assert_eq!(
        (&card["fit"][0]["with"], &card["fit"][0]["fits"]),
        (&"processor".into(), &"whole".into())
    );
    assert_eq!(card["fit"][0]["context"], 100);

    let output = sandbox.solo(&["models", "show", "tiny.gguf", "--template"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "{% for m in messages %}{{ m }}{% endfor %}{{ tools }}\n"
    );
}

#[test]
fn other_files_are_refused_in_our_words() {
    let sandbox = Sandbox::new();
    let write = |name: &str, bytes: &[u8]| std::fs::write(sandbox.path(name), bytes).unwrap();
    write("text.gguf", b"hello, world, this is no model");
    let whole = model();
    write("short.gguf", &whole[..whole.len() - 100]);
    write("lying.gguf", &[b"GGUF\x03\0\0\0".as_slice(), &[0xff; 16]].concat());
    for (file, code, words) in [
        ("text.gguf", 1, "does not begin with \"GGUF\""),
        ("short.gguf", 1, "cut short"),
        ("lying.gguf", 1, "at most 65536 are possible"),
        ("nowhere.gguf", 1, "nowhere.gguf cannot be read"),
        ("./fake", 1, "is a folder"),
        ("smollm2-135m", 66, "solo models pull smollm2-135m"),
        ("no-such-model", 1, "there is no model \"no-such-model\""),
    ] {
        let output = sandbox
            .command(&["models", "show", file])
            .env("SOLO_MODELS_DIR", sandbox.path("none"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{file}: {}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words) && said.contains("error:"), "{file}: {said}");
        assert!(output.stdout.is_empty(), "{file}");
    }
}
