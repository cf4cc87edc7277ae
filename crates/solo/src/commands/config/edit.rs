//! One key of the file: its value parsed as the default's type, the change checked by the service that owns the section,
//! then written in one step.

use std::path::Path;

use solo_service::config::{self, Inputs};
use toml::Value;
use toml_edit::{DocumentMut, Item, Table};

use super::check;
use crate::failure::{Exit, Failure};
use crate::services;

/// Reads what was typed as the type that the key's default has.
pub(super) fn parse(default: &Value, key: &str, text: &str) -> Result<Value, Failure> {
    let wanted = |what: &str| Failure::new(Exit::Configuration, format!("{key}: {what} is wanted, found `{text}`"));
    let trimmed = text.trim();
    Ok(match default {
        Value::Table(_) => {
            return Err(
                Failure::new(Exit::Configuration, format!("{key} is a section, not a key"))
                    .help(format!("`solo config get {key}` lists its keys")),
            );
        }
        Value::Integer(_) => Value::Integer(trimmed.parse().map_err(|_| wanted("a whole number"))?),
        Value::Float(_) => Value::Float(trimmed.parse().map_err(|_| wanted("a number"))?),
        Value::Boolean(_) => Value::Boolean(trimmed.parse().map_err(|_| wanted("true or false"))?),
        Value::Array(_) if trimmed.starts_with('[') => toml::from_str::<toml::Table>(&format!("value = {trimmed}"))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .ok_or_else(|| wanted("a list as `a,b` or `[\"a\", \"b\"]`"))?,
        Value::Array(_) => {
            let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.into())).collect())
        }
        Value::String(_) | Value::Datetime(_) => Value::String(text.to_owned()),
    })
}

/// Sets a key, or takes it out. Gives a remark when the file has other faults still.
///
/// # Errors
/// When the file cannot be read or written, or when the owner of the section refuses the value.
pub(super) async fn change(
    file: &Path,
    inputs: &Inputs,
    key: &str,
    value: Option<&Value>,
) -> Result<Option<String>, Failure> {
    let cannot =
        |what: &str, e: &dyn std::fmt::Display| Failure::failed(format!("{} cannot be {what}: {e}", file.display()));
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(cannot("read", &e)),
    };
    let mut document: DocumentMut = text.parse().map_err(|e| {
        Failure::new(Exit::Configuration, format!("{} is no TOML: {e}", file.display()))
            .help("correct it in an editor first")
    })?;
    put(&mut document, key, value).map_err(|e| Failure::new(Exit::Configuration, e))?;
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| cannot("written", &e))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.{}.toml", std::process::id()));
    std::fs::write(&draft, document.to_string()).map_err(|e| cannot("written", &e))?;
    let verdict = judge(&draft, inputs, key).await;
    let written = match verdict {
        Ok(remark) => std::fs::rename(&draft, file)
            .map(|()| remark)
            .map_err(|e| cannot("written", &e)),
        Err(failure) => Err(failure),
    };
    if written.is_err() {
        // The failure is what counts; a draft that stays harms nobody.
        let _ = std::fs::remove_file(&draft);
    }
    written
}

/// Lets the owner of the section check the draft: a fault of this very key is refused, others are remarked.
async fn judge(draft: &Path, inputs: &Inputs, key: &str) -> Result<Option<String>, Failure> {
    let section = key.split('.').next().unwrap_or(key);
    let faults = match services::find(section) {
        Some(service) => {
            if services::binary(service).is_err() {
                return Ok(Some(format!(
                    "warning: {} is not built, so the value was not checked",
                    service.name
                )));
            }
            let checked = check::check(service, inputs, Some(draft)).await;
            if checked.ok { String::new() } else { checked.message }
        }
        None => {
            let inputs = Inputs {
                file: Some(draft.to_owned()),
                ..inputs.clone()
            };
            config::load_global(&inputs)
                .err()
                .map(|faults| faults.to_string())
                .unwrap_or_default()
        }
    };
    let own: Vec<&str> = faults
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with(&format!("{key}:")))
        .collect();
    match (own.as_slice(), faults.is_empty()) {
        ([], true) => Ok(None),
        ([], false) => Ok(Some(format!(
            "warning: {}",
            faults.replace(&draft.display().to_string(), "the file")
        ))),
        (own, _) => {
            let text = own.join("\n").replace(&format!(" (in {})", draft.display()), "");
            Err(Failure::new(Exit::Configuration, text).help("nothing was changed"))
        }
    }
}

fn put(document: &mut DocumentMut, key: &str, value: Option<&Value>) -> Result<(), String> {
    let mut path: Vec<&str> = key.split('.').collect();
    let last = path.pop().unwrap_or(key);
    let mut table: &mut Table = document.as_table_mut();
    for (depth, part) in path.iter().enumerate() {
        let item = match (table.contains_key(part), value) {
            (false, None) => return Ok(()),
            (false, Some(_)) => {
                let mut section = Table::new();
                // `[stt.vad]` alone says that there is an `[stt]`.
                section.set_implicit(depth + 1 < path.len());
                table.entry(part).or_insert(Item::Table(section))
            }
            (true, _) => table.entry(part).or_insert(Item::None),
        };
        if let Some(inline) = item.as_inline_table() {
            *item = Item::Table(inline.clone().into_table());
        }
        table = item
            .as_table_mut()
            .ok_or_else(|| format!("{} is no section in the file", path[..=depth].join(".")))?;
    }
    let Some(value) = value else {
        table.remove(last);
        return Ok(());
    };
    let mut new: toml_edit::Value = value.to_string().parse().map_err(|e| format!("{key}: {e}"))?;
    match table.get_mut(last).and_then(Item::as_value_mut) {
        // What stands around the old value, a comment behind it above all, stays.
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => drop(table.insert(last, Item::Value(new))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, key: &str, value: &Value) -> String {
        let mut document: DocumentMut = text.parse().unwrap();
        put(&mut document, key, Some(value)).unwrap();
        document.to_string()
    }

    #[test]
    fn comments_survive_a_change() {
        let before = "# mine\n[llm]\n# the model\nmodel = \"a\" # small\nthreads = 2\n";
        let after = set(before, "llm.model", &Value::String("b".into()));
        assert_eq!(
            after,
            "# mine\n[llm]\n# the model\nmodel = \"b\" # small\nthreads = 2\n"
        );
    }

    #[test]
    fn missing_sections_are_made() {
        let after = set("", "stt.vad.threshold", &Value::Float(0.6));
        assert_eq!(after, "[stt.vad]\nthreshold = 0.6\n");
        let after = set("[stt]\nlanguage = \"de\"\n", "stt.vad.threshold", &Value::Float(0.6));
        assert!(
            after.starts_with("[stt]\nlanguage = \"de\"\n") && after.contains("[stt.vad]\nthreshold = 0.6\n"),
            "{after}"
        );
        let after = set("", "wake.keywords", &Value::Array(vec![Value::String("a".into())]));
        assert_eq!(after, "[wake]\nkeywords = [\"a\"]\n");
    }

    #[test]
    fn a_key_can_be_taken_out() {
        let mut document: DocumentMut = "[llm]\nmodel = \"a\"\nthreads = 2\n".parse().unwrap();
        put(&mut document, "llm.model", None).unwrap();
        put(&mut document, "stt.vad.threshold", None).unwrap();
        assert_eq!(document.to_string(), "[llm]\nthreads = 2\n");
    }

    #[test]
    fn values_take_the_type_of_the_default() {
        let of = |default: Value, text| parse(&default, "k", text);
        assert_eq!(of(Value::Integer(1), "8"), Ok(Value::Integer(8)));
        assert_eq!(of(Value::Float(1.0), "2"), Ok(Value::Float(2.0)));
        assert_eq!(of(Value::String(String::new()), "8"), Ok(Value::String("8".into())));
        assert_eq!(of(Value::Array(vec![]), "a, b").unwrap().to_string(), r#"["a", "b"]"#);
        assert_eq!(of(Value::Array(vec![]), r#"["a"]"#).unwrap().to_string(), r#"["a"]"#);
        let refused = of(Value::Integer(1), "eight").unwrap_err();
        assert_eq!(refused.message, "k: a whole number is wanted, found `eight`");
        assert_eq!(refused.exit, Exit::Configuration);
        assert!(of(Value::Table(toml::Table::new()), "x").is_err());
    }
}
