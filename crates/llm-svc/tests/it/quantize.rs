//! Quantising: what is made works, says what it is, and is not there when it does not.

mod folder;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{DType, Tensor};
use llm_svc::quantize::{Event, Order, QuantizeError, Report, TARGETS, Target, run, scores};
use serde_json::{Value, json};
use solo_models::gguf::{Facts, Header};

use crate::tiny::{TEMPLATE, Tiny, vocabulary};
use folder::{Folder, tokenizer};

/// Any tokens.
const TOKENS: [u32; 6] = [3, 80, 200, 5, 264, 17];

fn order(input: &Path, output: &Path, target: &str) -> Order {
    Order {
        input: input.to_owned(),
        output: output.to_owned(),
        target: Target::from_name(target).unwrap(),
        force: false,
        allow_requantize: false,
    }
}

fn make(input: &Path, output: &Path, target: &str) -> Report {
    run(&order(input, output, target), &|_| true).unwrap_or_else(|error| panic!("{target}: {error}"))
}

fn refused(order: &Order, words: &str) {
    let error = run(order, &|_| true).expect_err(words).to_string();
    assert!(error.contains(words), "{error:?} says nothing of {words:?}");
}

fn answers(path: &Path) -> Vec<f32> {
    let facts = Facts::of(&Header::open(path).unwrap()).unwrap();
    scores(path, &facts, &TOKENS, &|_| true).unwrap()
}

/// The cosine of two answers: 1 when they say the same.
fn likeness(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn nothing_is_left(output: &Path) {
    let name = output.file_name().unwrap().to_string_lossy().into_owned();
    let left: Vec<String> = std::fs::read_dir(output.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|found| found.starts_with(&name))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A tiny model in full precision.
fn full(folder: &Path) -> PathBuf {
    Tiny::default().install(folder, "tiny");
    let path = folder.join("full.gguf");
    let mut order = order(&folder.join("tiny/model.gguf"), &path, "f32");
    order.allow_requantize = true;
    run(&order, &|_| true).unwrap();
    path
}

#[test]
fn every_type_is_made_and_still_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let full = full(folder.path());
    let wanted = answers(&full);
    for target in TARGETS {
        let path = folder.path().join(format!("{}.gguf", target.name));
        let report = make(&full, &path, target.name);
        let header = Header::open(&path).unwrap();
        let facts = Facts::of(&header).unwrap();
        assert_eq!(facts.quantization.to_lowercase(), target.name);
        assert_eq!(report.output_bytes, header.file_bytes);
        let tensors: u64 = report.types.values().map(|share| share.tensors).sum();
        assert_eq!(tensors, header.tensors.len() as u64);
        // Norms keep their precision in every file.
        assert_eq!(header.tensor("blk.0.attn_norm.weight").unwrap().kind.name, "F32");
        let alike = likeness(&wanted, &answers(&path));
        let least = match target.name {
            "f32" => 0.999_999,
            "f16" | "bf16" | "q8_0" => 0.999,
            "q2_k" | "q3_k_m" => 0.9,
            _ => 0.95,
        };
        assert!(alike >= least, "{}: {alike}", target.name);
        // Rows of 64 and 96 do not come in 256s: blocks of 32 are taken, and named. Fewer bits than 8 want six for the
        // output.
        let none = matches!(target.name, "f32" | "f16" | "bf16" | "q8_0");
        assert_eq!(
            report.fallbacks.is_empty(),
            none,
            "{}: {:?}",
            target.name,
            report.fallbacks
        );
        if target.name == "q4_k_m" {
            let of = |wanted, row| {
                report
                    .fallbacks
                    .iter()
                    .find(|f| f.wanted == wanted && f.row == row)
                    .unwrap()
                    .used
            };
            assert_eq!((of("Q4_K", 64), of("Q6_K", 96)), ("Q5_0", "Q8_0"));
        }
    }
}

#[test]
fn metadata_is_carried_over_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    Tiny::default().install(folder.path(), "tiny");
    let input = folder.path().join("tiny/model.gguf");
    let output = folder.path().join("out.gguf");
    let mut order = order(&input, &output, "q8_0");
    refused(&order, "--allow-requantize");
    order.allow_requantize = true;
    run(&order, &|_| true).unwrap();
    let (before, after) = (Header::open(&input).unwrap(), Header::open(&output).unwrap());
    for (key, _) in before.extents() {
        assert_eq!(before.get(key), after.get(key), "{key}");
    }
    assert_eq!(after.uint("general.file_type"), Some(7));
    assert_eq!(after.uint("general.quantization_version"), Some(2));
    // What has the wanted type already is copied as it is.
    let bytes = |path: &Path, header: &Header| {
        let tensor = header.tensor("blk.1.attn_q.weight").unwrap();
        let start = (header.data_offset + tensor.offset) as usize;
        std::fs::read(path).unwrap()[start..start + tensor.bytes as usize].to_vec()
    };
    assert_eq!(bytes(&input, &before), bytes(&output, &after));
}

#[test]
fn what_cannot_be_made_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let full = full(folder.path());
    let output = folder.path().join("out.gguf");
    std::fs::write(&output, "mine").unwrap();
    refused(&order(&full, &output, "q8_0"), "--force");
    assert_eq!(std::fs::read(&output).unwrap(), b"mine");
    let forced = Order {
        force: true,
        ..order(&full, &output, "q8_0")
    };
    run(&forced, &|_| true).unwrap();
    let same = Order {
        output: full.clone(),
        ..forced.clone()
    };
    refused(&same, "onto itself");
    // A result that was made twice over from few bits is worse than it need be.
    let again = folder.path().join("again.gguf");
    refused(&order(&output, &again, "q4_0"), "stored as Q8_0 already");

    let bytes = std::fs::read(&full).unwrap();
    let damaged = folder.path().join("damaged.gguf");
    let attempt = |bytes: &[u8], words: &str| {
        std::fs::write(&damaged, bytes).unwrap();
        refused(&order(&damaged, &again, "q8_0"), words);
        nothing_is_left(&again);
    };
    attempt(b"no model", "does not begin with");
    attempt(&bytes[..bytes.len() - 5000], "cut short");
    let mut poisoned = bytes.clone();
    let tensor = Header::open(&full).unwrap();
    let place = tensor.data_offset + tensor.tensor("blk.1.ffn_down.weight").unwrap().offset;
    poisoned[place as usize..place as usize + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    attempt(&poisoned, "`blk.1.ffn_down.weight` holds a number that is not finite");
    refused(&order(&folder.path().join("nowhere"), &again, "q8_0"), "nowhere");
    refused(
        &order(&full, &folder.path().join("no/such/out.gguf"), "q8_0"),
        "out.gguf.part",
    );
}

/// Everything in it can be read, but no engine runs it.
#[test]
fn a_result_that_does_not_work_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let lame = Tiny {
        without: &["blk.1.ffn_up.weight"],
        ..Tiny::default()
    };
    lame.install(folder.path(), "lame");
    let output = folder.path().join("out.gguf");
    let order = Order {
        allow_requantize: true,
        ..order(&folder.path().join("lame/model.gguf"), &output, "q8_0")
    };
    refused(&order, "llama.cpp does not load it");
    nothing_is_left(&output);
}

#[test]
fn an_interruption_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let full = full(folder.path());
    let output = folder.path().join("out.gguf");
    let order = order(&full, &output, "q8_0");
    let part = folder.path().join("out.gguf.part");
    let half = |event: Event<'_>| match event {
        Event::Tensor { done, total, .. } => {
            assert!(part.exists());
            done * 2 < total
        }
        Event::Checking => true,
    };
    assert!(matches!(run(&order, &half), Err(QuantizeError::Interrupted)));
    nothing_is_left(&output);
    let checking = |event: Event<'_>| !matches!(event, Event::Checking);
    assert!(matches!(run(&order, &checking), Err(QuantizeError::Interrupted)));
    nothing_is_left(&output);
}

/// The whole way, RoPE's interleaving included: llama.cpp on the converted file against candle-transformers on the folder.
#[test]
fn a_folder_of_safetensors_says_the_same_as_its_reference() {
    for (architecture, tied, dtype) in [
        ("LlamaForCausalLM", false, DType::F32),
        ("LlamaForCausalLM", true, DType::BF16),
        ("Qwen2ForCausalLM", true, DType::F16),
        ("Qwen2ForCausalLM", false, DType::F32),
    ] {
        let folder = Folder::new(architecture, tied, dtype);
        let output = folder.path().join("out.gguf");
        make(folder.path(), &output, "f32");
        let (ours, theirs) = (answers(&output), folder.reference(tied));
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let largest = theirs.iter().fold(0.0, |most: f32, score| most.max(score.abs()));
        assert!(worst < 0.01 * largest, "{architecture}: off by {worst} of {largest}");
        let small = folder.path().join("small.gguf");
        let report = make(folder.path(), &small, "q4_k_m");
        assert!(
            report.fallbacks.is_empty() && report.types.contains_key("Q4_K"),
            "{report:?}"
        );
        let alike = likeness(&theirs, &answers(&small));
        // Random weights forgive less than trained ones.
        assert!(alike > 0.9, "{architecture}: {alike}");
    }
}

#[test]
fn a_folders_tokenizer_and_template_come_along() {
    let folder = Folder::new("LlamaForCausalLM", false, DType::F32);
    let output = folder.path().join("out.gguf");
    make(folder.path(), &output, "q8_0");
    let header = Header::open(&output).unwrap();
    let words = vocabulary();
    let tokens: Vec<String> = header
        .texts("tokenizer.ggml.tokens")
        .unwrap()
        .iter()
        .map(|t| String::from_utf8(t.to_vec()).unwrap())
        .collect();
    assert_eq!(tokens, words);
    let merges: Vec<&[u8]> = header.texts("tokenizer.ggml.merges").unwrap().iter().collect();
    assert_eq!(merges, [b"h e".as_slice(), b"l l", b"he ll"]);
    let kinds = header.get("tokenizer.ggml.token_type").unwrap().uints().unwrap();
    assert_eq!(kinds[words.len() - 5..], [1, 3, 3, 3, 4]);
    let end = words.iter().position(|word| word == "<|im_end|>").unwrap() as u64;
    assert_eq!(header.uint("tokenizer.ggml.eos_token_id"), Some(end));
    assert_eq!(header.text("tokenizer.ggml.pre"), Some("smollm"));
    assert_eq!(header.flag("tokenizer.ggml.add_bos_token"), Some(false));
    assert_eq!(Facts::of(&header).unwrap().chat_template.as_deref(), Some(TEMPLATE));
}

#[test]
fn shards_are_one_model() {
    let folder = Folder::new("LlamaForCausalLM", false, DType::F32);
    let whole = folder.path().join("whole.gguf");
    make(folder.path(), &whole, "q8_0");
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let mut index = serde_json::Map::new();
    for half in 0..2 {
        let name = format!("model-{half}.safetensors");
        let part = folder
            .tensors
            .iter()
            .filter(|(tensor, _)| tensor.contains("layers.1.") == (half == 1));
        let part: HashMap<String, Tensor> = part.map(|(tensor, data)| (tensor.clone(), data.clone())).collect();
        index.extend(part.keys().map(|tensor| (tensor.clone(), json!(name))));
        candle_core::safetensors::save(&part, folder.path().join(name)).unwrap();
    }
    folder.write("model.safetensors.index.json", &json!({"weight_map": index}));
    let joined = folder.path().join("joined.gguf");
    make(folder.path(), &joined, "q8_0");
    assert!(std::fs::read(whole).unwrap() == std::fs::read(joined).unwrap());
    let away = json!({"weight_map": {"x": "../elsewhere.safetensors"}});
    folder.write("model.safetensors.index.json", &away);
    refused(
        &order(folder.path(), &folder.path().join("x.gguf"), "q8_0"),
        "is no file of this folder",
    );
}

#[test]
fn folders_that_are_not_understood_are_refused_by_name() {
    let folder = Folder::new("LlamaForCausalLM", false, DType::F32);
    let output = folder.path().join("out.gguf");
    let refuse = |words: &str| {
        refused(&order(folder.path(), &output, "q8_0"), words);
        nothing_is_left(&output);
    };
    let good = folder.config(false);
    let with = |key: &str, value: Value| {
        let mut config = good.clone();
        config[key] = value;
        folder.write("config.json", &config);
    };
    with("architectures", json!(["MambaForCausalLM"]));
    refuse("`MambaForCausalLM`");
    with("num_attention_heads", json!(0));
    refuse("\"num_attention_heads\" is missing or no number");
    with("num_key_value_heads", json!(3));
    refuse("do not go together");
    with("num_attention_heads", json!(8));
    refuse("heads of 32");
    with("rope_scaling", json!({"rope_type": "spiral"}));
    refuse("RoPE scaling `spiral`");
    with("quantization_config", json!({"bits": 4}));
    refuse("quantised already");
    folder.write("config.json", &good);
    let mut odd = tokenizer();
    odd["pre_tokenizer"] = json!({"type": "Metaspace"});
    folder.write("tokenizer.json", &odd);
    refuse("splits text in a way that has no name here");
    odd["model"]["byte_fallback"] = json!(true);
    folder.write("tokenizer.json", &odd);
    refuse("no byte-level BPE");
    let mut large = tokenizer();
    large["model"]["vocab"]["far"] = json!(9_999_999);
    folder.write("tokenizer.json", &large);
    refuse("has number 9999999");
    folder.write("tokenizer.json", &tokenizer());
    let path = folder.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refuse("it is damaged");
    std::fs::write(&path, b"\xff\xff\xff\xff\xff\xff\xff\x7f").unwrap();
    refuse("it is damaged");
    std::fs::remove_file(&path).unwrap();
    refuse("neither model.safetensors nor");
}

/// The lines that `solo quantize` reads.
#[test]
fn the_command_tells_what_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let full = full(folder.path());
    let output = folder.path().join("out.gguf");
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-svc"));
        let output = command
            .arg("quantize")
            .args([&full, &output])
            .args(["--type", "q4_k_m"])
            .output()
            .unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output.status.code(), lines)
    };
    let (code, lines) = run();
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(
        lines.iter().any(|line| line["progress"]["tensor"].is_string()),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line["checking"] == true));
    let done = &lines.last().unwrap()["done"];
    assert_eq!(
        (&done["type"], &done["output_bytes"]),
        (&json!("q4_k_m"), &json!(std::fs::metadata(&output).unwrap().len()))
    );
    let (code, lines) = run();
    assert_eq!(code, Some(1));
    let failed = &lines.last().unwrap()["failed"];
    assert!(
        failed["message"].as_str().unwrap().contains("--force") && failed["interrupted"] == false,
        "{failed}"
    );
}

/// SmolLM2 in eight bits says what it says in four and a half, for it was made of that; and it still knows its capitals.
#[test]
#[ignore = "needs real weights"]
fn model_a_real_model_is_quantised_and_answers() {
    use llm_svc::tokenizer::{BpeTokenizer, Tokenizer};
    let input = solo_testkit::require_model("smollm2-135m", "model.gguf");
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("q8_0.gguf");
    let order = Order {
        allow_requantize: true,
        ..order(&input, &output, "q8_0")
    };
    run(&order, &|_| true).unwrap();
    let header = Header::open(&output).unwrap();
    let facts = Facts::of(&header).unwrap();
    assert_eq!(facts.quantization, "Q8_0");
    let tokenizer = BpeTokenizer::of(&header).unwrap();
    let special = |text: &str| {
        let mut tokens = header.texts("tokenizer.ggml.tokens").unwrap().iter();
        tokens.position(|token| token == text.as_bytes()).unwrap() as u32
    };
    let (start, end) = (special("<|im_start|>"), special("<|im_end|>"));
    let mut prompt = vec![start];
    tokenizer
        .encode("user\nWhat is the capital of France?", &mut prompt)
        .unwrap();
    prompt.push(end);
    tokenizer.encode("\n", &mut prompt).unwrap();
    prompt.push(start);
    tokenizer.encode("assistant\n", &mut prompt).unwrap();
    let scores_of = |path: &Path, tokens: &[u32]| scores(path, &facts, tokens, &|_| true).unwrap();
    let likeliest = |scores: &[f32]| {
        (0..scores.len())
            .max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
            .unwrap() as u32
    };
    let mut text = Vec::new();
    for _ in 0..12 {
        let (before, after) = (scores_of(&input, &prompt), scores_of(&output, &prompt));
        let alike = likeness(&before, &after);
        assert!(alike > 0.95, "{alike}");
        // What is expected next is as likely as it was: log-probabilities, so that a shift of all scores is none.
        let token = likeliest(&before);
        let surprise = |scores: &[f32]| {
            let sum: f64 = scores.iter().map(|&score| f64::from(score).exp()).sum();
            sum.ln() - f64::from(scores[token as usize])
        };
        assert!(
            (surprise(&before) - surprise(&after)).abs() < 0.1,
            "{} {}",
            surprise(&before),
            surprise(&after)
        );
        let token = likeliest(&after);
        if token == end {
            break;
        }
        text.extend(tokenizer.piece(token));
        prompt.push(token);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("Paris"), "{text}");
}
