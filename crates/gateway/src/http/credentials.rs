//! What a request shows to say who it is from.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_hub::Hub;
use roost_hub::principal::Principal;
use roost_hub::registry::Presented;

use crate::authenticate;
use crate::problem::Problem;

/// The cookie of the dashboard.
const COOKIE: &str = "roost_session";
/// The longest `Authorization`, in bytes.
const AUTHORIZATION_LENGTH_MAX: usize = 2_048;

/// The parts of a request that may hold a credential.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Credentials<'a> {
    pub(crate) authorization: Option<&'a str>,
    pub(crate) cookie: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
    pub(crate) host: Option<&'a str>,
    /// `token` of the query, only where that is documented.
    pub(crate) token: Option<&'a str>,
}

impl Credentials<'_> {
    /// Recognises who asks; `None` when nothing is shown. Cancel safe.
    ///
    /// # Errors
    /// A problem when what is shown opens nothing.
    pub(crate) async fn recognise(
        &self,
        hub: &Arc<Hub>,
        address: IpAddr,
    ) -> Result<Option<Arc<Principal>>, Problem> {
        if let Some(text) = self.authorization {
            return by_header(hub, text, address).await.map(Some);
        }
        if let Some(token) = self.token {
            return by_token(hub, token, address).await.map(Some);
        }
        let Some(secret) = self.cookie.and_then(session_of) else { return Ok(None) };
        // H-21, W-01: a page of somebody else must not act in the name of who looks at it.
        if !self.is_same_origin() {
            return Err(Problem::forbidden("With a cookie, only the dashboard's own pages may ask this."));
        }
        hub.web_session(secret).map(Some).map_err(|error| authenticate::Failed::Denied(error).into())
    }

    fn is_same_origin(&self) -> bool {
        let host = self
            .origin
            .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
        host.is_some() && host == self.host
    }
}

/// Recognises who shows a token alone.
pub(crate) async fn by_token(
    hub: &Arc<Hub>,
    token: &str,
    address: IpAddr,
) -> Result<Arc<Principal>, Problem> {
    // The identity that is held up by wrong tokens is the address.
    let identity = format!("token from {address}");
    Ok(authenticate::recognise(hub, Presented::Token(token), &identity, address).await?)
}

async fn by_header(hub: &Arc<Hub>, text: &str, address: IpAddr) -> Result<Arc<Principal>, Problem> {
    let rule =
        || Problem::unauthenticated("Send `Authorization: Bearer TOKEN`, or Basic with device id and token.");
    if text.len() > AUTHORIZATION_LENGTH_MAX {
        return Err(Problem::unreadable("An Authorization header has at most 2,048 bytes."));
    }
    let (scheme, rest) = text.split_once(' ').ok_or_else(rule)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return by_token(hub, rest, address).await;
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(rule());
    }
    let decoded = STANDARD.decode(rest).map_err(|_no_base64| rule())?;
    let pair = std::str::from_utf8(&decoded).map_err(|_no_text| rule())?;
    let (username, password) = pair.split_once(':').ok_or_else(rule)?;
    let presented = Presented::Basic { username, password: password.as_bytes() };
    Ok(authenticate::recognise(hub, presented, username, address).await?)
}

fn session_of(cookies: &str) -> Option<&str> {
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value)
}

/// The value of `name` in a query, its escapes undone once.
pub(crate) fn of_query(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(found, _)| *found == name)?;
    unescaped(value)
}

/// A part of a query, its escapes undone once; `None` where one is none, or of no text.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.replace('+', " ").into_bytes();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.replace('+', " ").as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_value_is_unescaped_once() {
        for (query, value) in [
            ("token=abc", Some("abc")),
            ("a=b&token=a%2Fb%25", Some("a/b%")),
            ("token=a+b", Some("a b")),
            ("token=%", None),
            ("token=%zz", None),
            ("tokens=x", None),
        ] {
            assert_eq!(of_query(query, "token").as_deref(), value, "{query}");
        }
    }

    #[test]
    fn w_01_a_cookie_counts_only_from_our_own_pages() {
        for (origin, expected) in [
            (Some("http://roost.example:8080"), true),
            (Some("https://roost.example:8080"), true),
            (Some("http://evil.example"), false),
            (Some("null"), false),
            (None, false),
        ] {
            let host = Some("roost.example:8080");
            assert_eq!(Credentials { origin, host, ..Credentials::default() }.is_same_origin(), expected);
        }
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        assert_eq!(session_of("a=b; roost_session=xyz; c=d"), Some("xyz"));
        assert_eq!(session_of("xroost_session=xyz"), None);
    }
}
