//! The card for people: a heading and aligned lines, in colours that vanish in pipes.

use super::card::{Card, Template};
use crate::terminal::{BAD, FAINT, GOOD, STRONG, WARN, columns, human_bytes, paint};

use anstyle::Style;

const PLAIN: Style = Style::new();

/// The whole text.
pub(super) fn text(card: &Card) -> String {
    let heading = match &card.name {
        Some(name) => format!("{}  {}", paint(STRONG, clean(name)), paint(FAINT, card.path.display())),
        None => paint(STRONG, card.path.display()),
    };
    let mut rows = vec![
        row("architecture", architecture(card)),
        row(
            "parameters",
            format!("{}, {} on disk", count(card.parameters), human_bytes(card.file_bytes)),
        ),
    ];
    for (index, share) in card.types.iter().enumerate() {
        let tensors = if share.tensors == 1 { "tensor" } else { "tensors" };
        let line = format!(
            "{:<7} {:>9}  in {} {tensors}",
            share.name,
            human_bytes(share.bytes),
            share.tensors
        );
        rows.push(row(if index == 0 { "quantisation" } else { "" }, line));
    }
    rows.push(row("context", context(card)));
    rows.push(row("vocabulary", vocabulary(card)));
    rows.extend(template(card.template.as_ref()));
    let memory = &card.memory;
    rows.push(row(
        "memory",
        format!(
            "weights {}; 1,000 tokens of context {} (f16) or {} (q8_0)",
            human_bytes(memory.weights_bytes),
            human_bytes(memory.kv_bytes_per_1k_tokens_f16),
            human_bytes(memory.kv_bytes_per_1k_tokens_q8_0)
        ),
    ));
    rows.extend(fit(card));
    format!("{heading}\n{}", columns(&rows))
}

fn row(label: &str, text: String) -> Vec<(String, Style)> {
    vec![(label.to_owned(), FAINT), (text, PLAIN)]
}

/// Text out of the file, without what could move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn architecture(card: &Card) -> String {
    let mut text = format!("{}, {} layers, {} wide", card.architecture, card.layers, card.width);
    if let Some(inner) = card.feed_forward {
        text.push_str(&format!(", feed-forward {inner}"));
    }
    if let Some(experts) = card.experts {
        text.push_str(&format!(", {experts} experts"));
    }
    if let Some(heads) = &card.attention {
        let (queries, shared, width) = (heads.queries, heads.keys_and_values, heads.width);
        text.push_str(&format!(", {queries} heads of {width} ({shared} for keys and values)"));
    }
    text
}

fn context(card: &Card) -> String {
    let mut text = format!("trained for {} tokens", thousands(card.trained_context.into()));
    if let Some(base) = card.rope.base {
        text.push_str(&format!(", RoPE base {base}"));
    }
    if card.rope.scaling != "none" {
        text.push_str(&format!(", {} scaling", card.rope.scaling));
        if let Some(factor) = card.rope.factor {
            text.push_str(&format!(" by {factor}"));
        }
        if let Some(original) = card.rope.original_context {
            text.push_str(&format!(" from {}", thousands(original)));
        }
    }
    text
}

fn vocabulary(card: &Card) -> String {
    let kind = match card.tokenizer.model.as_str() {
        "gpt2" => "byte-level BPE",
        "llama" => "SentencePiece",
        "bert" => "WordPiece",
        "t5" => "Unigram",
        other => other,
    };
    let pre = card
        .tokenizer
        .pre
        .as_deref()
        .map(|pre| format!(", splits as {}", clean(pre)));
    format!(
        "{} tokens, {}{}",
        thousands(card.vocabulary.into()),
        clean(kind),
        pre.unwrap_or_default()
    )
}

fn template(template: Option<&Template>) -> Vec<Vec<(String, Style)>> {
    let Some(template) = template else {
        return vec![row("chat template", "none: this model only continues text".into())];
    };
    if let Some(fault) = &template.fault {
        let text = format!("not understood: {}", clean(fault));
        return vec![vec![("chat template".into(), FAINT), (text, WARN)]];
    }
    let tools = if template.tools {
        "knows tools"
    } else {
        "knows no tools"
    };
    let names = template.variables.join(", ");
    let text = format!("{tools}; takes {} (`--template` prints it)", clean(&names));
    vec![row("chat template", text)]
}

fn fit(card: &Card) -> Vec<Vec<(String, Style)>> {
    let mut rows = Vec::new();
    let machine = &card.machine;
    let mut memory = format!("{} of RAM", human_bytes(machine.ram_bytes));
    for gpu in &machine.gpus {
        memory.push_str(&format!(
            ", {} with {} ({} free)",
            clean(&gpu.name),
            human_bytes(gpu.bytes),
            human_bytes(gpu.free_bytes)
        ));
    }
    rows.push(row("this machine", memory));
    for fit in &card.fit {
        let style = match fit.fits {
            "whole" => GOOD,
            "partly" => WARN,
            _ => BAD,
        };
        let label = if fit.with == "gpus" {
            "with GPUs"
        } else {
            "on the processor"
        };
        let text = format!("{} ({} tokens of context)", fit.text, thousands(fit.context.into()));
        rows.push(vec![(label.into(), FAINT), (text, style)]);
    }
    rows
}

/// "494.0 million".
fn count(number: u64) -> String {
    match number {
        0..1_000_000 => thousands(number),
        1_000_000..1_000_000_000 => format!("{:.1} million", number as f64 / 1e6),
        _ => format!("{:.1} billion", number as f64 / 1e9),
    }
}

/// "32,768".
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let grouped = [0, 999, 1000, 32_768, 1_048_576].map(thousands);
        assert_eq!(grouped, ["0", "999", "1,000", "32,768", "1,048,576"]);
        assert_eq!(count(494_032_768), "494.0 million");
        assert_eq!(count(7_600_000_000), "7.6 billion");
    }

    #[test]
    fn a_hostile_name_moves_no_cursor() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n"), "a[2Jb");
    }
}
