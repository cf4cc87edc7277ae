//! A model file's own chat template is a program: it may fail, it may not run on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_svc::chat::{ChatTemplate, Message, Role, Tool};
use llm_svc::tokenizer::Specials;

fuzz_target!(|data: &[u8]| {
    let Ok(source) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(template) = ChatTemplate::new(source) else {
        return;
    };
    let messages = [
        Message::new(Role::System, "Be brief."),
        Message::new(Role::User, "What time is it?"),
    ];
    let tools = [Tool {
        name: "clock".to_owned(),
        description: "The time".to_owned(),
        parameters: serde_json::json!({"type": "object"}),
    }];
    let _ = template.render_with_tools(&messages, &tools, &Specials::default(), '\u{200b}');
});
