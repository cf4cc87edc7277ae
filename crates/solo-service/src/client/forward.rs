//! A call that goes to a service and comes back as it is: its messages are not read.

use std::time::Instant;

use async_stream::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::{Upstream, UpstreamError};
use crate::error::{ErrorCode, IntoStatus};

impl Upstream {
    /// Hands a call on to an address that is SERVING; waits for one until `deadline`. Nothing is retried, for what was said
    /// cannot be said again. A connection that breaks off in the middle ends the answer with a status that names the service.
    pub async fn forward(&self, deadline: Instant, request: Request<Body>) -> Response<Body> {
        let channel = match self.channel(deadline).await {
            Ok(channel) => channel,
            Err(error) => return error.into_status().into_http(),
        };
        let mut channel = channel;
        let answered = match channel.ready().await {
            Ok(ready) => ready.call(request).await,
            Err(error) => Err(error),
        };
        let service = self.service();
        match answered {
            Ok(response) => response.map(|body| ends_well(service, body)),
            Err(error) => broken_off(service, &error).into_http(),
        }
    }
}

/// The same body; where it would end in an error of the transport, trailers say what happened.
fn ends_well(service: &'static str, mut body: Body) -> Body {
    // A refusal has no body at all: wrapped, it would look like a stream that ended without its trailers.
    if body.is_end_stream() {
        return body;
    }
    let frames = stream! {
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => yield Ok::<_, Status>(frame),
                Err(status) => {
                    // A refusal's headers are what its trailers would be.
                    let headers = broken_off(service, &status).into_http::<Body>().into_parts().0.headers;
                    yield Ok(Frame::trailers(headers));
                    break;
                }
            }
        }
    };
    Body::new(StreamBody::new(frames))
}

fn broken_off(service: &'static str, error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::debug!(service, error = %crate::error::chain(error), "connection broke");
    let message = "the connection broke off (it stopped or was killed)".to_owned();
    UpstreamError::new(
        service,
        ErrorCode::Unavailable,
        ErrorCode::Unavailable.reason(),
        message,
    )
    .into_status()
}
