//! The page at `/`: a few small files that are part of the program, no build step, nothing from elsewhere.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The page may load only what this gateway serves, and talk only to it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(super) async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("../../static/index.html"))
}

/// What it does.
pub(super) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("../../static/app.js"))
}

/// The microphone and the loudspeaker.
pub(super) async fn sound() -> Response {
    file("text/javascript; charset=utf-8", include_str!("../../static/sound.js"))
}

/// How the services are.
pub(super) async fn services() -> Response {
    file(
        "text/javascript; charset=utf-8",
        include_str!("../../static/services.js"),
    )
}

/// What happens on the audio thread.
pub(super) async fn audio_worklet() -> Response {
    file("text/javascript; charset=utf-8", include_str!("../../static/audio.js"))
}

/// How it looks.
pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("../../static/style.css"))
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // A new version of the program brings a new page: ask each time.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
