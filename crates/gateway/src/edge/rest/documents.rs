//! `/search` and `/documents`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use solo_proto::memory::v1::{
    DeleteDocumentsRequest, Document, DocumentHeader, GetDocumentRequest, GetPassageRequest, Hit, ListDocumentsRequest,
    SearchRequest, TextRange, search_request,
};

use crate::error::Error;
use crate::{Gateway, json};

use super::media_type;

type Asked<T> = Result<Query<T>, QueryRejection>;

fn query<T>(asked: Asked<T>) -> Result<T, Error> {
    asked
        .map(|Query(query)| query)
        .map_err(|error| Error::invalid("BAD_QUERY", error.body_text()))
}

/// What to find.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::edge) struct SearchQuery {
    q: String,
    /// At most this many, 1 to 100. 0: 8.
    #[serde(default)]
    limit: u32,
    /// Only of this collection.
    collection: Option<String>,
    min_score: Option<f32>,
}

/// A piece that was found.
#[derive(Debug, Serialize)]
struct Found {
    id: String,
    text: String,
    score: f32,
    /// Title of the document, or its URI.
    source: String,
    document: String,
    uri: String,
    page: u32,
    heading: String,
    /// Bytes of the document's text, for `/documents/{document}/passage`.
    start: u64,
    end: u64,
}

impl From<Hit> for Found {
    fn from(hit: Hit) -> Self {
        let citation = hit.citation.unwrap_or_default();
        let range = citation.range.unwrap_or_default();
        let source = if citation.title.is_empty() {
            citation.uri.clone()
        } else {
            citation.title
        };
        Self {
            id: hit.id,
            text: hit.text,
            score: hit.score,
            source,
            document: citation.document,
            uri: citation.uri,
            page: citation.page,
            heading: citation.heading,
            start: range.start,
            end: range.end,
        }
    }
}

/// Finds pieces of documents and facts: `[{id, text, score, source, …}]`, best first.
pub(in crate::edge) async fn search(
    State(gateway): State<Arc<Gateway>>,
    asked: Asked<SearchQuery>,
) -> Result<Response, Error> {
    let SearchQuery {
        q,
        limit,
        collection,
        min_score,
    } = query(asked)?;
    let request = SearchRequest {
        collections: collection.into_iter().collect(),
        query: Some(search_request::Query::Text(q)),
        limit,
        min_score,
        ..SearchRequest::default()
    };
    let found = gateway.upstreams.search(&gateway.caller(), request).await?;
    let hits: Vec<Found> = found.hits.into_iter().map(Found::from).collect();
    Ok(Json(hits).into_response())
}

/// Which documents to list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::edge) struct ListQuery {
    collection: String,
    uri_prefix: String,
    page_size: u32,
    page_token: String,
}

/// A page of documents, newest first.
pub(in crate::edge) async fn list(
    State(gateway): State<Arc<Gateway>>,
    asked: Asked<ListQuery>,
) -> Result<Response, Error> {
    let ListQuery {
        collection,
        uri_prefix,
        page_size,
        page_token,
    } = query(asked)?;
    let request = ListDocumentsRequest {
        collection,
        uri_prefix,
        page_size,
        page_token,
    };
    let page = gateway.upstreams.list_documents(&gateway.caller(), request).await?;
    Ok(Json(json::plain("solo.memory.v1.ListDocumentsResponse", &page)).into_response())
}

/// A document as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDocument {
    text: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    uri: String,
    #[serde(default)]
    collection: String,
}

/// What a document is, in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::edge) struct About {
    title: String,
    uri: String,
    collection: String,
}

/// Takes a document in: JSON `{text, title?, uri?, collection?}`, or its bytes as they are.
pub(in crate::edge) async fn put(
    State(gateway): State<Arc<Gateway>>,
    asked: Asked<About>,
    request: Request,
) -> Result<Response, Error> {
    let about = query(asked)?;
    let media_type = media_type(request.headers());
    let (about, media_type, bytes) = match media_type.as_str() {
        "application/json" => {
            let NewDocument {
                text,
                title,
                uri,
                collection,
            } = super::json(&gateway, request).await?;
            (About { title, uri, collection }, String::new(), Bytes::from(text))
        }
        "" | "application/x-www-form-urlencoded" | "multipart/form-data" => {
            return Err(Error::invalid(
                "UNSUPPORTED_MEDIA_TYPE",
                "content-type must say what the document is: application/json with {\"text\": …}, text/plain, application/pdf …",
            ));
        }
        _ => (about, media_type, super::body(&gateway, request.into_body()).await?),
    };
    if bytes.is_empty() {
        return Err(Error::field("EMPTY_DOCUMENT", "text", "the document is empty"));
    }
    let header = DocumentHeader {
        collection: about.collection,
        uri: about.uri,
        media_type,
        title: about.title,
        ..DocumentHeader::default()
    };
    let done = gateway.upstreams.put_document(&gateway.caller(), header, bytes).await?;
    let status = if done.unchanged {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let document = done.document.unwrap_or_default();
    let location = [("location", format!("/documents/{}", document.id))];
    let body = serde_json::json!({
        "document": as_json(&document),
        "unchanged": done.unchanged,
        "warnings": done.warnings,
    });
    Ok((status, location, Json(body)).into_response())
}

/// One document's description.
pub(in crate::edge) async fn get(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let found = gateway
        .upstreams
        .get_document(&gateway.caller(), GetDocumentRequest { id })
        .await?;
    Ok(Json(as_json(&found.document.unwrap_or_default())).into_response())
}

/// Which passage to show.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::edge) struct PassageQuery {
    /// First byte of the document's text. Neither is given: from its beginning, up to what is shown at once.
    start: Option<u64>,
    /// One past the last byte.
    end: Option<u64>,
    /// Bytes to show on both sides, 0 to 10,000.
    context: u32,
}

/// A passage of a document, as citations name it: `{document, text, range}`.
pub(in crate::edge) async fn passage(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    asked: Asked<PassageQuery>,
) -> Result<Response, Error> {
    let PassageQuery { start, end, context } = query(asked)?;
    let range = match (start, end) {
        (None, None) => None,
        (start, end) => Some(TextRange {
            start: start.unwrap_or(0),
            end: end.unwrap_or(u64::MAX),
        }),
    };
    let request = GetPassageRequest {
        document_id: id,
        range,
        context_bytes: context,
    };
    let found = gateway.upstreams.get_passage(&gateway.caller(), request).await?;
    Ok(Json(json::plain("solo.memory.v1.GetPassageResponse", &found)).into_response())
}

/// Deletes a document.
pub(in crate::edge) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let request = DeleteDocumentsRequest { ids: vec![id] };
    let done = gateway.upstreams.delete_documents(&gateway.caller(), request).await?;
    Ok(Json(serde_json::json!({ "deleted": done.deleted })).into_response())
}

fn as_json(document: &Document) -> serde_json::Value {
    json::plain("solo.memory.v1.Document", document)
}
