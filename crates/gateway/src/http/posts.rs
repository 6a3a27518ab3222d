//! Devices that post one reading after the other on a kept connection: their requests are many and
//! all alike, so they are read and answered here, without what the others need. Whatever is unusual
//! about a request leaves it, and all that follow, to hyper and the router, which answer the same.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use roost_hub::principal::Principal;
use roost_hub::time::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::timeout;

use super::credentials::Credentials;
use super::head::{Head, Version};
use super::{date, read_head, refuse, stops};
use crate::adapters::http::plain::{self, Taken};
use crate::adapters::mqtt;
use crate::admission::Admitted;
use crate::problem::Problem;
use crate::stream::Stream;

const PATH: &str = "/api/v1/me/telemetry";

/// Headers that change nothing of how a post of readings is answered. Any other might.
const USUAL: [&str; 8] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "user-agent",
];

/// A post of readings as JSON that is there whole.
struct Post<'a> {
    authorization: &'a str,
    payload: &'a [u8],
}

impl<'a> Post<'a> {
    /// `None` where there is anything unusual about the request, or more of it to come.
    fn of(head: &Head<'a>, behind: &'a [u8]) -> Option<Self> {
        let is_plain = head.method == "POST"
            && head.path == PATH
            && head.query.is_empty()
            && head.version == Version::Http11
            && head.has_only(&USUAL);
        let is_json =
            head.get("content-type").is_none_or(|kind| kind.eq_ignore_ascii_case("application/json"));
        let is_kept =
            head.get("connection").is_none_or(|connection| connection.eq_ignore_ascii_case("keep-alive"));
        if !(is_plain && is_json && is_kept) {
            return None;
        }
        let length = head.get("content-length")?.parse().ok()?;
        Some(Self { authorization: head.get("authorization")?, payload: behind.get(..length)? })
    }
}

/// What became of a connection's requests.
pub(super) enum Served {
    /// All that came were answered, and nothing more comes.
    All,
    /// The next one, with what was read of it, is not for here.
    Until(Stream, Vec<u8>),
}

/// What says that readings are kept; it is the same for a second.
#[derive(Default)]
struct Answer {
    second: i64,
    text: String,
}

impl Answer {
    fn at(&mut self, now: Timestamp) -> &str {
        let second = now.0.div_euclid(1_000);
        if self.text.is_empty() || second != self.second {
            self.second = second;
            self.text = format!("HTTP/1.1 204 No Content\r\ndate: {}\r\n\r\n", date::written(now));
        }
        &self.text
    }
}

/// Serves posts of readings until something else comes. `buffer` begins with a whole head, which has
/// `length` bytes.
pub(super) async fn serve(
    server: &Admitted,
    (mut stream, mut buffer): (Stream, Vec<u8>),
    mut length: usize,
    (peer, shutdown): (&mqtt::Peer, &watch::Receiver<bool>),
) -> Served {
    let mut answer = Answer::default();
    loop {
        let Some(taken) = take(server, &buffer, length, peer).await else {
            return Served::Until(stream, buffer);
        };
        let whole = match taken {
            Ok(taken) => taken,
            Err(problem) => {
                refuse::<()>(stream, &problem).await;
                return Served::All;
            }
        };
        if stream.write_all(answer.at(server.hub.now()).as_bytes()).await.is_err()
            || stream.flush().await.is_err()
        {
            return Served::All;
        }
        buffer.drain(..whole);
        let read = read_head(&mut stream, &mut buffer, shutdown.clone());
        length = match timeout(server.settings.login_timeout, read).await {
            Ok(Ok(Some(length))) => length,
            // H-01: silence between requests ends the connection without a word.
            Err(_late) if buffer.is_empty() => return Served::All,
            Ok(Ok(None)) => return Served::All,
            // Hyper has its own words for a head that does not come or is too long.
            Ok(Err(_)) | Err(_) => return Served::Until(stream, buffer),
        };
        if *shutdown.borrow() {
            refuse::<()>(stream, &stops()).await;
            return Served::All;
        }
    }
}

/// Takes the request at the beginning of what was read; its length, once its readings are kept. `None`
/// where it is not for here: nothing has been done then.
async fn take(
    server: &Admitted,
    buffer: &[u8],
    length: usize,
    peer: &mqtt::Peer,
) -> Option<Result<usize, Problem>> {
    let (head, behind) = buffer.split_at_checked(length)?;
    let head = Head::parse(head).ok()?;
    let post = Post::of(&head, behind)?;
    if post.payload.len() > server.settings.body_length_max {
        return None;
    }
    let principal = match recognise(server, post.authorization, peer).await {
        Ok(principal) => principal?,
        Err(problem) => return Some(Err(problem)),
    };
    let whole = length + post.payload.len();
    let position = match plain::take(&server.hub, &principal, Bytes::copy_from_slice(post.payload)) {
        Taken::Up(position) => position,
        Taken::Refused(problem) => return Some(Err(problem)),
        Taken::Not => return None,
    };
    let durable = poll_fn(|context| server.durable.poll_reached(position, context)).await;
    Some(durable.map(|_reached| whole).map_err(Problem::from))
}

async fn recognise(
    server: &Admitted,
    authorization: &str,
    peer: &mqtt::Peer,
) -> Result<Option<Arc<Principal>>, Problem> {
    let shown = Credentials { authorization: Some(authorization), ..Credentials::default() };
    let principal = shown.recognise(&server.hub, peer.address.ip()).await.inspect_err(|_refused| {
        server.hub.counters.logins_refused_total.increment();
    })?;
    // Who is no device has no readings of its own, and is told so by the router.
    Ok(principal.filter(|principal| principal.device().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_date_of_its_second() {
        let mut answer = Answer::default();
        for (millis, time) in [(0, "00:00:00"), (999, "00:00:00"), (1_000, "00:00:01"), (999, "00:00:00")] {
            let text = format!("HTTP/1.1 204 No Content\r\ndate: Thu, 01 Jan 1970 {time} GMT\r\n\r\n");
            assert_eq!(answer.at(Timestamp(millis)), text);
        }
    }
}
