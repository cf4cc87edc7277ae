//! Answers: written.

use std::ops::Range;

use jiff::Timestamp;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Timestamp as ProtoTimestamp};
use serde_json::{Map, Value};
use solo_proto::memory::v1 as proto;

use crate::document::{Collection, Document, Passage};
use crate::fact::Fact;
use crate::memory::{Progress, Taken};
use crate::query::{Found, Hit, HitKind};
use crate::watch::{Phase, Report, Watch};

/// A time.
pub fn time(time: Timestamp) -> ProtoTimestamp {
    ProtoTimestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

/// A collection.
pub fn collection(collection: Collection) -> proto::Collection {
    proto::Collection {
        name: collection.name.to_string(),
        description: collection.description,
        documents: collection.documents,
        chunks: collection.chunks,
        created_at: Some(time(collection.created_at)),
    }
}

/// A document.
pub fn document(document: Document) -> proto::Document {
    proto::Document {
        id: document.id.to_string(),
        collection: document.collection.to_string(),
        uri: document.uri,
        title: document.title,
        media_type: document.media_type,
        version: document.version,
        chunks: document.chunks,
        bytes: document.bytes,
        content_sha256: document.content_sha256.into(),
        created_at: Some(time(document.created_at)),
        updated_at: Some(time(document.updated_at)),
        metadata: (!document.metadata.is_empty()).then(|| fields(document.metadata)),
    }
}

/// A step of a put.
pub fn progress(progress: Progress) -> proto::PutDocumentResponse {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let step = proto::PutProgress {
        chunks_done: number(progress.done),
        chunks_total: number(progress.total),
    };
    proto::PutDocumentResponse {
        payload: Some(proto::put_document_response::Payload::Progress(step)),
    }
}

/// The end of a put.
pub fn taken(taken: Taken) -> proto::PutDocumentResponse {
    let done = proto::PutDone {
        document: Some(document(taken.document)),
        unchanged: taken.unchanged,
        warnings: taken.warnings,
        chunks_embedded: u32::try_from(taken.embedded).unwrap_or(u32::MAX),
    };
    proto::PutDocumentResponse {
        payload: Some(proto::put_document_response::Payload::Done(done)),
    }
}

/// A passage.
pub fn passage_response(passage: Passage) -> proto::GetPassageResponse {
    proto::GetPassageResponse {
        document: Some(document(passage.document)),
        text: passage.text,
        range: Some(range(passage.range)),
    }
}

/// What a search found.
pub fn found(found: Found, explain: bool) -> proto::SearchResponse {
    proto::SearchResponse {
        hits: found.hits.into_iter().map(|found| hit(found, explain)).collect(),
        searched: found.searched,
    }
}

fn hit(hit: Hit, explain: bool) -> proto::Hit {
    let kind = match hit.kind {
        HitKind::Document => proto::HitKind::Document,
        HitKind::Fact => proto::HitKind::Fact,
    };
    let parts = proto::ScoreParts {
        dense: hit.parts.dense,
        text: hit.parts.text,
        fused: hit.parts.fused,
        reranked: hit.parts.reranked,
        recency: hit.parts.recency,
    };
    let citation = hit.citation;
    proto::Hit {
        id: hit.id.to_string(),
        kind: kind.into(),
        text: citation.text.clone(),
        score: hit.score,
        parts: explain.then_some(parts),
        citation: Some(proto::Citation {
            document: citation.document.to_string(),
            title: citation.title,
            uri: citation.uri,
            page: citation.page,
            heading: citation.heading,
            range: Some(range(citation.range)),
            text: citation.text,
        }),
        created_at: Some(time(hit.created_at)),
    }
}

/// A fact.
pub fn fact(fact: Fact) -> proto::Fact {
    proto::Fact {
        id: fact.id.to_string(),
        text: fact.text,
        confidence: fact.confidence,
        valid_from: fact.valid_from.map(time),
        valid_to: fact.valid_to.map(time),
        provenance: fact.provenance,
        version: fact.version,
        created_at: Some(time(fact.created_at)),
        collection: fact.collection.to_string(),
    }
}

/// A watched folder.
pub fn watch(watch: Watch, report: Report) -> proto::Watch {
    let state = match report.phase {
        Phase::Scanning => proto::WatchState::Scanning,
        Phase::Following => proto::WatchState::Following,
        Phase::Waiting => proto::WatchState::Waiting,
    };
    let failures = report.failures.into_iter().map(|(path, reason)| proto::WatchFailure {
        path: path.to_string_lossy().into_owned(),
        reason,
    });
    proto::Watch {
        id: watch.id.to_string(),
        path: watch.path.to_string_lossy().into_owned(),
        collection: watch.collection.to_string(),
        state: state.into(),
        files: report.files,
        done: report.done,
        total: report.total,
        unsupported: report.unsupported,
        failures: failures.collect(),
        problem: report.problem,
        created_at: Some(time(watch.created_at)),
        settled_at: report.settled_at.map(time),
    }
}

fn range(range: Range<u64>) -> proto::TextRange {
    proto::TextRange {
        start: range.start,
        end: range.end,
    }
}

pub(super) fn fields(object: Map<String, Value>) -> Struct {
    Struct {
        fields: object.into_iter().map(|(key, value)| (key, value_of(value))).collect(),
    }
}

pub(super) fn value_of(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        // What came as a double goes as one.
        Value::Number(number) => number.as_f64().map_or(Kind::NullValue(0), Kind::NumberValue),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(list) => Kind::ListValue(ListValue {
            values: list.into_iter().map(value_of).collect(),
        }),
        Value::Object(object) => Kind::StructValue(fields(object)),
    };
    prost_types::Value { kind: Some(kind) }
}
