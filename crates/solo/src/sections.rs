//! The configuration's sections as plain TOML, with the services' own defaults beneath: what `solo config`, the port check
//! and `solo doctor` look at.
//!
//! The defaults are the services' `config.toml` files, taken in as text: `solo` links none of the services, so it cannot
//! know their types. Types and ranges are checked by the service itself (`stt-svc check-config`).

use std::net::SocketAddr;

use serde::Deserialize;
use solo_service::ServiceConfig;
use solo_service::config::{self, Faults, GLOBAL_DEFAULTS, Inputs};
use toml::{Table, Value};

use crate::failure::{Exit, Failure};

/// Every section with the text of its defaults.
const DEFAULTS: [(&str, &str); 8] = [
    ("global", GLOBAL_DEFAULTS),
    ("gateway", include_str!("../../gateway/config.toml")),
    ("stt", include_str!("../../stt-svc/config.toml")),
    ("tts", include_str!("../../tts-svc/config.toml")),
    ("llm", include_str!("../../llm-svc/config.toml")),
    ("memory", include_str!("../../memory-svc/config.toml")),
    ("agent", include_str!("../../agent-svc/config.toml")),
    ("wake", include_str!("../../wake-svc/config.toml")),
];

/// A section whose types are nobody's business here.
#[derive(Deserialize)]
#[serde(transparent)]
struct Untyped(Table);

impl ServiceConfig for Untyped {
    fn listen(&self) -> SocketAddr {
        let listen = self
            .0
            .get("listen")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok());
        listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// A section as it counts: defaults, file, environment, flags.
pub fn effective(section: &str, inputs: &Inputs) -> Result<Table, Faults> {
    let defaults = DEFAULTS
        .iter()
        .find(|(name, _)| *name == section)
        .map_or("", |(_, text)| text);
    config::load::<Untyped>(section, defaults, inputs).map(|(_, Untyped(table))| table)
}

/// The default of a key ("stt.vad.threshold"), which also says its type.
///
/// # Errors
/// When there is no such key; the nearest one is named.
pub fn default_of(key: &str) -> Result<Value, Failure> {
    let (section, path) = key.split_once('.').unwrap_or((key, ""));
    let defaults = DEFAULTS
        .iter()
        .find(|(name, _)| *name == section)
        .map_or("", |(_, text)| text);
    let table: Table =
        toml::from_str(defaults).map_err(|e| Failure::failed(format!("defaults of [{section}]: {e}")))?;
    let root = table.get(section).cloned();
    match root.filter(|root| root.is_table()) {
        Some(root) if path.is_empty() => Ok(root),
        Some(root) => at(&root, path).cloned().ok_or_else(|| unknown(key)),
        None => Err(unknown(key)),
    }
}

/// What stands at a dotted path below a value.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.as_table()?.get(key))
}

/// Every key of every section that is not a table, dotted.
pub fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    for (_, text) in DEFAULTS {
        if let Ok(table) = toml::from_str::<Table>(text) {
            leaves(&Value::Table(table), String::new(), &mut |key, _| {
                keys.push(key.to_owned())
            });
        }
    }
    keys
}

/// Calls `see` for everything in a value that is not a table.
pub fn leaves(value: &Value, path: String, see: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                leaves(value, below, see);
            }
        }
        value => see(&path, value),
    }
}

/// The sockets that a section says are listened on: its keys with "listen" in their name.
pub fn sockets(section: &Table) -> Vec<SocketAddr> {
    let mut sockets = Vec::new();
    leaves(&Value::Table(section.clone()), String::new(), &mut |key, value| {
        let socket = value.as_str().and_then(|text| text.parse::<SocketAddr>().ok());
        sockets.extend(socket.filter(|socket| key.contains("listen") && socket.port() != 0));
    });
    sockets
}

fn unknown(key: &str) -> Failure {
    let keys = keys();
    let nearest = keys
        .iter()
        .map(|known| (strsim::damerau_levenshtein(key, known), known))
        .min();
    let hint = match nearest {
        Some((distance, known)) if distance <= 1 + known.len() / 4 => format!("did you mean `{known}`?\n"),
        _ => String::new(),
    };
    Failure::new(Exit::Configuration, format!("there is no configuration key `{key}`"))
        .help(format!("{hint}`solo config get` lists all keys"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_has_its_defaults() {
        for (section, _) in DEFAULTS {
            let table = effective(section, &Inputs::default()).unwrap_or_else(|faults| panic!("{section}: {faults}"));
            assert!(!table.is_empty(), "[{section}] is empty");
        }
        assert_eq!(DEFAULTS.map(|(name, _)| name).len(), config::SECTIONS.len());
    }

    #[test]
    fn the_ports_are_the_documented_ones() {
        let ports = |section| {
            let mut ports: Vec<u16> = sockets(&effective(section, &Inputs::default()).unwrap())
                .iter()
                .map(SocketAddr::port)
                .collect();
            ports.sort_unstable();
            ports
        };
        assert_eq!(ports("stt"), [50051]);
        assert_eq!(ports("wake"), [50056]);
        assert_eq!(ports("gateway"), [8080, 10_200, 10_300, 10_400, 50_050]);
    }

    #[test]
    fn a_mistyped_key_is_refused_with_the_nearest_one() {
        let failure = default_of("stt.vad.treshold").unwrap_err();
        assert_eq!(failure.exit, Exit::Configuration);
        assert!(failure.help.unwrap().contains("did you mean `stt.vad.threshold`?"));
        assert!(default_of("nonsense").is_err());
        assert!(default_of("stt.vad.threshold").unwrap().is_float());
        assert!(default_of("stt").unwrap().is_table());
    }
}
