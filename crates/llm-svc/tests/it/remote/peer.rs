//! A server that does what it is told: answers with these bytes in these pieces, hangs, breaks off; and sees what it was
//! asked and who still listens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, Response};
use futures::StreamExt;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What happens next in a response.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Nothing, for ever.
    Hang,
    /// The connection breaks, at [`Peer::break_off`].
    Break,
}

/// A response.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    /// True: not even the headers come.
    silent: bool,
    steps: Vec<Step>,
}

impl Reply {
    /// These bytes, each piece by itself.
    pub(crate) fn ok(pieces: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self::status(200, pieces)
    }

    pub(crate) fn status(status: u16, pieces: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            silent: false,
            steps: pieces.into_iter().map(|piece| Step::Send(piece.into())).collect(),
        }
    }

    /// Server-sent events, each of one line of data.
    pub(crate) fn events<'a>(events: impl IntoIterator<Item = &'a str>) -> Self {
        Self::ok(events.into_iter().map(|event| format!("data: {event}\n\n")))
    }

    /// Nothing at all.
    pub(crate) fn silence() -> Self {
        Self {
            silent: true,
            ..Self::ok(Vec::<Vec<u8>>::new())
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

/// A request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Value,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
    open: AtomicUsize,
    broken: Notify,
}

/// The server.
pub(crate) struct Peer {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Peer {
    /// A server that answers with these, one after the other.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let shared = Arc::new(Shared {
            replies: Mutex::new(replies.into_iter().collect()),
            ..Shared::default()
        });
        let router = Router::new().fallback(respond).with_state(Arc::clone(&shared));
        Self {
            url: serve(router).await,
            shared,
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Breaks the response that has come to [`Step::Break`], or the next that does.
    pub(crate) fn break_off(&self) {
        self.shared.broken.notify_one();
    }

    /// Responses that somebody listens to.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

/// Serves on a free port of this machine until the test ends.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// Counts a response while it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn respond(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let open = Open::new(&shared);
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let authorization = head.headers.get("authorization");
    shared.seen.lock().unwrap().push(Seen {
        path: head.uri.path().to_owned(),
        authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    let reply = shared.replies.lock().unwrap().pop_front();
    let reply = reply.unwrap_or_else(|| Reply::status(500, ["the script is at its end"]));
    if reply.silent {
        std::future::pending::<()>().await;
    }
    let steps = futures::stream::iter(reply.steps).then(move |step| {
        let shared = Arc::clone(&open.0);
        async move {
            match step {
                Step::Send(bytes) => {
                    // So that the next piece is sent by itself.
                    tokio::task::yield_now().await;
                    Ok(Bytes::from(bytes))
                }
                Step::Hang => std::future::pending().await,
                Step::Break => {
                    shared.broken.notified().await;
                    Err(std::io::Error::other("scripted"))
                }
            }
        }
    });
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Body::from_stream(steps)).unwrap())
}
