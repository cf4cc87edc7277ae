//! Tools for models whose templates know none: told in words.
//!
//! What the template would have shown is said in the system message, calls are the JSON that the model was asked for, and
//! results come from the user, whom every template knows. Constrained decoding ([`crate::tools`]) does the rest.

use super::json::spaced;
use super::{Message, Role, Tool};

/// The dialogue in messages without calls, results or tools.
pub(super) fn fold(messages: &[Message], tools: &[Tool]) -> Vec<Message> {
    let mut folded: Vec<Message> = Vec::with_capacity(messages.len() + 1);
    if !tools.is_empty() && messages.first().is_none_or(|message| message.role != Role::System) {
        folded.push(Message::new(Role::System, describe(tools)));
    }
    let mut results = false;
    for (index, message) in messages.iter().enumerate() {
        let content = match message.role {
            Role::System if index == 0 && !tools.is_empty() => format!("{}\n\n{}", message.content, describe(tools)),
            Role::Assistant if !message.tool_calls.is_empty() => {
                let calls = message.tool_calls.iter().map(|call| {
                    let name = serde_json::Value::from(call.name.as_str());
                    format!("{{\"name\": {name}, \"arguments\": {}}}", spaced(&call.arguments))
                });
                let said = Some(message.content.clone()).filter(|content| !content.is_empty());
                said.into_iter().chain(calls).collect::<Vec<_>>().join("\n")
            }
            Role::Tool => {
                let result = match super::called(messages, index) {
                    Some(name) => format!("Result of {name}: {}", message.content),
                    None => format!("Result: {}", message.content),
                };
                if let (true, Some(last)) = (results, folded.last_mut()) {
                    last.content.push('\n');
                    last.content.push_str(&result);
                    continue;
                }
                result
            }
            _ => message.content.clone(),
        };
        results = message.role == Role::Tool;
        let role = if results { Role::User } else { message.role };
        folded.push(Message::new(role, content));
    }
    folded
}

fn describe(tools: &[Tool]) -> String {
    let mut text = String::from("You can call these tools:\n");
    for tool in tools {
        text.push_str(&format!(
            "- {}: {} Parameters as JSON schema: {}\n",
            tool.name,
            tool.description.trim(),
            spaced(&tool.parameters)
        ));
    }
    text.push_str(
        "To call a tool, answer with nothing but a JSON object: \
         {\"name\": name of the tool, \"arguments\": {its parameters}}. \
         You are given the result. When no tool is needed, answer in words.",
    );
    text
}
