//! The head of a connection's first request, read strictly: what two programs could read in two
//! ways is refused (RFC 9112 sections 2 to 6).

use http::StatusCode;

use crate::problem::Problem;

/// The longest head, in bytes.
pub(crate) const HEAD_LENGTH_MAX: usize = 64 * 1024;
/// The most headers.
const HEADERS_MAX: usize = 100;
/// The longest target, in bytes.
const TARGET_LENGTH_MAX: usize = 8 * 1024;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) version: Version,
    /// Whom the target names, as it is written for a proxy.
    authority: Option<&'a str>,
    headers: Vec<(&'a str, &'a [u8])>,
}

/// Where the head ends, looked for from `scanned` on, which becomes where to look next.
///
/// # Errors
/// It is too long already.
pub(crate) fn end(buffer: &[u8], scanned: &mut usize) -> Result<Option<usize>, Problem> {
    const END: &[u8] = b"\r\n\r\n";
    let from = scanned.saturating_sub(END.len() - 1);
    let found = buffer.get(from..).unwrap_or_default().windows(END.len()).position(|four| four == END);
    *scanned = buffer.len();
    let end = found.map(|place| from + place + END.len());
    if end.unwrap_or(buffer.len()) > HEAD_LENGTH_MAX {
        return Err(too_long("The head of a request has at most 65,536 bytes."));
    }
    Ok(end)
}

fn too_long(detail: &'static str) -> Problem {
    Problem::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head-too-large",
        "The head is too large",
        detail,
    )
}

impl<'a> Head<'a> {
    /// Reads a head that is there whole, its end included.
    ///
    /// # Errors
    /// A problem to be answered; the connection ends with it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Problem> {
        let text = bytes.strip_suffix(b"\r\n\r\n").unwrap_or(bytes);
        let mut lines = split_lines(text)?.into_iter();
        let first = std::str::from_utf8(lines.next().unwrap_or_default())
            .map_err(|_no_text| Problem::unreadable("The request line is no text."))?;
        let mut head = request_line(first)?;
        for line in lines {
            if head.headers.len() == HEADERS_MAX {
                return Err(too_long("A request has at most 100 headers."));
            }
            head.headers.push(header(line)?);
        }
        head.check()?;
        Ok(head)
    }

    /// The value of a header; of several, the first that is text.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).find_map(|value| std::str::from_utf8(value).ok())
    }

    /// All values of a header that may be a list, joined with commas.
    pub(crate) fn list(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.all(name).filter_map(|value| std::str::from_utf8(value).ok()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// Whether there is no header but these, each at most once.
    pub(crate) fn has_only(&self, names: &[&str]) -> bool {
        let is_one = |name: &str| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        self.headers.iter().enumerate().all(|(place, (name, _))| {
            is_one(name)
                && !self.headers.iter().skip(place + 1).any(|(other, _)| other.eq_ignore_ascii_case(name))
        })
    }

    /// Whether bytes of a body follow.
    pub(crate) fn has_body(&self) -> bool {
        let is_some = |length: &[u8]| length.iter().any(|digit| *digit != b'0');
        self.all("content-length").any(is_some) || self.all("transfer-encoding").next().is_some()
    }

    /// The head of a request that hyper has read.
    pub(crate) fn of<B>(request: &'a http::Request<B>) -> Self {
        let version =
            if request.version() == http::Version::HTTP_10 { Version::Http10 } else { Version::Http11 };
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Self {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            version,
            authority: request.uri().authority().map(http::uri::Authority::as_str),
            headers: headers.collect(),
        }
    }

    fn check(&self) -> Result<(), Problem> {
        if self.all("host").count() != 1 {
            return Err(Problem::unreadable("Send exactly one Host header."));
        }
        let is_named = |named: &str| self.get("host").is_some_and(|host| host.eq_ignore_ascii_case(named));
        if self.authority.is_some_and(|named| !is_named(named)) {
            return Err(Problem::unreadable("The target and Host name two servers: let both name one."));
        }
        let mut lengths = self.all("content-length");
        let length = lengths.next();
        let is_number = |value: &[u8]| {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            digits && std::str::from_utf8(value).is_ok_and(|text| text.parse::<u64>().is_ok())
        };
        if lengths.next().is_some() || length.is_some_and(|value| !is_number(value)) {
            return Err(Problem::unreadable("Send one Content-Length, in decimal digits."));
        }
        let mut codings = self.all("transfer-encoding");
        let Some(coding) = codings.next() else { return Ok(()) };
        if length.is_some() {
            return Err(Problem::unreadable("Send Content-Length or Transfer-Encoding, not both."));
        }
        let is_chunked = coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        if !is_chunked || self.version == Version::Http10 {
            return Err(Problem::unreadable("The one Transfer-Encoding is chunked, in HTTP/1.1."));
        }
        Ok(())
    }
}

/// Lines end in CR LF, and neither stands anywhere else.
fn split_lines(text: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let mut lines = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        lines.push(line);
    }
    let last = lines.len().saturating_sub(1);
    for (number, line) in lines.iter_mut().enumerate() {
        if number < last {
            *line = line.strip_suffix(b"\r").ok_or_else(|| Problem::unreadable("End lines with CR LF."))?;
        }
        if line.contains(&b'\r') || line.contains(&0) {
            return Err(Problem::unreadable("CR and NUL have no place within a line."));
        }
    }
    Ok(lines)
}

fn request_line(line: &str) -> Result<Head<'_>, Problem> {
    let rule = || Problem::unreadable("The first line is METHOD TARGET HTTP/1.1, single spaces between.");
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(rule());
    };
    let version = match version {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ => return Err(rule()),
    };
    check_method(method)?;
    if target.len() > TARGET_LENGTH_MAX {
        let detail = "Path and query have at most 8,192 bytes.";
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "target-too-long", "URI too long", detail));
    }
    let (authority, target) = split_authority(target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = if path.is_empty() && authority.is_some() { "/" } else { path };
    let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !path.starts_with('/') && path != "*" || !is_visible(target) || !authority.is_none_or(is_visible) {
        return Err(Problem::unreadable("The target is a path of visible ASCII characters."));
    }
    Ok(Head { method, path, query, version, authority, headers: Vec::new() })
}

/// Who takes us for a proxy writes whom it means before the path (RFC 9112 section 3.2.2).
fn split_authority(target: &str) -> (Option<&str>, &str) {
    let Some((scheme, rest)) = target.split_once("://") else { return (None, target) };
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return (None, target);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    rest.split_at_checked(end).map_or((None, target), |(authority, target)| (Some(authority), target))
}

fn check_method(method: &str) -> Result<(), Problem> {
    if METHODS.contains(&method) {
        return Ok(());
    }
    let is_name = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if matches!(method, "TRACE" | "CONNECT") {
        let detail = "This method is not for here.";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Problem::new(status, "method-not-allowed", "Method not allowed", detail));
    }
    if is_name {
        let detail = "There is no such method.";
        let status = StatusCode::NOT_IMPLEMENTED;
        return Err(Problem::new(status, "method-unknown", "Method unknown", detail));
    }
    Err(Problem::unreadable("This is no HTTP/1.1 request."))
}

fn header(line: &[u8]) -> Result<(&str, &[u8]), Problem> {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    let (name, value) = line.split_at_checked(colon).unwrap_or_default();
    let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    // An obsolete fold begins with a space, which is no sign of a name either.
    if name.is_empty() || !name.iter().all(is_sign) {
        return Err(Problem::unreadable("A header is `Name: value` on one line, no space before the colon."));
    }
    let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Problem::unreadable("A header's value has no control characters."));
    }
    let name = std::str::from_utf8(name).unwrap_or_default();
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> u64 {
        match Head::parse(request.as_bytes()) {
            Ok(_) => 200,
            Err(problem) => problem.document()["status"].as_u64().unwrap(),
        }
    }

    #[test]
    fn an_ordinary_request_is_read() {
        let text = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Thing:  y \r\n\r\n";
        let head = Head::parse(text).unwrap();
        assert_eq!((head.method, head.path, head.query), ("GET", "/a", "b=c"));
        assert_eq!(head.get("x-thing"), Some("y"));
    }

    #[test]
    fn a_target_may_name_the_server_as_for_a_proxy_if_it_is_the_one_that_host_names() {
        for (target, path, query) in [
            ("http://x/a?b=c", "/a", "b=c"),
            ("HTTPS://X:80/a/b", "/a/b", ""),
            ("http://x", "/", ""),
            ("http://x?b", "/", "b"),
            ("/a://b", "/a://b", ""),
        ] {
            let host = if target.contains(":80") { "x:80" } else { "x" };
            let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let head = Head::parse(text.as_bytes()).unwrap();
            assert_eq!((head.path, head.query), (path, query), "{target}");
        }
        for target in ["http://y/a", "http:///a", "http://", "ftp://x/a", "x/a", "http://x:80/a"] {
            assert_eq!(status(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")), 400, "{target}");
        }
    }

    #[test]
    fn h_03_too_many_headers_are_refused() {
        let headers = "A: b\r\n".repeat(99);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n")), 200);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}A: b\r\n\r\n")), 431);
        let mut scanned = 0;
        assert!(end(&vec![b'a'; HEAD_LENGTH_MAX + 1], &mut scanned).is_err());
    }

    #[test]
    fn h_04_a_long_target_is_refused() {
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(65_536))), 414);
    }

    #[test]
    fn h_05_a_content_length_is_one_decimal_number() {
        for length in ["+3", "3,3", "-1", "18446744073709551616", "0x3", "", "3 3"] {
            assert_eq!(
                status(&format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")),
                400
            );
        }
        for second in ["3", "4"] {
            let two = format!("Content-Length: 3\r\nContent-Length: {second}\r\n");
            assert_eq!(status(&format!("POST / HTTP/1.1\r\nHost: x\r\n{two}\r\n")), 400);
        }
    }

    #[test]
    fn h_06_what_can_be_read_in_two_ways_is_refused() {
        for headers in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length : 3\r\n",
            "A: b\r\n c\r\n",
            "A: b\nC: d\r\n",
            "A: b\rC: d\r\n",
            "A: \0\r\n",
            "Nothing\r\n",
        ] {
            assert_eq!(status(&format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n")), 400, "{headers:?}");
        }
        assert_eq!(status("POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    }

    #[test]
    fn h_14_a_request_has_one_host_and_a_version() {
        for request in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            assert_eq!(status(request), 400, "{request:?}");
        }
    }

    #[test]
    fn h_15_foreign_methods_are_refused() {
        for (method, expected) in [("TRACE", 405), ("CONNECT", 405), ("BREW", 501), ("get", 400)] {
            assert_eq!(status(&format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n")), expected, "{method}");
        }
    }

    #[test]
    fn the_end_is_found_however_the_head_is_cut() {
        let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
        let mut scanned = 0;
        let found = (0..=text.len()).find_map(|length| end(&text[..length], &mut scanned).unwrap());
        assert_eq!(found, Some(text.len() - 4));
    }
}
