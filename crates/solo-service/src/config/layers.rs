//! Merging the layers of one section, remembering where each value came from.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Faults, Inputs, SECTIONS};

/// The configuration file, parsed.
pub(super) struct File {
    name: String,
    table: Table,
}

/// Reads the file that the inputs name; one that was named must be there.
pub(super) fn read_file(inputs: &Inputs, faults: &mut Faults) -> Option<File> {
    let (name, text) = match &inputs.inline {
        Some(text) => ("inline configuration".to_owned(), text.clone()),
        None => {
            let path = inputs.resolved_file()?;
            let name = path.display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(text) => (name, text),
                Err(error) => {
                    faults.add_from("", format!("the file cannot be read: {error}"), name);
                    return None;
                }
            }
        }
    };
    let table: Table = match toml::from_str(&text) {
        Ok(table) => table,
        Err(error) => {
            faults.add_from(
                "",
                format!("the file is no TOML: {}", error.to_string().trim_end()),
                name,
            );
            return None;
        }
    };
    for (key, value) in &table {
        if !SECTIONS.contains(&key.as_str()) {
            faults.add_from(
                key,
                format!("no such section{}", suggestion(key, SECTIONS.iter().copied())),
                &name,
            );
        } else if !value.is_table() {
            faults.add_from(key, "a section is wanted: `[…]`", &name);
        }
    }
    Some(File { name, table })
}

/// One section, merged.
pub(super) struct Section {
    name: String,
    defaults: Table,
    values: Table,
    origins: HashMap<String, String>,
}

impl Section {
    /// Lays file, environment and flags over the defaults. Unknown keys become faults and are left out.
    pub(super) fn merge(name: &str, defaults: &str, file: Option<&File>, inputs: &Inputs, faults: &mut Faults) -> Self {
        // The defaults are part of the program; each service's tests load them.
        let defaults: Table = toml::from_str(defaults).expect("embedded defaults are TOML");
        let defaults = match defaults.get(name) {
            Some(Value::Table(table)) => table.clone(),
            _ => panic!("embedded defaults have a section [{name}]"),
        };
        let mut section = Self {
            name: name.to_owned(),
            values: defaults.clone(),
            defaults,
            origins: HashMap::new(),
        };
        if let Some((file, Value::Table(table))) = file.and_then(|file| Some((file, file.table.get(name)?))) {
            section.lay_table(&mut Vec::new(), table, &file.name, faults);
        }
        for (variable, path) in environment_keys(name, inputs) {
            section.lay_text(
                &path,
                &inputs.environment[&variable],
                &format!("environment variable {variable}"),
                faults,
            );
        }
        for (key, value) in &inputs.flags {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            match path.split_first() {
                Some((first, rest)) if first == name => {
                    section.lay_text(rest, value, &format!("flag --set {key}"), faults);
                }
                // Every section is merged with the same flags: only [global] reports what belongs to none.
                Some((first, _)) if name == "global" && !SECTIONS.contains(&first.as_str()) => {
                    let hint = suggestion(first, SECTIONS.iter().copied());
                    faults.add_from(key, format!("no such section{hint}"), format!("flag --set {key}"));
                }
                _ => {}
            }
        }
        section
    }

    fn lay_table(&mut self, path: &mut Vec<String>, table: &Table, origin: &str, faults: &mut Faults) {
        for (key, value) in table {
            path.push(key.clone());
            match (at(&self.defaults, path), value) {
                (Some(Value::Table(_)), Value::Table(inner)) => self.lay_table(path, inner, origin, faults),
                _ => self.lay(path, value.clone(), origin, faults),
            }
            path.pop();
        }
    }

    /// Lays a value that is text: the default's type says how it is read.
    fn lay_text(&mut self, path: &[String], text: &str, origin: &str, faults: &mut Faults) {
        let value = match at(&self.defaults, path) {
            Some(Value::Integer(_)) => text.trim().parse().ok().map(Value::Integer),
            Some(Value::Float(_)) => text.trim().parse().ok().map(Value::Float),
            Some(Value::Boolean(_)) => text.trim().parse().ok().map(Value::Boolean),
            Some(Value::Array(_)) if !text.trim_start().starts_with('[') => Some(Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::String(item.into()))
                    .collect(),
            )),
            Some(Value::Array(_) | Value::Table(_)) => toml::from_str::<Table>(&format!("value = {text}"))
                .ok()
                .and_then(|mut table| table.remove("value")),
            _ => None,
        };
        // What does not parse stays text: deserialising it names the type that is wanted.
        self.lay(
            path,
            value.unwrap_or_else(|| Value::String(text.to_owned())),
            origin,
            faults,
        );
    }

    fn lay(&mut self, path: &[String], value: Value, origin: &str, faults: &mut Faults) {
        let key = self.key(path);
        if at(&self.defaults, path).is_none() {
            let siblings = match path.split_last() {
                Some((_, [])) | None => Some(&self.defaults),
                Some((_, parent)) => at(&self.defaults, parent).and_then(Value::as_table),
            };
            let last = path.last().map_or("", String::as_str);
            let known = siblings.into_iter().flat_map(Table::keys).map(String::as_str);
            faults.add_from(key, format!("no such key{}", suggestion(last, known)), origin);
            return;
        }
        put(&mut self.values, path, value);
        self.origins.insert(key, origin.to_owned());
    }

    /// Deserialises the section. Each value of the wrong kind becomes a fault and gives way to its default, until all are
    /// known.
    pub(super) fn deserialize<T: DeserializeOwned>(mut self, faults: &mut Faults) -> Option<T> {
        let mut failed: Vec<String> = Vec::new();
        loop {
            let error = match serde_path_to_error::deserialize::<_, T>(Value::Table(self.values.clone())) {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let mut path: Vec<String> = error
                .path()
                .iter()
                .map_while(|segment| match segment {
                    serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                    _ => None,
                })
                .collect();
            while !path.is_empty() && at(&self.defaults, &path).is_none() {
                path.pop();
            }
            let key = self.key(&path);
            let problem = error.inner().to_string().trim_end().replace('\n', " ");
            let origin = self.origins.get(&key).cloned().unwrap_or_default();
            if failed.contains(&key) || path.is_empty() {
                // The default itself does not fit: a fault of the program, caught by each service's tests.
                faults.add_from(key, problem, origin);
                return None;
            }
            faults.add_from(&key, problem, origin);
            if let Some(default) = at(&self.defaults, &path).cloned() {
                put(&mut self.values, &path, default);
            }
            failed.push(key);
        }
    }

    fn key(&self, path: &[String]) -> String {
        std::iter::once(self.name.as_str())
            .chain(path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(".")
    }
}

/// Variables `SOLO_<SECTION>__<KEY>…` of a section, with the path that each means, in a stable order.
fn environment_keys(section: &str, inputs: &Inputs) -> Vec<(String, Vec<String>)> {
    let prefix = format!("SOLO_{}__", section.to_uppercase());
    let mut keys: Vec<_> = inputs
        .environment
        .keys()
        .filter_map(|variable| {
            let path = variable.strip_prefix(&prefix)?.to_lowercase();
            Some((variable.clone(), path.split("__").map(str::to_owned).collect()))
        })
        .collect();
    keys.sort();
    keys
}

fn at<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = table.get(first)?;
    if rest.is_empty() {
        Some(value)
    } else {
        at(value.as_table()?, rest)
    }
}

fn put(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => drop(table.insert(last.clone(), value)),
        [first, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(first) {
                put(inner, rest, value);
            }
        }
    }
}

fn suggestion<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}
