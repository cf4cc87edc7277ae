//! Requests: read and checked.

use std::ops::Range;

use jiff::Timestamp;
use prost_types::value::Kind;
use prost_types::{Struct, Timestamp as ProtoTimestamp};
use serde_json::{Map, Number, Value};
use solo_proto::memory::v1 as proto;
use uuid::Uuid;

use crate::document::{DocumentFilter, check_description, check_metadata};
use crate::error::Error;
use crate::fact::{FactChange, FactDraft, Known, MAX_PROVENANCE_BYTES, Selector, check_provenance};
use crate::memory::Upload;
use crate::names::{CollectionName, DocumentUri, check_uri, parse_id, shorten};
use crate::query::{Filter, HitKind, Mode, Probe, SearchRequest};

/// Largest metadata of a document, in bytes of JSON.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Most identifiers in a request.
const MAX_IDS: usize = 1000;
/// Widest context of a passage, in bytes.
const MAX_CONTEXT_BYTES: u32 = 10_000;

/// An upload without its content.
pub fn upload(header: proto::DocumentHeader) -> Result<Upload, Error> {
    let content_sha256 = match header.content_sha256.as_slice() {
        [] => None,
        hash => Some(hash.try_into().map_err(|_| {
            let message = format!("a SHA-256 has 32 bytes, found {}", hash.len());
            Error::invalid("header.content_sha256", "BAD_HASH", message)
        })?),
    };
    let metadata = header.metadata.map(object).transpose()?.unwrap_or_default();
    check_metadata(&metadata, MAX_METADATA_BYTES, "header.metadata")?;
    Ok(Upload {
        collection: CollectionName::or_default(&header.collection, "header.collection")?,
        uri: DocumentUri::or_note(&header.uri)?,
        media_type: header.media_type,
        title: header.title,
        metadata,
        content_sha256,
    })
}

/// A collection's description.
pub fn description(text: String) -> Result<String, Error> {
    check_description(&text)?;
    Ok(text)
}

/// Which documents a list shows.
pub fn document_filter(collection: &str, uri_prefix: String) -> Result<DocumentFilter, Error> {
    check_uri(&uri_prefix, "uri_prefix")?;
    let collection = match collection {
        "" => None,
        name => Some(CollectionName::new(name, "collection")?),
    };
    Ok(DocumentFilter { collection, uri_prefix })
}

/// Identifiers of documents, at least one.
pub fn ids(texts: &[String]) -> Result<Vec<Uuid>, Error> {
    if !(1..=MAX_IDS).contains(&texts.len()) {
        let message = format!("{} identifiers; 1 to {MAX_IDS} are wanted", texts.len());
        return Err(Error::invalid("ids", "BAD_IDS", message));
    }
    texts.iter().map(|text| parse_id(text, "ids")).collect()
}

/// A passage's range and context.
pub fn passage(request: &proto::GetPassageRequest) -> Result<(Uuid, Option<Range<u64>>, u64), Error> {
    if request.context_bytes > MAX_CONTEXT_BYTES {
        let message = format!(
            "{} bytes of context; 0 to {MAX_CONTEXT_BYTES} are wanted",
            request.context_bytes
        );
        return Err(Error::invalid("context_bytes", "BAD_CONTEXT", message));
    }
    let range = request.range.map(|range| range.start..range.end);
    Ok((
        parse_id(&request.document_id, "document_id")?,
        range,
        request.context_bytes.into(),
    ))
}

/// What a search is asked.
pub fn search(request: proto::SearchRequest) -> Result<SearchRequest, Error> {
    let mode = match proto::SearchMode::try_from(request.mode) {
        Ok(proto::SearchMode::Unspecified) => None,
        Ok(proto::SearchMode::Dense) => Some(Mode::Dense),
        Ok(proto::SearchMode::Text) => Some(Mode::Text),
        Ok(proto::SearchMode::Hybrid) => Some(Mode::Hybrid),
        Err(_) => {
            let message = format!(
                "{} is no search mode: 1 (dense), 2 (text) or 3 (hybrid) is wanted, 0 means the configured one",
                request.mode
            );
            return Err(Error::invalid("mode", "UNKNOWN_MODE", message));
        }
    };
    let probe = match request.query {
        Some(proto::search_request::Query::Text(text)) => Probe::Text(text),
        Some(proto::search_request::Query::Vector(vector)) => Probe::Vector(vector.values),
        None => {
            return Err(Error::invalid(
                "query",
                "EMPTY_QUERY",
                "a text or a vector to search for is wanted",
            ));
        }
    };
    Ok(SearchRequest {
        probe,
        mode,
        filter: filter(request.filter.unwrap_or_default(), &request.collections)?,
        limit: (request.limit != 0).then_some(request.limit as usize),
        min_score: request.min_score,
        diversity: request.diversity,
    })
}

fn filter(filter: proto::SearchFilter, collections: &[String]) -> Result<Filter, Error> {
    let kind = match proto::HitKind::try_from(filter.kind) {
        Ok(proto::HitKind::Unspecified) => None,
        Ok(proto::HitKind::Document) => Some(HitKind::Document),
        Ok(proto::HitKind::Fact) => Some(HitKind::Fact),
        Err(_) => {
            let message = format!(
                "{} is no kind of hit: 0 (both), 1 (document) or 2 (fact) is wanted",
                filter.kind
            );
            return Err(Error::invalid("filter.kind", "UNKNOWN_KIND", message));
        }
    };
    if filter.document_ids.len() > MAX_IDS || collections.len() > MAX_IDS {
        let message = format!("a filter names {MAX_IDS} documents and collections at most");
        return Err(Error::invalid("filter", "FILTER_TOO_LONG", message));
    }
    check_uri(&filter.uri_prefix, "filter.uri_prefix")?;
    let names: Result<_, Error> = collections
        .iter()
        .map(|name| CollectionName::new(name, "collections"))
        .collect();
    let ids: Result<_, Error> = filter
        .document_ids
        .iter()
        .map(|id| parse_id(id, "filter.document_ids"))
        .collect();
    Ok(Filter {
        collections: names?,
        documents: ids?,
        uri_prefix: filter.uri_prefix,
        created_after: maybe_time(filter.created_after, "filter.created_after")?,
        created_before: maybe_time(filter.created_before, "filter.created_before")?,
        kind,
    })
}

/// One change of facts.
pub fn fact_change(change: proto::FactChange) -> Result<FactChange, Error> {
    use proto::fact_change::Change;
    match change.change {
        Some(Change::Add(fact)) => Ok(FactChange::Add(fact_draft(fact)?)),
        Some(Change::Supersede(supersede)) => {
            let known = known(&supersede.id, supersede.expected_version)?;
            let fact = supersede
                .fact
                .ok_or_else(|| Error::invalid("changes.supersede.fact", "MISSING_FACT", "the new fact is missing"))?;
            Ok(FactChange::Supersede(known, fact_draft(fact)?))
        }
        Some(Change::Retract(retract)) => Ok(FactChange::Retract(known(&retract.id, retract.expected_version)?)),
        None => Err(Error::invalid(
            "changes",
            "EMPTY_CHANGE",
            "a change is empty: add, supersede or retract is wanted",
        )),
    }
}

fn known(id: &str, version: u32) -> Result<Known, Error> {
    Ok(Known {
        id: parse_id(id, "changes.id")?,
        version,
    })
}

fn fact_draft(fact: proto::Fact) -> Result<FactDraft, Error> {
    check_provenance(&fact.provenance, "changes.fact.provenance")?;
    Ok(FactDraft {
        text: fact.text,
        confidence: fact.confidence,
        valid_from: maybe_time(fact.valid_from, "changes.fact.valid_from")?,
        valid_to: maybe_time(fact.valid_to, "changes.fact.valid_to")?,
        provenance: fact.provenance,
        collection: CollectionName::or_default(&fact.collection, "changes.fact.collection")?,
        vector: Vec::new(),
    })
}

/// What to forget.
pub fn selector(selector: Option<proto::forget_request::Selector>) -> Result<Selector, Error> {
    use proto::forget_request::Selector as Asked;
    match selector {
        Some(Asked::FactId(id)) => Ok(Selector::Fact(parse_id(&id, "fact_id")?)),
        Some(Asked::DialogueId(id)) if !id.is_empty() && id.len() <= MAX_PROVENANCE_BYTES && !id.contains('/') => {
            Ok(Selector::Dialogue(id))
        }
        Some(Asked::DialogueId(id)) => {
            let message = format!("`{}` is no dialogue", shorten(&id));
            Err(Error::invalid("dialogue_id", "BAD_ID", message))
        }
        Some(Asked::Everything(true)) => Ok(Selector::Everything),
        Some(Asked::Everything(false)) => Err(Error::invalid(
            "everything",
            "NOTHING_SELECTED",
            "`everything` must be true to forget everything",
        )),
        None => {
            let message = "what to forget is not said: fact_id, dialogue_id or everything is wanted";
            Err(Error::invalid("selector", "NOTHING_SELECTED", message))
        }
    }
}

fn maybe_time(time: Option<ProtoTimestamp>, field: &'static str) -> Result<Option<Timestamp>, Error> {
    let Some(time) = time else { return Ok(None) };
    // Kept in microseconds, so read in microseconds: what comes back equals what was given.
    Timestamp::new(time.seconds, time.nanos - time.nanos % 1000)
        .map(Some)
        .map_err(|error| Error::invalid(field, "BAD_TIME", format!("this is no time: {error}")))
}

fn object(fields: Struct) -> Result<Map<String, Value>, Error> {
    fields
        .fields
        .into_iter()
        .map(|(key, value)| Ok((key, json(value)?)))
        .collect()
}

fn json(value: prost_types::Value) -> Result<Value, Error> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(value)) => Value::Number(Number::from_f64(value).ok_or_else(|| {
            Error::invalid(
                "header.metadata",
                "BAD_METADATA",
                format!("{value} cannot be written as JSON"),
            )
        })?),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(json).collect::<Result<_, _>>()?),
        Some(Kind::StructValue(fields)) => Value::Object(object(fields)?),
    })
}

#[cfg(test)]
mod tests;
