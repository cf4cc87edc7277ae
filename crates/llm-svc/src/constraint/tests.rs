//! Grammars over a small vocabulary: what is allowed, what is refused, and that answers end in time.

mod real;
mod winding;

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::tokenizer::TokenizerError;

/// All bytes, some longer pieces, and one end.
pub(crate) struct Pieces(Vec<Vec<u8>>);

const LONGER: &[&str] = &[
    "{\"",
    "\":",
    "\",\"",
    "\"}",
    "[{",
    "}]",
    "[[",
    "[[[[[[[[",
    "]]",
    "\":\"",
    "\":{\"",
    "true",
    "false",
    "null",
    "name",
    "arguments",
    "the",
    " the",
    "hello",
    " world",
    "12",
    "00",
    "aaaa",
    "éé",
    "<tool_call>",
    "</tool_call>",
    "```",
    "json",
    "\n\n",
    "\\n",
    "\\u00",
    "get",
    "_weather",
    "}}",
    "\"\"",
    "[]",
    "{}",
    "[1,2,3,",
    "{\"a\":{\"a\":{\"a\":",
    "\",\"b\":",
    "-",
    "0.",
    "e+",
    " \"",
    ", ",
    ": ",
];

impl Pieces {
    pub(crate) fn new() -> Self {
        let bytes = (0..=255).map(|byte| vec![byte]);
        let longer = LONGER.iter().map(|piece| piece.as_bytes().to_vec());
        Self(bytes.chain(longer).chain([Vec::new()]).collect())
    }

    pub(crate) fn end(&self) -> u32 {
        self.0.len() as u32 - 1
    }
}

impl Tokenizer for Pieces {
    fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let fits = self
                .0
                .iter()
                .enumerate()
                .filter(|(_, piece)| !piece.is_empty() && rest.starts_with(piece));
            let (token, piece) = fits.max_by_key(|(_, piece)| piece.len()).unwrap();
            tokens.push(token as u32);
            rest = &rest[piece.len()..];
        }
        Ok(())
    }

    fn piece(&self, token: u32) -> Vec<u8> {
        self.0.get(token as usize).cloned().unwrap_or_default()
    }

    fn is_end(&self, token: u32) -> bool {
        token == self.end()
    }
}

pub(crate) fn grammars() -> Grammars {
    let pieces = Pieces::new();
    let vocabulary = pieces.0.len();
    Grammars::new(Arc::new(pieces), vocabulary, &Specials::default()).unwrap()
}

/// True when the whole text is in the grammar.
pub(crate) fn matches(constraint: &Constraint, text: &str) -> bool {
    let mut constraint = constraint.clone();
    let mut tokens = Vec::new();
    Pieces::new().encode(text, &mut tokens).unwrap();
    tokens.iter().all(|&token| constraint.accept(token, usize::MAX).is_ok()) && constraint.may_end()
}

fn schema(value: Value) -> Result<Constraint, ConstraintError> {
    grammars().compile(&Format::JsonSchema(value))
}

fn refusal(format: &Format) -> ConstraintError {
    match grammars().compile(format) {
        Ok(_) => panic!("{format:?} compiled"),
        Err(error) => error,
    }
}

#[test]
fn masks_follow_the_schema() {
    let mut constraint =
        schema(json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})).unwrap();
    let pieces = Pieces::new();
    let mut logits = vec![1.0; pieces.0.len() + 40];
    constraint.restrict(&mut logits, usize::MAX).unwrap();
    let allowed: Vec<String> = (0..logits.len())
        .filter(|&token| logits[token].is_finite())
        .map(|token| String::from_utf8_lossy(&pieces.piece(token as u32)).into_owned())
        .collect();
    assert_eq!(
        allowed,
        ["{\""],
        "the beginning is forced, and what is beyond the vocabulary is not allowed"
    );
    let forced = constraint.forced(usize::MAX);
    let text: Vec<u8> = forced.iter().flat_map(|&token| pieces.piece(token)).collect();
    assert!(text.starts_with(b"{\"name"), "{text:?}");
    for token in forced {
        assert_eq!(constraint.accept(token, usize::MAX), Ok(token));
    }
    assert!(!constraint.may_end());
    assert_eq!(
        constraint.accept(b'x'.into(), usize::MAX),
        Err(ConstraintError::NotAllowed(b'x'.into()))
    );
}

#[test]
fn a_complete_text_only_ends() {
    let mut constraint = schema(json!({"const": 1})).unwrap();
    assert_eq!(constraint.reserve(), Some(1));
    constraint.accept(b'1'.into(), usize::MAX).unwrap();
    assert!(constraint.may_end());
    let end = Pieces::new().end();
    let mut logits = vec![0.0; end as usize + 1];
    constraint.restrict(&mut logits, usize::MAX).unwrap();
    let allowed: Vec<usize> = (0..logits.len()).filter(|&token| logits[token].is_finite()).collect();
    assert!(allowed.contains(&(end as usize)));
    constraint.accept(end, usize::MAX).unwrap();
    assert!(constraint.is_complete());
    assert!(constraint.forced(usize::MAX).is_empty());
    assert!(constraint.accept(b'1'.into(), usize::MAX).is_err());
}

#[test]
fn every_kind_of_grammar_is_understood() {
    let cases: &[(Format, &[&str], &[&str])] = &[
        (Format::Regex("^a+(b|/)$".into()), &["ab", "aaa/"], &["b", "a", "abb"]),
        (Format::Regex("a\\$".into()), &["a$"], &["a"]),
        (Format::Lark("start: \"a\" n \"!\"\nn: /[0-9]+/".into()), &["a1!", "a123!"], &["a!", "1!"]),
        (
            Format::Gbnf("root ::= \"yes\" | \"no\" # either\n".into()),
            &["yes", "no"],
            &["maybe", "yesno"],
        ),
        (
            Format::Gbnf("root ::= [a-z]+ \"a\" [^\\x30-9] | .{2,3}".into()),
            &["xa!", "aaa-", "é1", "123"],
            &["xa1-", "1"],
        ),
        (
            Format::Gbnf(
                "root ::= value\nvalue ::= list | num |\n  \"\\\"\" [^\"]* \"\\\"\"\nlist ::= \"[\" (value (\",\" value)*)? \"]\"\nnum ::= \"-\"? [0-9]+\n"
                    .into(),
            ),
            &["[]", "[1,[-20,\"é]\"],3]", "7"],
            &["[1,]", "[", "--1"],
        ),
        (Format::JsonSchema(json!(true)), &["{\"a\":[1,null]}", "1"], &["{a}", "{ }"]),
        (Format::JsonSchema(json!({"enum": ["a", 1.0, null]})), &["\"a\"", "1", "null"], &["2", "\"b\""]),
    ];
    let grammars = grammars();
    for (format, good, bad) in cases {
        let constraint = grammars.compile(format).unwrap();
        for text in *good {
            assert!(matches(&constraint, text), "{format:?} should take {text:?}");
        }
        for text in *bad {
            assert!(!matches(&constraint, text), "{format:?} should not take {text:?}");
        }
    }
}

#[test]
fn what_would_not_be_enforced_is_refused_with_its_place() {
    let cases = [
        (json!({"not": {"type": "string"}}), "/not"),
        (
            json!({"properties": {"a": {"type": "array", "uniqueItems": true}}}),
            "/properties/a/uniqueItems",
        ),
        (json!({"anyOf": [{"type": "null"}, {"if": {}}]}), "/anyOf/1/if"),
        (
            json!({"properties": {"a/b": {"contains": {}}}}),
            "/properties/a~1b/contains",
        ),
        (
            json!({"$defs": {"x": {"dependentRequired": {}}}, "$ref": "#/$defs/x"}),
            "/$defs/x/dependentRequired",
        ),
        (json!({"$ref": "https://example.org/schema"}), "/$ref"),
        (json!({"$ref": "#/$defs/none"}), "/$ref"),
        (json!({"$ref": "#"}), "/$ref"),
        (
            json!({"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}),
            "/properties/a/$ref",
        ),
        (json!({"items": 3}), "/items"),
        (json!({"const": 1e300}), "/const"),
        (json!({"type": "object", "minProperties": 3}), "/minProperties"),
        (json!({"type": "string", "misspelt": 1}), "/misspelt"),
        (json!({"properties": {"a": {"$id": "x"}}}), "/properties/a/$id"),
        (json!("text"), ""),
        (json!(false), ""),
    ];
    for (schema, place) in cases {
        match refusal(&Format::JsonSchema(schema.clone())) {
            ConstraintError::Schema { at, problem } => {
                assert_eq!(at, place, "{schema}: {problem}");
                assert!(!problem.is_empty());
            }
            error => panic!("{schema}: {error}"),
        }
    }
}

#[test]
fn what_cannot_be_compiled_says_why() {
    let cases = [
        (Format::JsonSchema(json!({"type": "str"})), "Invalid type: str"),
        (
            Format::JsonSchema(json!({"type": "string", "format": "colour"})),
            "Unknown format: colour",
        ),
        (
            Format::JsonSchema(json!({"type": "string", "pattern": "(?=x)"})),
            "look-around",
        ),
        (
            Format::JsonSchema(json!({"type": "integer", "minimum": 5, "maximum": 4})),
            "nsatisfiable",
        ),
        (
            Format::JsonSchema(json!({"oneOf": [{"type": "integer"}, {"type": "number"}]})),
            "anyOf",
        ),
        (Format::Regex("a(".into()), "unclosed group"),
        (Format::Regex(" ".into()), "empty"),
        (Format::Lark("start: x".into()), "unknown name"),
        (
            Format::Lark("start: a\na[stop=\"x\"]: /.*/".into()),
            "line 2: the attribute `stop`",
        ),
        (
            Format::Gbnf("root ::= item\n".into()),
            "line 1: there is no rule `item`",
        ),
        (Format::Gbnf("list ::= \"a\"\n".into()), "no rule `root`"),
        (Format::Gbnf("root ::= \"a\" )\n".into()), "')' is not understood"),
        (Format::Gbnf("root ::= \"a\n".into()), "not closed"),
        (
            Format::Gbnf("root ::= \"a\"\n\nroot ::= \"b\"".into()),
            "line 3: there is a rule `root` already",
        ),
        (Format::Gbnf("root ::= [z-a]".into()), "wrong way round"),
        (Format::Gbnf("root ::= \"\\q\"".into()), "`\\q` is no escape"),
    ];
    for (format, words) in cases {
        let error = refusal(&format);
        assert!(error.is_request(), "{error}");
        assert!(error.to_string().contains(words), "{format:?}: {error}");
        assert!(!error.to_string().contains("backtrace"), "{error}");
    }
}

#[test]
fn hostile_grammars_are_bounded() {
    let mut deep = json!({});
    for _ in 0..70 {
        deep = json!({"items": deep});
    }
    let wide: serde_json::Map<String, Value> = (0..3_000)
        .map(|n| (format!("p{n}"), json!({"type": "string", "maxLength": 9000})))
        .collect();
    let cases = [
        Format::JsonSchema(deep),
        Format::JsonSchema(json!({"type": "object", "properties": wide})),
        Format::JsonSchema(json!({"type": "string", "minLength": 1_000_000_000_u64})),
        Format::JsonSchema(json!({"type": "array", "minItems": 1_000_000_000_u64})),
        Format::JsonSchema(json!({"type": "string", "pattern": "^((a{1,500}){1,500}b){1,500}$"})),
        Format::JsonSchema(json!({"type": "string", "pattern": "(a|b)*a(a|b){200}"})),
        Format::Regex("((a{1000}){1000}){1000}".into()),
        Format::Regex("(((((((((a*)*)*)*)*)*)*)*)*)*b".into()),
        Format::Regex("x".repeat(MAX_GRAMMAR_BYTES + 1)),
        Format::Regex("(".repeat(10_000)),
        Format::Lark("start: start start | \"a\"".into()),
        Format::Lark("start: start".into()),
        Format::Lark(format!("start: {}\"a\"{}", "(".repeat(2_000), ")".repeat(2_000))),
        Format::Lark("start: a{1000000}\na: b{1000000}\nb: \"x\"{1000000}".into()),
        Format::Gbnf(format!("root ::= {}\"a\"{}", "(".repeat(5_000), ")".repeat(5_000))),
        Format::Gbnf("root ::= (root | \"a\"){0,100000} root".into()),
    ];
    let grammars = grammars();
    for format in cases {
        let begun = Instant::now();
        let compiled = grammars.compile(&format);
        let compiling = begun.elapsed();
        let mut searching = compiling;
        if let Ok(mut constraint) = compiled {
            let _ = constraint.reserve();
            searching = begun.elapsed();
            let mut logits = vec![0.0; 400];
            for _ in 0..4 {
                logits.fill(0.0);
                let Ok(()) = constraint.restrict(&mut logits, 100) else {
                    break;
                };
                let Some(token) = logits.iter().position(|logit| logit.is_finite()) else {
                    break;
                };
                if constraint.accept(token as u32, 100).is_err() {
                    break;
                }
            }
        }
        let mut text = format!("{format:?}");
        text.truncate(60);
        println!("{compiling:?}, {searching:?}, {:?} for {text}", begun.elapsed());
    }
}

#[test]
fn a_model_without_an_end_is_refused() {
    struct Endless;
    impl Tokenizer for Endless {
        fn encode(&self, _: &str, _: &mut Vec<u32>) -> Result<(), TokenizerError> {
            Ok(())
        }
        fn piece(&self, token: u32) -> Vec<u8> {
            vec![token as u8]
        }
        fn is_end(&self, _: u32) -> bool {
            false
        }
    }
    for vocabulary in [0, 256] {
        let error = Grammars::new(Arc::new(Endless), vocabulary, &Specials::default())
            .err()
            .unwrap();
        assert!(matches!(error, ConstraintError::Vocabulary(_)), "{error}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_a_gbnf_grammar_or_an_error(text in "(root ::= )?[a-c\"\\[\\]()*+?{},0-9|:=#.\\\\ \n^x-]{0,60}") {
        if let Ok(lark) = gbnf::to_lark(&text) {
            // What comes out is Lark: it compiles, or is refused for what it means.
            if let Err(error) = grammars().compile(&Format::Gbnf(text.clone())) {
                let problem = error.to_string();
                proptest::prop_assert!(!problem.contains("Expected") && !problem.contains("lexer error"), "{text:?} -> {lark:?}: {problem}");
            }
        }
    }
}
