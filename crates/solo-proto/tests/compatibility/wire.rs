//! What is sent, as examples: made from the contracts of a release, kept with it, and read by those of every later one.
//!
//! One line of JSON each: the message's name, its bytes in hexadecimal, and the proto3 JSON that they mean.

mod tests;

use std::collections::{BTreeSet, HashMap};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};
use serde_json::{Value as Json, json};

use crate::breaks::ours;

/// The messages that calls send: all requests and responses.
pub fn spoken(contracts: &DescriptorPool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for service in contracts.services() {
        for method in service.methods() {
            names.extend([method.input(), method.output()].map(|message| message.full_name().to_owned()));
        }
    }
    names
}

/// Examples of all that is spoken, the same ones for the same contracts.
pub fn record(contracts: &DescriptorPool) -> String {
    let mut lines = String::new();
    for name in spoken(contracts) {
        for example in examples(&contracts.get_message_by_name(&name).unwrap(), &[]) {
            let record = json!({
                "message": name,
                "hex": hex::encode(example.encode_to_vec()),
                "json": serde_json::to_value(&example).unwrap(),
            });
            lines.push_str(&format!("{record}\n"));
        }
    }
    lines
}

/// The messages that examples were recorded of.
pub fn recorded(records: &str) -> BTreeSet<String> {
    records.lines().map(|line| name_of(&parsed(line))).collect()
}

/// Reads what was recorded by these contracts: what they no longer understand, or take for something else.
pub fn replay(records: &str, contracts: &DescriptorPool) -> Vec<String> {
    (1..)
        .zip(records.lines())
        .filter_map(|(line, record)| {
            let record = parsed(record);
            let why = read(&record, contracts).err()?;
            Some(format!("line {line}, {}: {why}", name_of(&record)))
        })
        .collect()
}

fn parsed(line: &str) -> Json {
    serde_json::from_str(line).unwrap()
}

fn name_of(record: &Json) -> String {
    record["message"].as_str().unwrap().to_owned()
}

fn read(record: &Json, contracts: &DescriptorPool) -> Result<(), String> {
    let bytes = hex::decode(record["hex"].as_str().unwrap()).unwrap();
    let was = &record["json"];
    let message = contracts
        .get_message_by_name(&name_of(record))
        .ok_or("the message is gone")?;
    let read = DynamicMessage::decode(message.clone(), bytes.as_slice())
        .map_err(|error| format!("it no longer decodes: {error}"))?;
    if let Some(field) = unknown_field(&read) {
        return Err(format!("{field} is unknown"));
    }
    let is = serde_json::to_value(&read).map_err(|error| format!("it can no longer be said in JSON: {error}"))?;
    if is != *was {
        return Err(format!("its JSON was {was} and is {is}"));
    }
    match DynamicMessage::deserialize(message, was) {
        Ok(same) if same == read => Ok(()),
        Ok(_) => Err(format!("its JSON no longer means its bytes: {was}")),
        Err(error) => Err(format!("its JSON is no longer read: {error}")),
    }
}

fn unknown_field(message: &DynamicMessage) -> Option<String> {
    if let Some(field) = message.unknown_fields().next() {
        return Some(format!(
            "field {} of {}",
            field.number(),
            message.descriptor().full_name()
        ));
    }
    message.fields().find_map(|(_, value)| unknown_field_in(value))
}

fn unknown_field_in(value: &Value) -> Option<String> {
    match value {
        Value::Message(message) => unknown_field(message),
        Value::List(values) => values.iter().find_map(unknown_field_in),
        Value::Map(entries) => entries.values().find_map(unknown_field_in),
        _ => None,
    }
}

/// Examples of a message that have, between them, every field and every member of every oneof, none with its default value.
/// `within`: the messages that it stands in, outermost first.
fn examples(message: &MessageDescriptor, within: &[&str]) -> Vec<DynamicMessage> {
    if let Some((seconds, nanos)) = moment(message.full_name()) {
        let mut example = DynamicMessage::new(message.clone());
        example.set_field_by_name("seconds", Value::I64(seconds));
        example.set_field_by_name("nanos", Value::I32(nanos));
        return vec![example];
    }
    // A message of ours may stand in itself, once; of Google's Struct the outermost will do.
    let most = if ours(message.package_name()) { 2 } else { 1 };
    if within.iter().filter(|outer| **outer == message.full_name()).count() == most {
        return Vec::new();
    }
    let within = [within, &[message.full_name()]].concat();
    let alone = message
        .fields()
        .filter(|field| field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic()))
        .map(|field| vec![field]);
    let together = message
        .oneofs()
        .filter(|oneof| !oneof.is_synthetic())
        .map(|oneof| oneof.fields().collect::<Vec<_>>());
    // The n-th example takes the n-th alternative for each field and for each oneof, and begins again where there are no more.
    let places: Vec<Vec<(FieldDescriptor, Value)>> = alone
        .chain(together)
        .map(|fields| {
            let alternatives = fields.into_iter().flat_map(|field| {
                let values = values(&field, &within);
                values.into_iter().map(move |value| (field.clone(), value))
            });
            alternatives.collect()
        })
        .collect();
    let most = places.iter().map(Vec::len).max().unwrap_or_default().max(1);
    (0..most)
        .map(|turn| {
            let mut example = DynamicMessage::new(message.clone());
            for (field, value) in places.iter().filter_map(|place| place.iter().cycle().nth(turn)) {
                example.set_field(field, value.clone());
            }
            example
        })
        .collect()
}

/// Seconds and nanoseconds of messages that have no JSON for all that they could hold.
fn moment(message: &str) -> Option<(i64, i32)> {
    match message {
        "google.protobuf.Timestamp" => Some((1_700_000_000, 123_000_000)),
        "google.protobuf.Duration" => Some((90, 250_000_000)),
        _ => None,
    }
}

/// The values that a field has in examples. A list holds all that its items may be; a map has one entry, as the order of more
/// would be another each time.
fn values(field: &FieldDescriptor, within: &[&str]) -> Vec<Value> {
    let kind = field.kind();
    match kind.as_message() {
        Some(entry) if field.is_map() => {
            let key = items(&entry.map_entry_key_field(), within).swap_remove(0);
            let key = key.into_map_key().unwrap();
            items(&entry.map_entry_value_field(), within)
                .into_iter()
                .map(|value| Value::Map(HashMap::from([(key.clone(), value)])))
                .collect()
        }
        _ if field.is_list() => {
            let items = items(field, within);
            if items.is_empty() {
                items
            } else {
                vec![Value::List(items)]
            }
        }
        _ => items(field, within),
    }
}

/// What may stand where one value of a field stands. Numbers need all of their type's bits and can be said exactly in JSON.
fn items(field: &FieldDescriptor, within: &[&str]) -> Vec<Value> {
    let number = field.number();
    vec![match field.kind() {
        Kind::Message(message) => {
            return examples(&message, within).into_iter().map(Value::Message).collect();
        }
        Kind::Enum(kind) => Value::EnumNumber(kind.values().map(|value| value.number()).max().unwrap_or_default()),
        Kind::Bool => Value::Bool(true),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::MIN + number as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::MIN + i64::from(number)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(u32::MAX - number),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::MAX - u64::from(number)),
        Kind::Float => Value::F32(number as f32 + 0.5),
        Kind::Double => Value::F64(f64::from(number) + 0.25),
        Kind::String => Value::String(format!("{} ä€𝄞", field.name())),
        Kind::Bytes => Value::Bytes(vec![0, 255, number as u8].into()),
    }]
}
