//! REST: one question, one answer. Errors are problem+json (RFC 9457).

pub(super) mod chat;
pub(super) mod documents;
pub(super) mod health;
pub(super) mod speech;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::Gateway;
use crate::error::Error;

/// A request's body, whole.
async fn body(gateway: &Gateway, body: Body) -> Result<Bytes, Error> {
    let limit = gateway.config.limits.max_body_bytes;
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::BodyTooLarge { limit }),
        Err(error) => Err(Error::invalid(
            "BODY_BROKE_OFF",
            format!("the body did not arrive whole: {error}"),
        )),
    }
}

/// A request's body as JSON. It has to say that it is JSON: a page of another site could send anything else unasked.
async fn json<T: DeserializeOwned>(gateway: &Gateway, request: Request) -> Result<T, Error> {
    let found = media_type(request.headers());
    if found != "application/json" {
        return Err(Error::invalid(
            "UNSUPPORTED_MEDIA_TYPE",
            format!("content-type is `{found}`; application/json is wanted"),
        ));
    }
    let bytes = body(gateway, request.into_body()).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::invalid("BAD_JSON", format!("the body is wrong: {error}")))
}

/// The media type of a body, without parameters, in lower case.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a client asks for a media type by its name.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            range
                .split(';')
                .next()
                .is_some_and(|range| range.trim().eq_ignore_ascii_case(media_type))
        })
}
