//! The grammar of an answer that may or must call tools.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::head::{BLANK, MAX_BLANKS};
use super::{MAX_CALLS, TAGS, ToolError, ToolForm, check};
use crate::chat::{Tool, ToolChoice};
use crate::constraint::{Separators, prepare};
use crate::llm::Format;

/// What an answer must look like so that calls name listed tools and their arguments satisfy the tools' schemas; `None`
/// where no tool can be called. `form` is how the model calls when it must.
///
/// # Errors
/// [`ToolError`].
pub fn format(
    tools: &[Tool],
    choice: &ToolChoice,
    parallel: bool,
    form: ToolForm,
) -> Result<Option<Format>, ToolError> {
    check(tools, choice)?;
    if tools.is_empty() || *choice == ToolChoice::None {
        return Ok(None);
    }
    let mut lark = String::new();
    let mut listed = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        if matches!(choice, ToolChoice::Named(name) if *name != tool.name) {
            continue;
        }
        let schema = arguments(&tool.parameters).and_then(|schema| prepare(&schema, Separators::Spaced));
        let schema = schema.map_err(|error| ToolError::Parameters { index, error })?;
        let name = &tool.name;
        // `c`: a call as it is made to be written; `f` and `b`: the rest of one that the model has begun itself.
        let _ = writeln!(lark, "a{index}: %json {schema}");
        let _ = writeln!(lark, "c{index}: C{index} a{index} \"}}\"");
        let _ = writeln!(lark, "C{index}: /\\{{\"name\": ?\"{name}\", ?\"arguments\": ?/");
        listed.push((index, name));
    }
    let any = |rule: &str| {
        let rules: Vec<String> = listed.iter().map(|(index, _)| format!("{rule}{index}")).collect();
        rules.join(" | ")
    };
    let (open, close) = TAGS;
    let _ = writeln!(lark, "call: {}", any("c"));
    let more = MAX_CALLS - 1;
    if *choice != ToolChoice::Auto {
        let call = match form {
            ToolForm::Tagged => format!("\"{open}\\n\" call \"\\n{close}\""),
            ToolForm::Bare => "call".to_owned(),
        };
        let _ = writeln!(lark, "forced: {call}");
        let _ = match parallel {
            true => writeln!(lark, "start: forced (\"\\n\" forced){{0,{more}}}"),
            false => writeln!(lark, "start: forced"),
        };
        return Ok(Some(Format::Lark(lark)));
    }
    let blanks = format!("{BLANK}{{0,{MAX_BLANKS}}}");
    for (index, name) in &listed {
        let object = format!(
            "\\{{{blanks}\"name\"{blanks}:{blanks}\"{name}\"{blanks},{blanks}\"(arguments|parameters)\"{blanks}:"
        );
        let _ = writeln!(lark, "f{index}: g{index} \" \"? a{index} FENCED");
        let _ = writeln!(lark, "g{index}[lazy]: TEXT /```(json)?{blanks}{object}/");
        let _ = writeln!(lark, "b{index}: h{index} \" \"? a{index} BARE");
        let _ = writeln!(lark, "h{index}[lazy]: /{blanks}{object}/");
    }
    let _ = write!(
        lark,
        "FENCED: /[ \\n]{{0,2}}\\}}[ \\n]{{0,2}}```/\nBARE: /[ \\n]{{0,2}}\\}}/\n\
         TEXT: /(?s:.*)/\n\
         tail: TEXT\n\
         tag[lazy]: TEXT \"{open}\"\n\
         tagged: tag \"\\n\"? call \"\\n\"? \"{close}\"\n\
         piece: tagged | {}\n\
         bare: {}\n",
        any("f"),
        any("b")
    );
    let _ = match parallel {
        true => writeln!(lark, "start: bare{{0,{MAX_CALLS}}} piece{{0,{MAX_CALLS}}} tail"),
        false => writeln!(lark, "start: tail | bare | piece"),
    };
    Ok(Some(Format::Lark(lark)))
}

/// A tool's schema as that of an object. One that says nothing is that of a tool without parameters.
fn arguments(parameters: &Value) -> Result<Value, crate::constraint::ConstraintError> {
    let empty = json!({"type": "object", "additionalProperties": false});
    let map = match parameters {
        Value::Null => return Ok(empty),
        Value::Object(map) => map,
        _ => return Ok(parameters.clone()),
    };
    if !matches!(map.get("type"), None | Some(Value::Null)) && map.get("type") != Some(&json!("object")) {
        return Err(crate::constraint::ConstraintError::Schema {
            at: "/type".to_owned(),
            problem: "arguments are a JSON object: `object` is wanted".to_owned(),
        });
    }
    let mut map = map.clone();
    let applied = ["$ref", "allOf", "anyOf", "oneOf", "enum", "const"]
        .iter()
        .any(|keyword| map.contains_key(*keyword));
    if applied {
        return Ok(Value::Object(map));
    }
    map.insert("type".to_owned(), json!("object"));
    let named = map
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|names| !names.is_empty());
    let open = ["additionalProperties", "patternProperties", "required", "minProperties"];
    if !named && open.iter().all(|keyword| !map.contains_key(*keyword)) {
        map.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Ok(Value::Object(map))
}
