//! JSON in templates, as Hugging Face's renderer writes it.
//!
//! minijinja's own `tojson` is made for HTML: it writes "<" as "\u003c", which models have not seen in their training.
//! This one writes what Python's `json.dumps(…, ensure_ascii=False)` does.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// Values may be this deep.
const MAX_DEPTH: usize = 128;
/// A step of fuel for this many bytes.
const BYTES_PER_STEP: usize = 64;

/// The filter.
pub(super) fn tojson(state: &State, value: &Value, indent: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get::<Option<Value>>("indent")?,
    };
    let indent = indent
        .filter(|indent| !indent.is_none())
        .map(usize::try_from)
        .transpose()?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut text = String::new();
    write(value, indent.map(|indent| indent.min(8)), 0, &mut text)?;
    state.consume_fuel((text.len() / BYTES_PER_STEP) as u64)?;
    Ok(Value::from(text))
}

/// The JSON of a value of ours, written the same way.
pub(super) fn spaced(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Array(values) => {
            let values: Vec<String> = values.iter().map(spaced).collect();
            format!("[{}]", values.join(", "))
        }
        serde_json::Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", quoted(key), spaced(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

fn write(value: &Value, indent: Option<usize>, depth: usize, text: &mut String) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "the value is too deep for JSON",
        ));
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => {
            let _ = write!(text, "{value}");
        }
        ValueKind::Map => {
            let keys: Vec<Value> = value.try_iter()?.collect();
            list(keys.len(), ('{', '}'), indent, depth, text, |index, text| {
                let key = &keys[index];
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                let _ = write!(text, "{}: ", quoted(&name));
                write(&value.get_item(key)?, indent, depth + 1, text)
            })?;
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let values: Vec<Value> = value.try_iter()?.collect();
            list(values.len(), ('[', ']'), indent, depth, text, |index, text| {
                write(&values[index], indent, depth + 1, text)
            })?;
        }
        ValueKind::String => text.push_str(&quoted(value.as_str().unwrap_or_default())),
        kind => {
            let problem = format!("a value of kind {kind} is no JSON");
            return Err(Error::new(ErrorKind::InvalidOperation, problem));
        }
    }
    Ok(())
}

fn list(
    count: usize,
    (open, close): (char, char),
    indent: Option<usize>,
    depth: usize,
    text: &mut String,
    mut item: impl FnMut(usize, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |depth: usize, text: &mut String| {
        if let Some(indent) = indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    text.push(open);
    for index in 0..count {
        if index > 0 {
            text.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(depth + 1, text);
        item(index, text)?;
    }
    if count > 0 {
        line(depth, text);
    }
    text.push(close);
    Ok(())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
