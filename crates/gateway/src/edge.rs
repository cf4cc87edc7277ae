//! Where clients come in: gRPC, WebSocket, REST, the page. Each turns its own clothes into messages of `solo.gateway.v1`
//! and back; what a conversation is, none of them knows. Wyoming's clients bring a conversation of their own and use the
//! services behind it one by one.

mod dashboard;
pub(crate) mod forward;
pub(crate) mod grpc;
mod guard;
mod rest;
mod ws;
pub(crate) mod wyoming;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use solo_service::problem::Problem;
use tokio::net::TcpListener;

use crate::Gateway;
use crate::error::Error;

/// Serves HTTP until the gateway stops and its conversations have ended.
pub(crate) async fn serve_http(gateway: Arc<Gateway>, listener: TcpListener) {
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "small packets of this connection wait for company");
        }
    });
    let stopped = gateway.context.shutdown.clone().cancelled_owned();
    let served = axum::serve(listener, router(Arc::clone(&gateway)))
        .with_graceful_shutdown(stopped)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "http stopped");
    }
    gateway.sessions.close();
    gateway.sessions.wait().await;
}

fn router(gateway: Arc<Gateway>) -> axum::Router {
    axum::Router::new()
        .route("/", get(dashboard::page))
        .route("/app.js", get(dashboard::script))
        .route("/sound.js", get(dashboard::sound))
        .route("/services.js", get(dashboard::services))
        .route("/audio.js", get(dashboard::audio_worklet))
        .route("/style.css", get(dashboard::style))
        .route("/ws", get(ws::upgrade))
        .route("/chat", post(rest::chat::chat))
        .route("/transcribe", post(rest::speech::transcribe))
        .route("/speak", post(rest::speech::speak))
        .route("/search", get(rest::documents::search))
        .route("/documents", get(rest::documents::list).post(rest::documents::put))
        .route("/documents/{id}/passage", get(rest::documents::passage))
        .route(
            "/documents/{id}",
            get(rest::documents::get).delete(rest::documents::delete),
        )
        .route("/status", get(rest::health::status))
        .route("/healthz", get(rest::health::healthz))
        .route("/readyz", get(rest::health::readyz))
        .fallback(async |uri: Uri| Error::NoRoute {
            path: uri.path().to_owned(),
        })
        .method_not_allowed_fallback(async |method: Method| Error::NoMethod {
            method: method.to_string(),
        })
        .layer(DefaultBodyLimit::max(gateway.config.limits.max_body_bytes))
        .layer(from_fn_with_state(Arc::clone(&gateway), guard::guard))
        .with_state(gateway)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        // What HTTP has a status for and gRPC has not.
        let status = match &self {
            Self::BodyTooLarge { .. } => Some(StatusCode::PAYLOAD_TOO_LARGE),
            Self::NoMethod { .. } => Some(StatusCode::METHOD_NOT_ALLOWED),
            Self::Invalid {
                reason: "UNSUPPORTED_MEDIA_TYPE",
                ..
            } => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            _ => None,
        };
        let mut problem = Problem::of(self);
        if let Some(status) = status {
            problem.status = status.as_u16();
            problem.title = status.canonical_reason().unwrap_or(problem.title);
        }
        problem.into_response()
    }
}
