//! What newer contracts break of older ones: the rules of buf's category WIRE_JSON, which `buf breaking` knows, without buf.
//!
//! Stricter in what Solo needs: messages, enums, services and methods stay, and a field is `optional` or is not, as unset
//! often means "from configuration" where 0 would mean 0. Additions break nothing.

mod tests;

use std::ops::Range;

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, EnumValueDescriptor, FieldDescriptor, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

/// Everything that `new` breaks of `old`, each with its remedy.
pub fn breaks(old: &DescriptorPool, new: &DescriptorPool) -> Vec<String> {
    // What a map's entry is made of is part of its field's type.
    let messages = old
        .all_messages()
        .filter(|message| !message.is_map_entry() && ours(message.package_name()))
        .flat_map(|was| match new.get_message_by_name(was.full_name()) {
            Some(is) => message_breaks(&was, &is),
            None => vec![removed("message", was.full_name())],
        });
    let enums = old
        .all_enums()
        .filter(|kind| ours(kind.package_name()))
        .flat_map(|was| match new.get_enum_by_name(was.full_name()) {
            Some(is) => enum_breaks(&was, &is),
            None => vec![removed("enum", was.full_name())],
        });
    let services = old
        .services()
        .flat_map(|was| match new.get_service_by_name(was.full_name()) {
            Some(is) => service_breaks(&was, &is),
            None => vec![removed("service", was.full_name())],
        });
    messages.chain(enums).chain(services).collect()
}

/// Whether a package is Solo's own. Google's come and go with the files that import them.
pub fn ours(package: &str) -> bool {
    package != "google.protobuf"
}

fn message_breaks(old: &MessageDescriptor, new: &MessageDescriptor) -> Vec<String> {
    let reserved = Reserved::of_message(new);
    let mut breaks = Reserved::of_message(old).lost("message", old.full_name(), &reserved);
    breaks.extend(old.fields().filter_map(|was| match new.get_field(was.number()) {
        Some(is) => field_break(&was, &is),
        None => {
            let moved = new.get_field_by_name(was.name()).map(|field| i64::from(field.number()));
            let why = reserved.gone(i64::from(was.number()), was.name(), moved)?;
            Some(format!("field {}{why}", was.full_name()))
        }
    }));
    breaks
}

fn field_break(old: &FieldDescriptor, new: &FieldDescriptor) -> Option<String> {
    changed(
        &format!("field {}", old.full_name()),
        [
            ("name", old.name().to_owned(), new.name().to_owned()),
            ("JSON name", old.json_name().to_owned(), new.json_name().to_owned()),
            ("type", type_of(old), type_of(new)),
            ("cardinality", cardinality(old), cardinality(new)),
        ],
    )
}

fn enum_breaks(old: &EnumDescriptor, new: &EnumDescriptor) -> Vec<String> {
    let reserved = Reserved::of_enum(new);
    let mut breaks = Reserved::of_enum(old).lost("enum", old.full_name(), &reserved);
    breaks.extend(old.values().filter_map(|was| value_break(&was, new, &reserved)));
    breaks
}

fn value_break(old: &EnumValueDescriptor, new: &EnumDescriptor, reserved: &Reserved) -> Option<String> {
    // A number may have several names.
    if new
        .values()
        .any(|is| is.number() == old.number() && is.name() == old.name())
    {
        return None;
    }
    let what = format!("enum value {}.{}", new.full_name(), old.name());
    if let Some(is) = new.get_value(old.number()) {
        return changed(&what, [("name", old.name().to_owned(), is.name().to_owned())]);
    }
    let moved = new.get_value_by_name(old.name()).map(|value| i64::from(value.number()));
    let why = reserved.gone(i64::from(old.number()), old.name(), moved)?;
    Some(format!("{what}{why}"))
}

fn service_breaks(old: &ServiceDescriptor, new: &ServiceDescriptor) -> Vec<String> {
    old.methods().filter_map(|was| method_break(&was, new)).collect()
}

fn method_break(old: &MethodDescriptor, new: &ServiceDescriptor) -> Option<String> {
    let Some(new) = new.methods().find(|method| method.name() == old.name()) else {
        return Some(removed("method", old.full_name()));
    };
    let request = |of: &MethodDescriptor| sent(&of.input(), of.is_client_streaming());
    let response = |of: &MethodDescriptor| sent(&of.output(), of.is_server_streaming());
    changed(
        &format!("method {}", old.full_name()),
        [
            ("request", request(old), request(&new)),
            ("response", response(old), response(&new)),
        ],
    )
}

fn sent(message: &MessageDescriptor, streaming: bool) -> String {
    let stream = if streaming { "stream " } else { "" };
    format!("{stream}{}", message.full_name())
}

fn type_of(field: &FieldDescriptor) -> String {
    let kind = field.kind();
    match kind.as_message() {
        Some(entry) if field.is_map() => format!(
            "map<{:?}, {:?}>",
            entry.map_entry_key_field().kind(),
            entry.map_entry_value_field().kind()
        ),
        _ => format!("{kind:?}"),
    }
}

/// How often a field may be there, and beside which others. `optional` of proto3 is a oneof of its own only in the descriptor.
fn cardinality(field: &FieldDescriptor) -> String {
    if let Some(oneof) = field.containing_oneof()
        && !oneof.is_synthetic()
    {
        return format!("in oneof {}", oneof.name());
    }
    let cardinality = match field.cardinality() {
        Cardinality::Repeated => "repeated",
        Cardinality::Required => "required",
        Cardinality::Optional if field.supports_presence() => "optional",
        Cardinality::Optional => "singular",
    };
    cardinality.to_owned()
}

fn removed(kind: &str, name: &str) -> String {
    format!("{kind} {name} was removed; bring it back, it may be deprecated")
}

fn changed<const N: usize>(what: &str, aspects: [(&str, String, String); N]) -> Option<String> {
    let changes: Vec<_> = aspects
        .into_iter()
        .filter(|(_, was, is)| was != is)
        .map(|(aspect, was, is)| format!("its {aspect} was {was} and is {is}"))
        .collect();
    (!changes.is_empty()).then(|| {
        format!(
            "{what}: {}; leave it as it was, and put what is new beside it",
            changes.join(", ")
        )
    })
}

/// The numbers and names that nothing may have again.
struct Reserved {
    numbers: Vec<Range<i64>>,
    names: Vec<String>,
}

impl Reserved {
    fn of_message(message: &MessageDescriptor) -> Self {
        Self {
            numbers: message
                .reserved_ranges()
                .map(|range| i64::from(range.start)..i64::from(range.end))
                .collect(),
            names: message.reserved_names().map(str::to_owned).collect(),
        }
    }

    fn of_enum(kind: &EnumDescriptor) -> Self {
        Self {
            numbers: kind
                .reserved_ranges()
                .map(|range| i64::from(*range.start())..i64::from(*range.end()) + 1)
                .collect(),
            names: kind.reserved_names().map(str::to_owned).collect(),
        }
    }

    /// Whether all of these numbers are reserved, in one range or in several.
    fn covers(&self, numbers: &Range<i64>) -> bool {
        let mut next = numbers.start;
        while next < numbers.end {
            let ends = self.numbers.iter().filter(|range| range.contains(&next));
            let Some(end) = ends.map(|range| range.end).max() else {
                return false;
            };
            next = end;
        }
        true
    }

    /// Why a number that nothing has any more is a break, or none where number and name are reserved.
    fn gone(&self, number: i64, name: &str, moved: Option<i64>) -> Option<String> {
        if let Some(moved) = moved {
            return Some(format!(
                ": its number was {number} and is {moved}; give it {number} again"
            ));
        }
        let mut missing = Vec::new();
        if !self.covers(&(number..number + 1)) {
            missing.push(number.to_string());
        }
        if !self.names.iter().any(|reserved| reserved == name) {
            missing.push(format!("\"{name}\""));
        }
        (!missing.is_empty()).then(|| format!(" was removed; reserve {}", missing.join(" and ")))
    }

    /// What was reserved and is not: somebody may be given the number of a field that an older release still sends.
    fn lost(&self, kind: &str, of: &str, now: &Reserved) -> Vec<String> {
        let numbers = self.numbers.iter().filter(|numbers| !now.covers(numbers));
        let numbers = numbers.map(|numbers| match numbers.end - numbers.start {
            1 => numbers.start.to_string(),
            _ => format!("{} to {}", numbers.start, numbers.end - 1),
        });
        let names = self.names.iter().filter(|name| !now.names.contains(name));
        numbers
            .chain(names.map(|name| format!("\"{name}\"")))
            .map(|what| format!("{kind} {of} no longer reserves {what}; reserve it again"))
            .collect()
    }
}
