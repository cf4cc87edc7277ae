//! What every HTTP request passes: is it meant for us, does it come from a page that may ask, what is it called.
//!
//! A browser lets any web page send requests to this machine. Two checks keep strangers out: the Host header must name us
//! (a page that rebinds its own name to 127.0.0.1 still sends its own name), and an Origin, where there is one, must be
//! this gateway's page, a page of this machine, or one that the configuration names.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use tracing::Instrument;

use crate::Gateway;
use crate::error::Error;

/// Header that names a request in logs and answers.
const REQUEST_ID: &str = "x-request-id";

/// The checks, the request's name, and the headers of every answer.
pub(super) async fn guard(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let request_id = uuid::Uuid::now_v7().simple().to_string();
    let span = tracing::info_span!("http", method = %request.method(), path = request.uri().path(), request_id);
    let checked = check(&gateway, &request);
    let mut response = async {
        match checked {
            Ok(Some(origin)) if request.method() == Method::OPTIONS => preflight(&origin),
            Ok(origin) => {
                let mut response = next.run(request).await;
                if let Some(origin) = origin {
                    allow(response.headers_mut(), &origin);
                }
                response
            }
            Err(error) => error.into_response(),
        }
    }
    .instrument(span)
    .await;
    let headers = response.headers_mut();
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, request_id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses what is not for us or not from a page that may ask. Gives the origin that the answer has to allow.
fn check(gateway: &Gateway, request: &Request) -> Result<Option<HeaderValue>, Error> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().authority().map(Authority::as_str))
        .unwrap_or_default();
    if !host_allowed(host, &gateway.config.allowed_hosts) {
        return Err(Error::Forbidden {
            reason: "HOST_NOT_ALLOWED",
            problem: format!("`{host}` is no name of this gateway; add it to gateway.allowed_hosts"),
        });
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return Ok(None);
    };
    let text = origin.to_str().unwrap_or("null");
    if !origin_allowed(text, host, &gateway.config.allowed_origins) {
        return Err(Error::Forbidden {
            reason: "ORIGIN_NOT_ALLOWED",
            problem: format!("pages of `{text}` may not use this gateway; add it to gateway.allowed_origins"),
        });
    }
    Ok(Some(origin.clone()))
}

/// True for addresses in numbers, which no stranger can point at us by a name of his, for this machine's own name, and for
/// names that are configured.
fn host_allowed(host: &str, allowed: &[String]) -> bool {
    let Some(name) = name_of(host) else { return false };
    let name = name.to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || allowed
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(&name) || allowed.eq_ignore_ascii_case(host))
}

fn origin_allowed(origin: &str, host: &str, allowed: &[String]) -> bool {
    if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some(authority) = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    authority.eq_ignore_ascii_case(host) || name_of(authority).is_some_and(is_this_machine)
}

fn is_this_machine(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Host without port and brackets.
fn name_of(authority: &str) -> Option<&str> {
    let (start, end) = match authority.strip_prefix('[') {
        Some(rest) => (1, 1 + rest.find(']')?),
        None => (0, authority.find(':').unwrap_or(authority.len())),
    };
    Some(&authority[start..end]).filter(|name| !name.is_empty())
}

fn allow(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(REQUEST_ID),
    );
}

fn preflight(origin: &HeaderValue) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    allow(headers, origin);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, DELETE"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type, accept"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_are_allowed_and_others_are_not() {
        for host in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LOCALHOST",
            "[::1]:8080",
            "192.168.1.5",
            "solo.localhost:1",
        ] {
            assert!(host_allowed(host, &[]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "[::1",
            ":8080",
        ] {
            assert!(!host_allowed(host, &[]), "{host}");
        }
        assert!(host_allowed("solo.lan:8080", &["solo.lan".into()]));
    }

    #[test]
    fn pages_of_strangers_are_refused() {
        let host = "192.168.1.5:8080";
        for origin in [
            "http://192.168.1.5:8080",
            "http://localhost:3000",
            "http://127.0.0.1",
            "https://[::1]:9",
        ] {
            assert!(origin_allowed(origin, host, &[]), "{origin}");
        }
        for origin in [
            "null",
            "http://evil.example",
            "http://192.168.1.5:80",
            "file://",
            "http://localhost.evil.example",
        ] {
            assert!(!origin_allowed(origin, host, &[]), "{origin}");
        }
        assert!(origin_allowed(
            "https://home.example",
            host,
            &["https://home.example".into()]
        ));
    }
}
