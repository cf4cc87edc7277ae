//! Answers of random tokens, short of time, under many schemas: each parses and validates.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn schemas() -> Vec<Value> {
    vec![
        json!({"type": "string"}),
        json!({"type": "integer"}),
        json!({"type": "number"}),
        json!({"type": "boolean"}),
        json!({}),
        json!({"type": "object"}),
        json!({"type": "array"}),
        json!({"type": "array", "items": {"type": "string"}, "minItems": 3}),
        json!({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 4}),
        json!({"type": "string", "minLength": 12, "maxLength": 90}),
        json!({"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}(-x)*$"}),
        json!({"type": "string", "format": "date-time"}),
        json!({"type": "string", "format": "uuid"}),
        json!({"type": "string", "format": "email"}),
        json!({"enum": ["red", "green", "blue", 7, null]}),
        json!({"type": "integer", "minimum": -40, "maximum": 1_000_000}),
        json!({"type": "number", "exclusiveMinimum": 0.5, "maximum": 99.25}),
        json!({"type": "integer", "multipleOf": 7}),
        json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}}, "required": ["name", "age"]}),
        json!({"type": "object", "properties": {
            "title": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "author": {"type": "object", "properties": {"name": {"type": "string"}, "mail": {"type": ["string", "null"]}}, "required": ["name", "mail"]},
            "done": {"type": "boolean"}
        }, "required": ["title", "tags", "author"]}),
        json!({"anyOf": [
            {"type": "object", "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}}, "required": ["kind", "radius"]},
            {"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "number"}}, "required": ["kind", "side"]}
        ]}),
        json!({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}, "text": {"type": "string"}}, "required": ["kind", "text"]},
            {"type": "object", "properties": {"kind": {"const": "b"}, "list": {"type": "array"}}, "required": ["kind", "list"]}
        ]}),
        json!({"allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]}
        ]}),
        json!({"$defs": {"node": {"type": "object", "properties": {
            "value": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}
        }, "required": ["value", "children"]}}, "$ref": "#/$defs/node"}),
        json!({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}),
        json!({"type": "object", "patternProperties": {"^x_": {"type": "string"}}, "additionalProperties": false}),
        json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": {"type": "boolean"}, "minItems": 2}),
        json!({"type": "object", "properties": {"a_rather_long_name_of_a_property": {"type": "array", "minItems": 2, "items":
            {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x", "y"]}}},
            "required": ["a_rather_long_name_of_a_property"]}),
        json!({"type": "object", "properties": {"count": {"type": "integer"}, "ok": {"type": "boolean"}}}),
    ]
}

/// What random tokens make of a schema when `budget` tokens may come; `None` when the text is not complete.
fn answer(
    constraint: &mut Constraint,
    pieces: &Pieces,
    budget: usize,
    mut random: impl FnMut() -> u64,
) -> (String, bool) {
    let (mut text, mut left) = (Vec::new(), budget);
    let mut logits = vec![0.0_f32; pieces.end() as usize + 1];
    'answer: while left > 0 && !constraint.is_complete() {
        let mut next = Vec::new();
        if random().is_multiple_of(2) {
            next = constraint.forced(left);
            assert!(next.len() <= left);
        }
        if next.is_empty() {
            logits.fill_with(|| (random() % 1000) as f32);
            // Models that loop: openers and text are likelier than what ends.
            logits[pieces.end() as usize] = if random().is_multiple_of(8) { 2000.0 } else { 0.0 };
            constraint.restrict(&mut logits, left).unwrap();
            let best = (0..logits.len())
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
                .unwrap();
            assert!(logits[best].is_finite());
            next.push(best as u32);
        }
        for token in next {
            let taken = constraint.accept(token, left).unwrap();
            left -= 1;
            if taken == pieces.end() {
                break 'answer;
            }
            text.extend(pieces.piece(taken));
            if taken != token {
                break;
            }
        }
    }
    let complete = constraint.may_end();
    (String::from_utf8_lossy(&text).into_owned(), complete)
}

#[test]
fn endings_are_short() {
    for schema in schemas() {
        let mut constraint = grammars().compile(&Format::JsonSchema(schema.clone())).unwrap();
        let reserve = constraint.reserve().unwrap_or_else(|| panic!("no ending for {schema}"));
        println!("{reserve:4} tokens for {schema}");
        assert!(reserve <= 75, "{reserve} for {schema}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn answers_are_complete_and_valid_in_time(seed in 1_u64.., more in 0_usize..60, which in 0_usize..1000) {
        let schemas = schemas();
        let schema = &schemas[which % schemas.len()];
        let mut constraint = grammars().compile(&Format::JsonSchema(schema.clone())).unwrap();
        let reserve = constraint.reserve().unwrap();
        let mut state = seed;
        let random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 8
        };
        let (text, complete) = answer(&mut constraint, &Pieces::new(), reserve + more, random);
        prop_assert!(complete, "{schema}: {text:?}");
        let value: Value = match serde_json::from_str(&text) {
            Ok(value) => value,
            // Where a schema says nothing, any number may stand, and random tokens make some beyond all floats.
            Err(error) if error.to_string().starts_with("number out of range") => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{schema}: {text:?}: {error}"))),
        };
        let valid = jsonschema::is_valid(schema, &value);
        prop_assert!(valid, "{schema}: {text}");
    }
}
