//! Pages of others that may ask from a browser (the Fetch standard's CORS). They show a token; a
//! cookie is the dashboard's alone, so that a request with one is never shared.

use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Content-Encoding, Accept, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("ETag, Location, Retry-After, Idempotency-Replayed");
/// For how long a browser need not ask again, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// Whose pages may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// The dashboard's own only.
    #[default]
    Own,
    /// Everybody's.
    All,
    /// Those of these origins, such as `https://farm.example`.
    These(Vec<String>),
}

/// A text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin, such as https://farm.example")]
pub struct InvalidOrigin(pub String);

impl Origins {
    /// Reads origins divided by commas, or `*` for all; nothing is [`Origins::Own`].
    ///
    /// # Errors
    /// One of them is no origin: `http` or `https`, a host, perhaps a port.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
        if names == ["*"] {
            return Ok(Self::All);
        }
        if let Some(wrong) = names.iter().find(|name| !is_origin(name)) {
            return Err(InvalidOrigin(wrong.clone()));
        }
        Ok(if names.is_empty() { Self::Own } else { Self::These(names) })
    }

    /// As whom an origin is named in answers; `None`: it may not.
    fn named(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Self::Own => None,
            Self::All => Some(HeaderValue::from_static("*")),
            Self::These(origins) => {
                let text = origin.to_str().ok()?.to_ascii_lowercase();
                origins.contains(&text).then(|| origin.clone())
            }
        }
    }
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_sign))
}

/// Who asks from a page of another host, if it may.
#[derive(Debug)]
pub(super) struct Asking {
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl Asking {
    pub(super) fn of<B>(request: &Request<B>, origins: &Origins) -> Self {
        let headers = request.headers();
        let origin = headers.get(header::ORIGIN).filter(|_| !headers.contains_key(header::COOKIE));
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Self { origin: origin.and_then(|origin| origins.named(origin)), is_preflight }
    }

    /// The answer to a browser that asks beforehand.
    pub(super) fn preflight(&self) -> Option<Response> {
        if !self.is_preflight || self.origin.is_none() {
            return None;
        }
        let headers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED),
        ];
        Some((StatusCode::NO_CONTENT, headers).into_response())
    }

    /// Lets the page see the answer, unless that says itself who may.
    pub(super) fn allow(self, response: &mut Response) {
        let Some(origin) = self.origin else { return };
        let headers = response.headers_mut();
        if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_from_a_list() {
        let these = |names: &[&str]| Origins::These(names.iter().map(|name| (*name).to_owned()).collect());
        for (text, origins) in [
            ("", Origins::Own),
            (" , ", Origins::Own),
            ("*", Origins::All),
            ("https://Farm.example", these(&["https://farm.example"])),
            ("http://a:3000, https://b", these(&["http://a:3000", "https://b"])),
        ] {
            assert_eq!(Origins::parse(text), Ok(origins), "{text}");
        }
        for wrong in ["farm.example", "https://", "https://a/path", "*,https://a", "null", "ftp://a"] {
            assert!(Origins::parse(wrong).is_err(), "{wrong}");
        }
    }

    fn allowed(origins: &Origins, headers: &[(&str, &str)]) -> Option<HeaderValue> {
        let builder =
            headers.iter().fold(Request::get("/"), |builder, (name, value)| builder.header(*name, *value));
        Asking::of(&builder.body(()).unwrap(), origins).origin
    }

    #[test]
    fn a_request_with_a_cookie_is_never_shared() {
        let origin = ("origin", "https://farm.example");
        assert_eq!(allowed(&Origins::All, &[origin]).unwrap(), "*");
        assert_eq!(allowed(&Origins::All, &[origin, ("cookie", "roost_session=x")]), None);
        assert_eq!(allowed(&Origins::All, &[]), None);
        let these = Origins::parse("https://farm.example").unwrap();
        assert_eq!(allowed(&these, &[origin]).unwrap(), origin.1);
        assert_eq!(allowed(&these, &[("origin", "https://evil.example")]), None);
        assert_eq!(allowed(&Origins::Own, &[origin]), None);
    }
}
