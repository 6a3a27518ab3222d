//! A request's body that has to come at a pace.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use roost_wire::lines::LINE_TYPES;
use tokio::time::{Instant, Sleep};

/// How long a body may take whatever its rate.
const GRACE: Duration = Duration::from_secs(10);
/// The bytes of a second after that (H-02).
const RATE_MIN: u32 = 64;

/// The body came too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body came too slowly")]
pub(crate) struct TooSlow;

/// Whether the body is taken as it comes, line by line.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    LINE_TYPES.iter().any(|lines| kind.eq_ignore_ascii_case(lines))
        || headers.contains_key(header::TRANSFER_ENCODING)
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PacedBody {
    incoming: Incoming,
    /// The silence that a stream may keep; `None` asks for a rate.
    idle_max: Option<Duration>,
    begun: Instant,
    /// Since when nothing was there although it was asked for.
    silent_since: Option<Instant>,
    received: u32,
    /// Rings at the deadline, or before: it is moved only when it rings, not with each piece.
    timer: Option<Pin<Box<Sleep>>>,
}

impl PacedBody {
    pub(crate) fn new(incoming: Incoming, idle_max: Option<Duration>) -> Self {
        Self { incoming, idle_max, begun: Instant::now(), silent_since: None, received: 0, timer: None }
    }

    fn deadline(&mut self) -> Instant {
        let silent_since = *self.silent_since.get_or_insert_with(Instant::now);
        match self.idle_max {
            Some(idle_max) => silent_since + idle_max,
            None => self.begun + GRACE + Duration::from_secs(1) * (self.received / RATE_MIN),
        }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            self.silent_since = None;
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                self.received = self.received.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = self.deadline();
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(timer.as_mut().poll(context));
        if Instant::now() < deadline {
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(context));
        }
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
