//! JSON schemas before they are compiled: whole or not at all.
//!
//! llguidance compiles most of JSON Schema and ignores keywords that it does not know; an answer would then satisfy less
//! than was asked. So every keyword is looked at here first, and what would not be enforced is refused with its place.
//! Numbers that came over the wire as `3.0` become `3`, and objects that name their properties and say nothing of others
//! are closed, where nothing is taken from the schema's meaning by it: a small model given room for properties that
//! nobody asked for fills it.

use serde_json::{Map, Value, json};

use super::{ConstraintError, MAX_GRAMMAR_BYTES};

/// Deeper schemas are refused: the compiler recurses.
const MAX_DEPTH: usize = 64;
/// The most schemas within a schema.
const MAX_SCHEMAS: usize = 1_000;
/// Whole numbers beyond this are not exact.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
/// Numbers that say nothing about their size are held to this, up and down; as an expression it is as short as can be.
const WIDE: i64 = 999_999_999_999_999;

/// Keywords that are enforced and hold no schema.
const ENFORCED: &[&str] = &[
    "$ref",
    "const",
    "enum",
    "type",
    "minItems",
    "maxItems",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];
/// Keywords whose values are schemas by name.
const MAPS: &[&str] = &["properties", "patternProperties", "$defs", "definitions"];
/// Keywords whose values are lists of schemas.
const LISTS: &[&str] = &["anyOf", "oneOf", "allOf", "prefixItems"];
/// Keywords whose values are schemas.
const SINGLES: &[&str] = &["items", "additionalItems", "additionalProperties"];
/// Keywords that say nothing about what is valid.
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$comment",
    "title",
    "description",
    "default",
    "readOnly",
    "writeOnly",
    "deprecated",
    "example",
    "examples",
    "contentMediaType",
    "contentEncoding",
];

/// How the JSON is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separators {
    /// Without blanks: no model can lose itself in them.
    Compact,
    /// With at most one blank after "," and ":", as models like to write tool calls.
    Spaced,
}

/// A schema as llguidance is to compile it.
///
/// # Errors
/// [`ConstraintError::Schema`] says where something is wrong and what, [`ConstraintError::TooLarge`].
pub fn prepare(schema: &Value, separators: Separators) -> Result<Value, ConstraintError> {
    let mut schema = match schema {
        Value::Bool(true) => json!({}),
        Value::Object(_) => schema.clone(),
        Value::Bool(false) => return Err(refuse("", "no value satisfies `false`")),
        _ => return Err(refuse("", "a schema is a JSON object")),
    };
    let bytes = schema.to_string().len();
    if bytes > MAX_GRAMMAR_BYTES {
        return Err(ConstraintError::TooLarge { bytes });
    }
    let root = schema.clone();
    let mut walk = Walk {
        root: &root,
        schemas: 0,
        may_close: true,
    };
    walk.schema(&mut schema, "", 0)?;
    if walk.may_close {
        close(&mut schema);
    }
    let (item, key) = match separators {
        Separators::Compact => (",", ":"),
        Separators::Spaced => (", ?", ": ?"),
    };
    if let Value::Object(map) = &mut schema {
        let options = json!({"item_separator": item, "key_separator": key, "whitespace_flexible": false});
        map.insert("x-guidance".to_owned(), options);
    }
    Ok(schema)
}

fn refuse(at: &str, problem: impl Into<String>) -> ConstraintError {
    ConstraintError::Schema {
        at: at.to_owned(),
        problem: problem.into(),
    }
}

struct Walk<'a> {
    root: &'a Value,
    schemas: usize,
    /// False once schemas are intersected or compared: closing one of them would change the other's meaning.
    may_close: bool,
}

impl Walk<'_> {
    fn schema(&mut self, schema: &mut Value, at: &str, depth: usize) -> Result<(), ConstraintError> {
        self.schemas += 1;
        if depth > MAX_DEPTH || self.schemas > MAX_SCHEMAS {
            let problem = format!("at most {MAX_SCHEMAS} schemas, {MAX_DEPTH} deep, are taken");
            return Err(refuse(at, problem));
        }
        let map = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(map) => map,
            _ => return Err(refuse(at, "a schema is a JSON object or a boolean")),
        };
        map.retain(|keyword, value| !(keyword.starts_with("x-") || keyword == "uniqueItems" && *value == json!(false)));
        let silent =
            |keyword: &str| ANNOTATIONS.contains(&keyword) || matches!(keyword, "$defs" | "definitions" | "$id");
        let alone = map.keys().filter(|keyword| !silent(keyword)).count() == 1;
        let applied = ["allOf", "anyOf", "oneOf", "$ref"]
            .iter()
            .any(|keyword| map.contains_key(*keyword));
        let combined = map.contains_key("allOf") || map.contains_key("oneOf") || (applied && !alone);
        self.may_close &= !combined;
        self.counts(map, at)?;
        bound(map);
        for (keyword, value) in map.iter_mut() {
            let at = format!("{at}/{}", keyword.replace('~', "~0").replace('/', "~1"));
            self.keyword(keyword, value, &at, depth)?;
        }
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, value: &mut Value, at: &str, depth: usize) -> Result<(), ConstraintError> {
        if MAPS.contains(&keyword) {
            let schemas = value
                .as_object_mut()
                .ok_or_else(|| refuse(at, "a JSON object is wanted"))?;
            for (name, schema) in schemas {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                self.schema(schema, &at, depth + 1)?;
            }
        } else if LISTS.contains(&keyword) || (keyword == "items" && value.is_array()) {
            let schemas = value
                .as_array_mut()
                .ok_or_else(|| refuse(at, "a list of schemas is wanted"))?;
            for (index, schema) in schemas.iter_mut().enumerate() {
                self.schema(schema, &format!("{at}/{index}"), depth + 1)?;
            }
        } else if SINGLES.contains(&keyword) {
            self.schema(value, at, depth + 1)?;
        } else if ENFORCED.contains(&keyword) {
            whole_numbers(value);
            match keyword {
                "const" | "enum" => exact(value, at)?,
                "$ref" => self.reference(value, at)?,
                _ => {}
            }
        } else if !(ANNOTATIONS.contains(&keyword) || (keyword == "$id" && at == "/$id")) {
            let problem = match keyword {
                "uniqueItems" => "cannot be enforced while an answer is written: leave it out".to_owned(),
                "$id" | "id" | "$anchor" => "is only understood at the root: use `#/$defs/…`".to_owned(),
                _ => "is not supported and would not be enforced: leave it out".to_owned(),
            };
            return Err(refuse(at, problem));
        }
        Ok(())
    }

    fn reference(&self, value: &Value, at: &str) -> Result<(), ConstraintError> {
        let reference = value.as_str().ok_or_else(|| refuse(at, "text is wanted"))?;
        let pointer = reference
            .strip_prefix('#')
            .filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let Some(pointer) = pointer else {
            let problem = format!("refers to {reference:?}: only references within the schema (`#/…`) are followed");
            return Err(refuse(at, problem));
        };
        if pointer.contains(['~', '%']) {
            return Err(refuse(at, "refers to an escaped name: rename the definition"));
        }
        // A reference that leads only to references never says what is valid.
        let mut target = self.root.pointer(pointer.trim_end_matches('/'));
        for _ in 0..MAX_DEPTH {
            let Some(Value::Object(map)) = target else { break };
            match map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix('#'))
            {
                Some(next) => target = self.root.pointer(next.trim_end_matches('/')),
                None => return Ok(()),
            }
        }
        match target {
            None => Err(refuse(at, format!("refers to {reference:?}, which is not there"))),
            Some(Value::Bool(_)) => Ok(()),
            Some(Value::Object(_)) => Err(refuse(
                at,
                format!("refers to {reference:?}, which leads back to itself"),
            )),
            Some(_) => Err(refuse(at, format!("refers to {reference:?}, which is no schema"))),
        }
    }

    /// Counts that are checked here because the compiler cannot hold to them.
    fn counts(&self, map: &Map<String, Value>, at: &str) -> Result<(), ConstraintError> {
        let required = map.get("required").and_then(Value::as_array).map_or(0, Vec::len);
        let least = map.get("minProperties").and_then(Value::as_f64).unwrap_or(0.0);
        if least > 1.0 && least > required as f64 {
            // Free names may repeat, and a repeated name is one property.
            let problem = "more than 1 can only be enforced for properties that are `required`";
            return Err(refuse(&format!("{at}/minProperties"), problem));
        }
        Ok(())
    }
}

/// Numbers without bounds get wide ones. A model that repeats a digit, or writes an exponent, makes numbers that no
/// program can read; within the bounds all are.
fn bound(map: &mut Map<String, Value>) {
    let numeric = |value: &Value| *value == "number" || *value == "integer";
    let numbers = match map.get("type") {
        Some(Value::Array(types)) => types.iter().any(numeric),
        Some(value) => numeric(value),
        None => false,
    };
    if !numbers || map.contains_key("const") || map.contains_key("enum") {
        return;
    }
    let limit = WIDE;
    let given = |keyword: &str| map.get(keyword).and_then(Value::as_f64);
    let low = given("minimum")
        .into_iter()
        .chain(given("exclusiveMinimum"))
        .reduce(f64::max);
    let high = given("maximum")
        .into_iter()
        .chain(given("exclusiveMaximum"))
        .reduce(f64::min);
    if low.is_none() && high.is_none_or(|high| high > -(limit as f64)) {
        map.insert("minimum".to_owned(), Value::from(-limit));
    }
    if high.is_none() && low.is_none_or(|low| low < limit as f64) {
        map.insert("maximum".to_owned(), Value::from(limit));
    }
}

/// Numbers without a fraction become integers, however they were written.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64()
                && number.is_f64()
                && float.fract() == 0.0
                && float.abs() < MAX_WHOLE
            {
                *value = Value::from(float as i64);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// The compiler holds numbers as floats: those that lose digits by it are refused.
fn exact(value: &Value, at: &str) -> Result<(), ConstraintError> {
    match value {
        Value::Number(number) if number.as_f64().is_none_or(|float| float.abs() >= MAX_WHOLE) => {
            Err(refuse(at, format!("{number} is larger than numbers can be exact")))
        }
        Value::Array(values) => values.iter().try_for_each(|value| exact(value, at)),
        Value::Object(map) => map.values().try_for_each(|value| exact(value, at)),
        _ => Ok(()),
    }
}

/// Forbids properties that are not named, in objects that name some and leave others open.
fn close(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    let names = map.get("properties").and_then(Value::as_object);
    let closes = names.is_some_and(|names| {
        let required = map.get("required").and_then(Value::as_array);
        !names.is_empty()
            && [
                "additionalProperties",
                "patternProperties",
                "minProperties",
                "maxProperties",
            ]
            .iter()
            .all(|keyword| !map.contains_key(*keyword))
            && required.is_none_or(|required| {
                required
                    .iter()
                    .all(|name| name.as_str().is_some_and(|name| names.contains_key(name)))
            })
    });
    if closes {
        map.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    for (keyword, value) in map.iter_mut() {
        match value {
            Value::Object(schemas) if MAPS.contains(&keyword.as_str()) => schemas.values_mut().for_each(close),
            Value::Array(schemas) if LISTS.contains(&keyword.as_str()) || keyword == "items" => {
                schemas.iter_mut().for_each(close);
            }
            Value::Object(_) if SINGLES.contains(&keyword.as_str()) => close(value),
            _ => {}
        }
    }
}
