//! E-mails, by mail-parser: who wrote to whom, when, about what, and what they wrote. Attachments are named, not read.

use mail_parser::{Address, Message, MessageParser, MimeHeaders, PartType};

use super::{Extracted, Refusal, html};

/// Reads an e-mail.
pub(super) fn extract(bytes: &[u8]) -> Result<Extracted, Refusal> {
    let message = MessageParser::default()
        .parse(bytes)
        .ok_or_else(|| Refusal::broken("e-mail", "it has no headers"))?;
    let body = body(&message)?;
    let subject = message.subject().map(str::to_owned);
    if body.trim().is_empty() && subject.is_none() {
        return Err(Refusal::Empty);
    }
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("{name}: {value}\n"));
        }
    };
    line("From", message.from().map(people));
    line("To", message.to().map(people));
    line("Cc", message.cc().map(people));
    line("Date", message.date().map(mail_parser::DateTime::to_rfc3339));
    line("Subject", subject.clone());
    let attached: Vec<&str> = message.attachments().filter_map(MimeHeaders::attachment_name).collect();
    line("Attachments", Some(attached.join(", ")));
    text.push('\n');
    text.push_str(body.trim());
    let warnings = if attached.is_empty() {
        Vec::new()
    } else {
        vec![format!(
            "the attachments are named, not read: {}; put them by themselves",
            attached.join(", ")
        )]
    };
    Ok(Extracted {
        title: subject,
        text,
        warnings,
        ..Extracted::default()
    })
}

fn body(message: &Message<'_>) -> Result<String, Refusal> {
    let mut body = String::new();
    for part in message.text_bodies() {
        match &part.body {
            PartType::Html(page) => body.push_str(&html::to_markdown(page)?),
            PartType::Text(text) => body.push_str(text),
            _ => continue,
        }
        body.push_str("\n\n");
    }
    Ok(body)
}

fn people(address: &Address<'_>) -> String {
    let names = address.iter().map(|person| match (person.name(), person.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    });
    names.collect::<Vec<_>>().join(", ")
}
