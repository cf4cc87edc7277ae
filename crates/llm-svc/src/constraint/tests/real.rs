//! A real vocabulary: what a mask costs, and that answers over 150,000 tokens end in time as well.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::*;
use crate::chat::{Tool, ToolChoice};
use crate::gguf::Header;
use crate::tokenizer::BpeTokenizer;
use crate::tools::ToolForm;

/// xorshift64.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 8
}

fn qwen() -> (Arc<BpeTokenizer>, Specials, usize) {
    let path = solo_testkit::require_model("qwen2.5-coder-0.5b", "model.gguf");
    let header = Header::open(&path).unwrap();
    let tokens = header.texts("tokenizer.ggml.tokens").unwrap().len();
    (
        Arc::new(BpeTokenizer::of(&header).unwrap()),
        Specials::of(&header),
        tokens,
    )
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn model_masks_are_cheap_and_answers_end_on_a_real_vocabulary() {
    let (tokenizer, specials, vocabulary) = qwen();
    let begun = Instant::now();
    let grammars = Grammars::new(tokenizer.clone(), vocabulary, &specials).unwrap();
    println!("{vocabulary} tokens: grammars are ready after {:?}", begun.elapsed());
    let person = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "emails": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "address": {"type": "object", "properties": {"street": {"type": "string", "maxLength": 80}, "kind": {"enum": ["home", "work"]}}, "required": ["street", "kind"]}
    }, "required": ["name", "age", "emails", "address"]});
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: String::new(),
        parameters: person.clone(),
    };
    let tools: Vec<Tool> = ["get_person", "put_person", "find", "remember", "forget"]
        .map(tool)
        .into();
    let auto = crate::tools::format(&tools, &ToolChoice::Auto, true, ToolForm::Tagged)
        .unwrap()
        .unwrap();
    let required = crate::tools::format(&tools, &ToolChoice::Required, false, ToolForm::Tagged)
        .unwrap()
        .unwrap();
    let formats = [
        ("schema", Format::JsonSchema(person.clone())),
        ("any JSON", Format::JsonSchema(json!({}))),
        ("tools, auto", auto),
        ("tools, required", required),
        ("regex", Format::Regex("([A-Z][a-z]+ ){1,40}[.!?]".into())),
        (
            "date-time",
            Format::JsonSchema(json!({"type": "string", "format": "date-time"})),
        ),
        (
            "maxLength 9000",
            Format::JsonSchema(json!({"type": "string", "maxLength": 9000})),
        ),
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let mut logits = vec![0.0_f32; vocabulary];
    for (name, format) in formats {
        let begun = Instant::now();
        let compiled = grammars.compile(&format).unwrap();
        let compiling = begun.elapsed();
        let (mut masks, mut worst, mut accepts, mut count) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0_u32);
        for _ in 0..10 {
            let mut constraint = compiled.clone();
            let reserve = constraint.reserve().unwrap();
            let (mut left, mut bytes) = (reserve + 100, Vec::new());
            while left > 0 && !constraint.is_complete() {
                logits.fill_with(|| (random(&mut state) % 1000) as f32);
                let begun = Instant::now();
                constraint.restrict(&mut logits, left).unwrap();
                let took = begun.elapsed();
                let best = (0..vocabulary)
                    .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
                    .unwrap();
                let begun = Instant::now();
                let taken = constraint.accept(best as u32, left).unwrap();
                (masks, worst, accepts, count) = (masks + took, worst.max(took), accepts + begun.elapsed(), count + 1);
                bytes.extend(tokenizer.piece(taken));
                left -= 1;
                if tokenizer.is_end(taken) {
                    break;
                }
            }
            assert!(constraint.may_end(), "{name}: {}", String::from_utf8_lossy(&bytes));
            if let Format::JsonSchema(schema) = &format {
                let text = String::from_utf8(bytes).unwrap();
                match serde_json::from_str::<Value>(&text) {
                    Ok(value) => assert!(jsonschema::is_valid(schema, &value), "{text}"),
                    Err(error) => assert!(error.to_string().starts_with("number out of range"), "{error}: {text}"),
                }
            }
        }
        println!(
            "{name}: compiled in {compiling:?}; {count} tokens: mask {:?} mean, {worst:?} at most; accept with its ending {:?} mean",
            masks / count,
            accepts / count
        );
    }
}
