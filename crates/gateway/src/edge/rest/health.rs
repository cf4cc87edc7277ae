//! `/healthz`, `/readyz`, `/status`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::{Gateway, json};

/// The gateway is up.
pub(in crate::edge) async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 when Solo can answer, else 503; both say what is missing.
pub(in crate::edge) async fn readyz(State(gateway): State<Arc<Gateway>>) -> Response {
    let readiness = gateway.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

/// All services at a glance.
pub(in crate::edge) async fn status(State(gateway): State<Arc<Gateway>>) -> Json<serde_json::Value> {
    Json(json::plain(
        "solo.gateway.v1.GetStatusResponse",
        &gateway.overview().await,
    ))
}
