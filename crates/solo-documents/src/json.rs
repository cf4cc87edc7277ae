//! JSON becomes lines of "path: value", so that every value is found with what it is the value of.

use serde_json::Value;

use super::{Bounded, Extracted, Refusal};

/// Reads one value. Nesting deeper than 128 is refused by the parser.
pub(super) fn extract(json: &str, max_text_bytes: usize) -> Result<Extracted, Refusal> {
    let value: Value = serde_json::from_str(json).map_err(|error| Refusal::broken("JSON file", error))?;
    let mut text = Bounded::new(max_text_bytes);
    write("", &value, &mut text)?;
    Ok(extracted(text, &value))
}

/// Reads a value a line.
pub(super) fn extract_lines(json: &str, max_text_bytes: usize) -> Result<Extracted, Refusal> {
    let mut text = Bounded::new(max_text_bytes);
    for (index, line) in json.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value: Value = serde_json::from_str(line)
            .map_err(|error| Refusal::broken("JSON Lines file", format!("line {}: {error}", index + 1)))?;
        write("", &value, &mut text)?;
        text.paragraph()?;
    }
    Ok(Extracted {
        text: text.text,
        ..Extracted::default()
    })
}

fn extracted(text: Bounded, value: &Value) -> Extracted {
    let title = ["title", "name"].iter().find_map(|key| value.get(*key)?.as_str());
    Extracted {
        text: text.text,
        title: title.map(str::to_owned),
        ..Extracted::default()
    }
}

/// Objects in a list are paragraphs; everything else is a line.
fn write(path: &str, value: &Value, text: &mut Bounded) -> Result<(), Refusal> {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                write(&path, value, text)?;
            }
            Ok(())
        }
        Value::Array(list) if list.iter().all(is_scalar) => {
            let values: Vec<String> = list.iter().map(scalar).collect();
            line(path, &values.join(", "), text)
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                write(&format!("{path}[{index}]"), value, text)?;
                text.paragraph()?;
            }
            Ok(())
        }
        value => line(path, &scalar(value), text),
    }
}

fn line(path: &str, value: &str, text: &mut Bounded) -> Result<(), Refusal> {
    if value.is_empty() {
        return Ok(());
    }
    if !path.is_empty() {
        text.push(path)?;
        text.push(": ")?;
    }
    text.push(value)?;
    text.push("\n")
}

fn is_scalar(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
