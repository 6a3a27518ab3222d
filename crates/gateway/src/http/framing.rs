//! Where requests begin and end on a connection that serves several. Each head is read as strictly
//! as the first one (H-05, H-06): what two programs could read in two ways could smuggle a request.

use http::StatusCode;

use super::head::{self, Head};
use crate::problem::Problem;

/// Where the bytes that come next belong.
#[derive(Debug)]
enum Place {
    Head,
    /// So many bytes of a body are to come.
    Body(u64),
    Chunk(ChunkPlace),
    /// Behind a request for another protocol, until that is answered.
    Asked,
    /// The other protocol.
    Other,
    /// Nothing is read any more.
    Over,
}

/// Within a chunked body (RFC 9112, section 7.1).
#[derive(Debug)]
enum ChunkPlace {
    /// Behind so many digits of a size.
    Size(u64, u8),
    /// Behind a size, up to the end of its line; whether a CR came.
    SizeEnd(u64, bool),
    Data(u64),
    /// Behind data; whether a CR came.
    DataEnd(bool),
    /// On a line behind the last chunk: its length, and whether a CR came.
    Trailer(usize, bool),
}

/// Something that cannot be, and where: the index of the byte in what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// In a head; the byte must not be read.
    Head(usize),
    /// In a body; reading ends behind the byte.
    Body(usize),
}

/// Follows the bytes of a connection.
#[derive(Debug)]
pub(super) struct Framing {
    place: Place,
    /// What came of the head.
    head: Vec<u8>,
    scanned: usize,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { place: Place::Head, head: Vec::new(), scanned: 0 }
    }

    /// Whether nothing more may be read.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.place, Place::Over)
    }

    /// Whether nothing more may be read until the request is answered.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.place, Place::Asked)
    }

    /// The request for another protocol is answered so.
    pub(super) fn answered(&mut self, answer: &[u8]) {
        self.place = if answer.starts_with(b"HTTP/1.1 101 ") { Place::Other } else { Place::Head };
    }

    /// Looks at what came; gives how much of it may be read now.
    ///
    /// # Errors
    /// [`Fault`]; nothing behind it may be read, now or later.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let taken = match &mut self.place {
                Place::Asked | Place::Over => return Ok(at),
                Place::Other => return Ok(bytes.len()),
                Place::Head => self.head(rest).map_err(|index| Fault::Head(at + index)),
                Place::Body(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left = left.saturating_sub(taken as u64);
                    if *left == 0 {
                        self.place = Place::Head;
                    }
                    Ok(taken)
                }
                Place::Chunk(place) => match place.step(rest) {
                    Ok(Some((next, taken))) => {
                        *place = next;
                        Ok(taken)
                    }
                    Ok(None) => {
                        self.place = Place::Head;
                        Ok(1)
                    }
                    Err(Unchunked) => Err(Fault::Body(at)),
                },
            };
            at += taken.inspect_err(|_fault| self.place = Place::Over)?;
        }
        Ok(at)
    }

    /// Takes what belongs to the head; gives how many bytes, or the byte at which it cannot be one.
    fn head(&mut self, rest: &[u8]) -> Result<usize, usize> {
        let before = self.head.len();
        // A line that ends in LF alone ends the head for some.
        let bare = rest.iter().enumerate().find(|(index, byte)| {
            let previous = index.checked_sub(1).map_or(self.head.last(), |index| rest.get(index));
            **byte == b'\n' && previous != Some(&b'\r')
        });
        self.head.extend_from_slice(rest);
        let end = head::end(&self.head, &mut self.scanned).map_err(|_too_long| 0_usize)?;
        let taken = end.map_or(rest.len(), |end| end.saturating_sub(before));
        if let Some((index, _)) = bare.filter(|(index, _)| *index < taken) {
            return Err(index);
        }
        let Some(end) = end else { return Ok(taken) };
        self.head.truncate(end);
        // Empty lines may stand before a request (RFC 9112, section 2.2).
        let mut text: &[u8] = &self.head;
        while let Some(rest) = text.strip_prefix(b"\r\n") {
            text = rest;
        }
        if !text.is_empty() {
            self.place = after(text).map_err(|_problem| taken.saturating_sub(1))?;
        }
        (self.head, self.scanned) = (Vec::new(), 0);
        Ok(taken)
    }
}

/// What follows a head.
fn after(text: &[u8]) -> Result<Place, Problem> {
    match Head::parse(text) {
        Ok(head) => Ok(behind(&head)),
        Err(problem) if problem.status() == StatusCode::BAD_REQUEST => Err(problem),
        // A method or target that is refused with a status of its own, by whoever answers it.
        Err(_refused_later) => {
            let line = text.windows(2).position(|two| two == b"\r\n").unwrap_or(text.len());
            let fields = text.get(line..).unwrap_or_default();
            Head::parse(&[b"GET / HTTP/1.1", fields].concat()).map(|head| behind(&head))
        }
    }
}

fn behind(head: &Head<'_>) -> Place {
    if head.get("transfer-encoding").is_some() {
        return Place::Chunk(ChunkPlace::Size(0, 0));
    }
    match head.get("content-length").and_then(|length| length.parse().ok()) {
        Some(length @ 1..) => Place::Body(length),
        _ if head.get("upgrade").is_some() => Place::Asked,
        _ => Place::Head,
    }
}

/// The body is not chunked as it says.
struct Unchunked;

impl ChunkPlace {
    /// Takes the next bytes; gives where it is then, and how many they were. `None` at the end.
    fn step(&self, rest: &[u8]) -> Result<Option<(Self, usize)>, Unchunked> {
        let Some(byte) = rest.first().copied() else { return Err(Unchunked) };
        let digit = char::from(byte).to_digit(16).map(u64::from);
        Ok(Some(match (self, byte) {
            (Self::Size(size, digits), _) if digit.is_some() => {
                let size = size.checked_mul(16).and_then(|size| size.checked_add(digit?));
                (Self::Size(size.ok_or(Unchunked)?, digits.saturating_add(1)), 1)
            }
            (Self::Size(_, 0), _) => return Err(Unchunked),
            (Self::Size(size, _), b'\r') => (Self::SizeEnd(*size, true), 1),
            (Self::Size(size, _), b';' | b' ' | b'\t') => (Self::SizeEnd(*size, false), 1),
            (Self::SizeEnd(0, true), b'\n') => (Self::Trailer(0, false), 1),
            (Self::SizeEnd(size, true), b'\n') => (Self::Data(*size), 1),
            (Self::SizeEnd(size, false), byte) if byte != b'\n' => (Self::SizeEnd(*size, byte == b'\r'), 1),
            (Self::Data(left), _) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                match left.saturating_sub(taken as u64) {
                    0 => (Self::DataEnd(false), taken),
                    left => (Self::Data(left), taken),
                }
            }
            (Self::DataEnd(false), b'\r') => (Self::DataEnd(true), 1),
            (Self::DataEnd(true), b'\n') => (Self::Size(0, 0), 1),
            (Self::Trailer(0, true), b'\n') => return Ok(None),
            (Self::Trailer(_, true), b'\n') => (Self::Trailer(0, false), 1),
            (Self::Trailer(length, false), b'\r') => (Self::Trailer(*length, true), 1),
            (Self::Trailer(length, false), byte) if byte != b'\n' => {
                (Self::Trailer(length.saturating_add(1), false), 1)
            }
            _ => return Err(Unchunked),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    fn follow(text: &str, size: usize) -> Result<(), (usize, bool)> {
        let mut framing = Framing::new();
        for (number, piece) in text.as_bytes().chunks(size).enumerate() {
            let at = number * size;
            framing.follow(piece).map(|taken| assert_eq!(taken, piece.len())).map_err(
                |fault| match fault {
                    Fault::Head(index) => (at + index, true),
                    Fault::Body(index) => (at + index, false),
                },
            )?;
        }
        Ok(())
    }

    #[track_caller]
    fn check(text: &str, expected: Result<(), (usize, bool)>) {
        for size in [1, 2, 3, 7, text.len()] {
            assert_eq!(follow(text, size), expected, "{size}: {text:?}");
        }
    }

    fn post(headers: &str, body: &str) -> String {
        format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}")
    }

    #[test]
    fn requests_follow_one_another_whatever_their_bodies() {
        let chunked =
            post("Transfer-Encoding: chunked\r\n", "3;a=b\r\na\nb\r\n0A\r\n0123456789\r\n0\r\nA: b\r\n\r\n");
        let whole = post("Content-Length: 4\r\n", "\n\n\n\n");
        let refused = whole.replace("POST / ", &format!("BREW /{} ", "a".repeat(10_000)));
        check(&format!("{GET}{chunked}{whole}\r\n{GET}{refused}{chunked}{GET}"), Ok(()));
    }

    #[test]
    fn h_05_h_06_what_can_be_read_in_two_ways_is_found_in_any_head() {
        let bodies = format!("{GET}{}", post("Content-Length: 3\r\n", "abc"));
        for bad in [
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", ""),
            post("Content-Length: 3\r\nContent-Length: 3\r\n", ""),
            post("Host: y\r\n", ""),
            post("A: b\r\n c\r\n", ""),
            "BREW / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(),
        ] {
            let text = format!("{bodies}{bad}");
            check(&text, Err((text.len() - 1, true)));
        }
        let bare = "GET / HTTP/1.1\nHost: x\n\n";
        check(&format!("{bodies}{bare}"), Err((bodies.len() + 14, true)));
    }

    #[test]
    fn what_follows_a_request_for_another_protocol_waits_for_the_answer() {
        let ask = "GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n";
        let text = format!("{ask}\n\n");
        for (answer, expected) in [("101 Switching Protocols", Ok(2)), ("404 Not Found", Err(Fault::Head(0)))]
        {
            let mut framing = Framing::new();
            assert_eq!(framing.follow(text.as_bytes()), Ok(ask.len()));
            assert!(framing.is_asked());
            framing.answered(format!("HTTP/1.1 {answer}\r\n").as_bytes());
            assert_eq!(framing.follow(b"\n\n"), expected);
        }
    }

    #[test]
    fn h_07_a_broken_chunk_ends_the_reading() {
        let head = post("Transfer-Encoding: chunked\r\n", "");
        for (body, at) in [
            ("x\r\n", 0),
            ("\r\n", 0),
            ("0x10\r\n", 1),
            ("-1\r\n", 0),
            ("FFFFFFFFFFFFFFFFF\r\n", 16),
            ("3\nabc\r\n", 1),
            ("3;a\nabc\r\n", 3),
            ("3\r\nabcX", 6),
            ("3\r\nabc\n", 6),
            ("0\r\nA: b\n", 7),
        ] {
            check(&format!("{head}{body}"), Err((head.len() + at, false)));
        }
    }
}
