//! Calls in all their forms: constrained while they are written, told from text however they are cut.

mod streams;

use serde_json::{Value, json};

use super::*;
use crate::constraint::Constraint;
use crate::constraint::tests::{grammars, matches};
use crate::llm::Format;

fn tool(name: &str, parameters: Value) -> Tool {
    Tool {
        name: name.to_owned(),
        description: format!("does {name}"),
        parameters,
    }
}

fn tools() -> Vec<Tool> {
    vec![
        tool(
            "get_weather",
            json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}}, "required": ["city"]}),
        ),
        tool("get", json!({"type": "object", "properties": {}})),
        tool(
            "set-light",
            json!({"properties": {"on": {"type": "boolean"}}, "required": ["on"]}),
        ),
    ]
}

fn constraint(choice: &ToolChoice, parallel: bool, form: ToolForm) -> Constraint {
    let format = format(&tools(), choice, parallel, form).unwrap().unwrap();
    grammars()
        .compile(&format)
        .unwrap_or_else(|error| panic!("{error}: {format:?}"))
}

const WEATHER: &str = "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": 3}}";
const LIGHT: &str = "{\"name\":\"set-light\",\"arguments\":{\"on\":true}}";

#[test]
fn auto_leaves_text_free_and_holds_calls_to_their_schemas() {
    let auto = constraint(&ToolChoice::Auto, true, ToolForm::Tagged);
    let good = [
        "",
        "Hello! <b>1 < 2</b> `code` ```rust\nfn main() {}\n```",
        "{\"name\": \"Bob\", \"age\": 3}",
        "{\"name\": \"get_weather\"}",
        "```json\n{\"name\": \"my-app\", \"version\": \"1.0\"}\n```",
        &format!("<tool_call>\n{WEATHER}\n</tool_call>"),
        &format!("Let me see.\n<tool_call>\n{WEATHER}\n</tool_call>\n<tool_call>{LIGHT}</tool_call> and so on"),
        &format!("```json\n{WEATHER}\n```"),
        &format!("Here:\n```\n{LIGHT}\n``` done"),
        WEATHER,
        &format!("{WEATHER}\n{LIGHT}"),
        "{\n  \"name\": \"set-light\",\n  \"parameters\": {\"on\": false}\n}",
        "<tool_call>\n{\"name\": \"get\", \"arguments\": {}}\n</tool_call>",
    ];
    for text in good {
        assert!(matches(&auto, text), "should be possible: {text:?}");
    }
    let bad = [
        "<tool_call>",
        "<tool_call>\n{\"name\": \"unlisted\", \"arguments\": {}}\n</tool_call>",
        "<tool_call>\nnothing",
        "ok <tool_call>\n{\"name\": \"get\", \"arguments\": {\"x\": 1}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"days\": 3}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}\n",
        "```json\n{\"name\": \"set-light\", \"arguments\": {\"on\": 1}}\n```",
        "{\"name\": \"set-light\", \"arguments\": {\"off\": true}}",
        "{\"name\": \"set-light\", \"arguments\": 7",
    ];
    for text in bad {
        assert!(!matches(&auto, text), "should not be possible: {text:?}");
    }
}

#[test]
fn a_single_call_is_the_end() {
    let single = constraint(&ToolChoice::Auto, false, ToolForm::Tagged);
    let tagged = format!("<tool_call>\n{WEATHER}\n</tool_call>");
    for text in [
        "Just text.",
        &tagged,
        WEATHER,
        &format!("Yes. {tagged}"),
        &format!("```json\n{LIGHT}\n```"),
    ] {
        assert!(matches(&single, text), "{text:?}");
    }
    for text in [
        format!("{tagged}\n{tagged}"),
        format!("{tagged} more"),
        format!("{WEATHER}\n{LIGHT}"),
    ] {
        assert!(!matches(&single, &text), "{text:?}");
    }
}

#[test]
fn a_call_that_must_come_comes() {
    let tagged = format!("<tool_call>\n{WEATHER}\n</tool_call>");
    let two = format!("{tagged}\n<tool_call>\n{LIGHT}\n</tool_call>");
    let named = ToolChoice::Named("set-light".to_owned());
    let cases = [
        (
            constraint(&ToolChoice::Required, false, ToolForm::Tagged),
            vec![tagged.as_str()],
            vec!["", "text", WEATHER, &two],
        ),
        (
            constraint(&ToolChoice::Required, true, ToolForm::Tagged),
            vec![&tagged, &two],
            vec!["", "text"],
        ),
        (
            constraint(&ToolChoice::Required, false, ToolForm::Bare),
            vec![WEATHER, LIGHT],
            vec!["", &tagged],
        ),
        (
            constraint(&named, false, ToolForm::Bare),
            vec![LIGHT],
            vec!["", WEATHER],
        ),
    ];
    for (constraint, good, bad) in cases {
        for text in good {
            assert!(matches(&constraint, text), "{text:?}");
        }
        for text in bad {
            assert!(!matches(&constraint, text), "{text:?}");
        }
    }
}

#[test]
fn tools_that_are_not_to_be_called_are_not_offered() {
    assert_eq!(format(&tools(), &ToolChoice::None, true, ToolForm::Tagged), Ok(None));
    assert_eq!(format(&[], &ToolChoice::Auto, true, ToolForm::Tagged), Ok(None));
    assert!(offered(&tools(), &ToolChoice::None).is_empty());
    assert_eq!(offered(&tools(), &ToolChoice::Auto).len(), 3);
}

#[test]
fn wrong_tools_are_refused_with_their_place() {
    let object = || json!({"type": "object"});
    let cases = [
        (vec![tool("a b", object())], ToolChoice::Auto, "tools[0].name"),
        (vec![tool("", object())], ToolChoice::Auto, "tools[0].name"),
        (vec![tool(&"x".repeat(65), object())], ToolChoice::Auto, "tools[0].name"),
        (
            vec![tool("a", object()), tool("a", object())],
            ToolChoice::Auto,
            "tools[1].name",
        ),
        (vec![], ToolChoice::Required, "tool_choice"),
        (tools(), ToolChoice::Named("none".into()), "tool_choice.name"),
        (
            (0..=MAX_TOOLS).map(|n| tool(&format!("t{n}"), object())).collect(),
            ToolChoice::Auto,
            "tools",
        ),
        (
            vec![tool("a", json!({"type": "string"}))],
            ToolChoice::Auto,
            "tools[0].parameters",
        ),
        (
            vec![tool("a", json!({"properties": {"b": {"not": {}}}}))],
            ToolChoice::Auto,
            "tools[0].parameters",
        ),
    ];
    for (tools, choice, field) in cases {
        let error = format(&tools, &choice, true, ToolForm::Tagged).unwrap_err();
        assert_eq!(error.field(), field, "{error}");
        assert!(error.to_string().starts_with(field), "{error}");
    }
    let error = format(
        &[tool("a", json!({"properties": {"b": {"not": {}}}}))],
        &ToolChoice::Auto,
        true,
        ToolForm::Bare,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "tools[0].parameters: /properties/b/not: is not supported and would not be enforced: leave it out"
    );
    assert_eq!(error.reason(), "SCHEMA_NOT_SUPPORTED");
}

#[test]
fn a_call_that_has_begun_ends_in_time() {
    let mut auto = constraint(&ToolChoice::Auto, true, ToolForm::Tagged);
    assert_eq!(auto.reserve(), Some(0), "text may end at any time");
    let required = constraint(&ToolChoice::Required, true, ToolForm::Tagged).reserve();
    assert!(required.is_some_and(|tokens| tokens < 60), "{required:?}");
}

#[test]
fn many_tools_compile() {
    let many: Vec<Tool> = (0..MAX_TOOLS)
        .map(|n| tool(&format!("tool_number_{n}"), json!({"type": "object", "properties": {"text": {"type": "string"}, "count": {"type": "integer"}}, "required": ["text"]})))
        .collect();
    let begun = std::time::Instant::now();
    let format = format(&many, &ToolChoice::Auto, true, ToolForm::Tagged)
        .unwrap()
        .unwrap();
    let constraint = grammars().compile(&format).unwrap();
    println!("{MAX_TOOLS} tools compile in {:?}", begun.elapsed());
    assert!(matches(
        &constraint,
        "<tool_call>{\"name\": \"tool_number_77\", \"arguments\": {\"text\": \"x\"}}</tool_call>"
    ));
    assert!(!matches(
        &constraint,
        "<tool_call>{\"name\": \"tool_number_777\", \"arguments\": {\"text\": \"x\"}}</tool_call>"
    ));
    assert!(matches!(format, Format::Lark(_)));
}
