//! Schemas, tools and grammars out of files, with faults that say where and what to do.
//!
//! Schemas travel as `google.protobuf.Struct`, whose numbers are doubles: a number that a double cannot say is refused
//! here, not changed in silence. Its depth has a limit, too.

use std::collections::HashSet;
use std::path::Path;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Map, Value, json};
use solo_proto::llm::v1::Tool;
use solo_proto::llm::v1::response_format::Format;

use super::numbers;
use crate::commands::bytes_of;
use crate::failure::Failure;

/// llm-svc takes no more.
const MAX_TOOLS: usize = 128;
/// Messages within messages that gRPC's decoder follows (prost: 100), less those around a schema.
const MAX_NESTING: usize = 90;
const TOOLS_HELP: &str = "write [{\"name\": \"…\", \"description\": \"…\", \"parameters\": {…JSON schema…}}], or OpenAI's \
                          [{\"type\": \"function\", \"function\": {…}}]";

/// A JSON schema.
pub(super) fn schema(path: &Path) -> Result<Struct, Failure> {
    match json(path)? {
        Value::Object(schema) => structure(path, "the schema", schema),
        other => Err(
            wrong(path, &format!("a JSON schema is an object; this is {}", kind(&other)))
                .help("for instance {\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}}}"),
        ),
    }
}

/// Tools, bare or as OpenAI's API has them.
pub(super) fn tools(path: &Path) -> Result<Vec<Tool>, Failure> {
    let list = match json(path)? {
        Value::Array(list) => list,
        other => {
            let text = format!("an array of tools is wanted; this is {}", kind(&other));
            return Err(wrong(path, &text).help(TOOLS_HELP));
        }
    };
    if list.is_empty() || list.len() > MAX_TOOLS {
        let text = format!("it has {} tools; 1 to {MAX_TOOLS} are possible", list.len());
        return Err(wrong(path, &text).help(TOOLS_HELP));
    }
    let mut names = HashSet::new();
    let mut tools = Vec::new();
    for (index, entry) in list.into_iter().enumerate() {
        let tool = tool(path, index, entry)?;
        if !names.insert(tool.name.clone()) {
            return Err(wrong(path, &format!("two tools are called \"{}\"", tool.name)).help("rename one of them"));
        }
        tools.push(tool);
    }
    Ok(tools)
}

fn tool(path: &Path, index: usize, entry: Value) -> Result<Tool, Failure> {
    let fault = |text: &str| wrong(path, &format!("tool {}: {text}", index + 1)).help(TOOLS_HELP);
    let Value::Object(mut entry) = entry else {
        return Err(fault(&format!("an object is wanted; this is {}", kind(&entry))));
    };
    if let Some(inner) = entry.remove("function") {
        match entry.get("type").and_then(Value::as_str) {
            Some("function") | None => {}
            Some(other) => {
                return Err(fault(&format!(
                    "\"type\" is \"{other}\"; only \"function\" can be called"
                )));
            }
        }
        let Value::Object(inner) = inner else {
            return Err(fault(&format!("\"function\" is {}, not an object", kind(&inner))));
        };
        entry = inner;
    }
    let name = match entry.remove("name") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(fault(&format!("\"name\" is {}, not a text", kind(&other)))),
        None => return Err(fault("it has no \"name\"")),
    };
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !letters || name.is_empty() || name.len() > 64 {
        let text = format!("{name:?} is no name: letters, digits, \"_\" and \"-\", 1 to 64 of them");
        return Err(fault(&text));
    }
    let description = match entry.remove("description") {
        Some(Value::String(description)) => description,
        None | Some(Value::Null) => String::new(),
        Some(other) => return Err(fault(&format!("\"description\" is {}, not a text", kind(&other)))),
    };
    let parameters = match entry.remove("parameters") {
        Some(Value::Object(parameters)) => parameters,
        None | Some(Value::Null) => Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), json!({})),
        ]),
        Some(other) => return Err(fault(&format!("\"parameters\" is {}, not a JSON schema", kind(&other)))),
    };
    let parameters = structure(path, &format!("the parameters of {name}"), parameters)?;
    Ok(Tool {
        name,
        description,
        parameters: Some(parameters),
    })
}

/// A grammar, whose kind its text tells.
pub(super) fn grammar(path: &Path) -> Result<Format, Failure> {
    let text = text(path)?;
    if text.trim().is_empty() {
        return Err(wrong(path, "it is empty").help("write a grammar in GBNF (`root ::= …`) or Lark (`start: …`)"));
    }
    let named = |extension: &str| {
        path.extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(extension))
    };
    let gbnf = named("gbnf") || (!named("lark") && text.contains("::="));
    Ok(if gbnf { Format::Gbnf(text) } else { Format::Lark(text) })
}

fn text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(bytes_of(path)?).map_err(|error| {
        wrong(path, &format!("byte {} is no UTF-8", error.utf8_error().valid_up_to())).help("save it as UTF-8")
    })
}

fn json(path: &Path) -> Result<Value, Failure> {
    let text = text(path)?;
    let value = serde_json::from_str(&text).map_err(|error| {
        let failure = wrong(path, &format!("it is no JSON: {error}"));
        failure.help("the fault is at that line and column, or just before")
    })?;
    if let Some(changed) = numbers::changed(&text) {
        let (line, column) = (changed.line, changed.column);
        let text = format!(
            "line {line} column {column}: {} would become {}",
            changed.written, changed.becomes
        );
        return Err(wrong(path, &text).help("numbers travel as doubles: write one with at most 15 digits"));
    }
    Ok(value)
}

fn structure(path: &Path, what: &str, object: Map<String, Value>) -> Result<Struct, Failure> {
    let depth = nesting(&object);
    if depth > MAX_NESTING {
        let text = format!("{what} is nested too deeply for the wire");
        return Err(wrong(path, &text).help("use \"$defs\" and \"$ref\" instead of nesting"));
    }
    Ok(to_struct(object))
}

/// Messages within messages that an object becomes.
fn nesting(object: &Map<String, Value>) -> usize {
    let of_value = |value: &Value| match value {
        Value::Object(object) => 2 + nesting(object),
        Value::Array(list) => 2 + list_nesting(list),
        _ => 2,
    };
    // The map's entry, and the value in it.
    object.values().map(of_value).max().unwrap_or(0) + 1
}

fn list_nesting(list: &[Value]) -> usize {
    let of_value = |value: &Value| match value {
        Value::Object(object) => 1 + nesting(object),
        Value::Array(list) => 1 + list_nesting(list),
        _ => 1,
    };
    list.iter().map(of_value).max().unwrap_or(0) + 1
}

fn to_struct(object: Map<String, Value>) -> Struct {
    Struct {
        fields: object.into_iter().map(|(key, value)| (key, to_value(value))).collect(),
    }
}

fn to_value(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        // `numbers::changed` has looked at it; JSON as serde_json reads it has no number beyond f64's.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(list) => Kind::ListValue(ListValue {
            values: list.into_iter().map(to_value).collect(),
        }),
        Value::Object(object) => Kind::StructValue(to_struct(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn wrong(path: &Path, what: &str) -> Failure {
    let name = if path.as_os_str() == "-" {
        "standard input".into()
    } else {
        path.display().to_string()
    };
    Failure::failed(format!("{name}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn both_shapes_of_tools_are_the_same() {
        let bare = file(r#"[{"name": "add", "description": "Adds.", "parameters": {"type": "object"}}]"#);
        let openai = file(
            r#"[{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}}]"#,
        );
        assert_eq!(tools(bare.path()).unwrap(), tools(openai.path()).unwrap());
        let short = tools(file(r#"[{"name": "now"}]"#).path()).unwrap();
        assert!(short[0].parameters.as_ref().unwrap().fields.contains_key("properties"));
    }

    #[test]
    fn every_fault_says_what_and_where() {
        let refused = |text: &str, words: &str| {
            let failure = tools(file(text).path()).unwrap_err();
            assert!(failure.message.contains(words), "{text}: {}", failure.message);
            assert!(failure.help.is_some(), "{text}");
        };
        refused("[", "line 1 column 1");
        refused("{}", "an array of tools is wanted; this is an object");
        refused("[]", "0 tools");
        refused("[3]", "tool 1: an object is wanted; this is a number");
        refused(r#"[{"name": "a"}, {}]"#, "tool 2: it has no \"name\"");
        refused(r#"[{"name": "a b"}]"#, "is no name");
        refused(r#"[{"name": "a"}, {"name": "a"}]"#, "two tools");
        refused(r#"[{"type": "web_search", "function": {"name": "a"}}]"#, "web_search");
        refused(r#"[{"function": 3}]"#, "\"function\" is a number");
        refused(r#"[{"name": "a", "parameters": []}]"#, "\"parameters\" is an array");
        refused(
            r#"[{"name": "a", "parameters": {"maximum": 9007199254740993}}]"#,
            "9007199254740993 would become",
        );
        let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
        refused(
            &format!(r#"[{{"name": "a", "parameters": {{"x": {deep}}}}}]"#),
            "too deeply",
        );
        assert!(
            schema(file("[1]").path())
                .unwrap_err()
                .message
                .contains("this is an array")
        );
    }

    #[test]
    fn grammars_are_told_apart() {
        let lark = grammar(file("start: \"a\"").path()).unwrap();
        assert!(matches!(lark, Format::Lark(_)));
        assert!(matches!(
            grammar(file("root ::= \"a\"").path()).unwrap(),
            Format::Gbnf(_)
        ));
        assert!(grammar(file(" \n").path()).is_err());
    }
}
