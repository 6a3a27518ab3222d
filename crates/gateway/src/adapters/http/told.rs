//! An answer that is written while the request is read: a line each time that more of it is stored,
//! and the report as the last, for devices whose connections break.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use http_body::Frame;
use serde_json::Value;
use tokio::sync::mpsc;

/// How many lines may wait for the peer to read them; then its own lines wait.
const LINES_MAX: usize = 4;
const STORED: HeaderName = HeaderName::from_static("roost-stored");
const LAST_LINE: HeaderName = HeaderName::from_static("roost-last-line");

/// Whether the request asks for such an answer.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = values.flat_map(|value| value.split(','));
    kinds.any(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-ndjson")
    })
}

/// Writes lines into the answer.
#[derive(Clone, Debug)]
pub(super) struct Teller(mpsc::Sender<Frame<Bytes>>);

impl Teller {
    /// Waits while the peer does not read.
    pub(super) async fn tell(&self, document: &Value) {
        let line = format!("{document}\n");
        // Whoever went away hears nothing.
        self.0.send(Frame::data(line.into())).await.ok();
    }

    async fn end(&self, document: &Value) {
        self.tell(document).await;
        let number = |name: &str| document.get(name).and_then(Value::as_u64).unwrap_or(0);
        let mut trailers = HeaderMap::new();
        trailers.insert(STORED, HeaderValue::from(number("accepted")));
        trailers.insert(LAST_LINE, HeaderValue::from(number("last_line")));
        self.0.send(Frame::trailers(trailers)).await.ok();
    }
}

/// The body of the answer. Its reader drives the work, so that a request is read only as fast as
/// its answer is.
struct Told<F> {
    work: Option<Pin<Box<F>>>,
    frames: mpsc::Receiver<Frame<Bytes>>,
}

impl<F: Future<Output = ()>> http_body::Body for Told<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.work.as_mut().is_some_and(|work| work.as_mut().poll(context).is_ready()) {
            self.work = None;
        }
        self.frames.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// The answer to a request that `work` takes; what `work` gives is its last line, with the counts as
/// trailers for who understands them.
pub(super) fn answer<F>(work: impl FnOnce(Teller) -> F) -> Response
where
    F: Future<Output = Value> + Send + 'static,
{
    let (sender, frames) = mpsc::channel(LINES_MAX);
    let teller = Teller(sender);
    let taken = work(teller.clone());
    let work = Some(Box::pin(async move { teller.end(&taken.await).await }));
    let head = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
        (header::TRAILER, "roost-stored, roost-last-line"),
    ];
    (head, Body::new(Told { work, frames })).into_response()
}
