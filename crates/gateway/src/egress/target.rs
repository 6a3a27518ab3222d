//! What a URL names: where to connect, whom to expect there, and what to ask for.

use std::net::IpAddr;

use http::Uri;
use http::uri::PathAndQuery;

/// The longest URL, in bytes.
const URL_LENGTH_MAX: usize = 2_048;

/// Why a URL is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidUrl {
    /// It cannot be read, or has no host.
    #[error("this is no URL")]
    Malformed,
    /// `file:`, `gopher:` and the like.
    #[error("only http and https are called")]
    Scheme,
    /// `user:password@host`: whom it names is too easily misread.
    #[error("a URL with a user in it is not called")]
    User,
}

/// A URL that may be called, if its address may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(super) is_secure: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As it stands in the header `Host`.
    pub(super) authority: String,
    pub(super) path: PathAndQuery,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`InvalidUrl`]
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        if url.len() > URL_LENGTH_MAX {
            return Err(InvalidUrl::Malformed);
        }
        let url: Uri = url.parse().map_err(|_no_url| InvalidUrl::Malformed)?;
        let is_secure = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(InvalidUrl::Scheme),
            None => return Err(InvalidUrl::Malformed),
        };
        let authority = url.authority().ok_or(InvalidUrl::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::User);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // A port that is none is a mistake, not the default.
            None if authority.as_str().ends_with(authority.host()) => {
                if is_secure {
                    443
                } else {
                    80
                }
            }
            None => return Err(InvalidUrl::Malformed),
        };
        if host.is_empty() || port == 0 {
            return Err(InvalidUrl::Malformed);
        }
        let path = url.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Ok(Self { is_secure, host, port, authority: authority.to_string(), path })
    }

    /// The same place with a longer path.
    ///
    /// # Errors
    /// [`InvalidUrl`]: no path comes of it.
    pub(crate) fn join(mut self, more: &str) -> Result<Self, InvalidUrl> {
        let joined = format!("{}{more}", self.path.path().trim_end_matches('/'));
        self.path = joined.parse().map_err(|_no_path| InvalidUrl::Malformed)?;
        Ok(self)
    }

    /// The host, where it is an address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_01_a_url_that_could_lead_elsewhere_is_refused() {
        for (url, refused) in [
            ("file:///etc/passwd", InvalidUrl::Malformed),
            ("gopher://example.com/x", InvalidUrl::Scheme),
            ("ftp://example.com/", InvalidUrl::Scheme),
            ("http://user@example.com/", InvalidUrl::User),
            ("https://example.com:80@127.0.0.1/", InvalidUrl::User),
            ("example.com", InvalidUrl::Malformed),
            ("/path", InvalidUrl::Malformed),
            ("", InvalidUrl::Malformed),
            ("http://", InvalidUrl::Malformed),
            ("http://:80/", InvalidUrl::Malformed),
            ("http://example.com:99999/", InvalidUrl::Malformed),
            ("http://example.com:0/", InvalidUrl::Malformed),
            ("http://exam ple.com/", InvalidUrl::Malformed),
            ("http://example.com/\r\nX: y", InvalidUrl::Malformed),
        ] {
            assert_eq!(Target::parse(url), Err(refused), "{url}");
        }
        assert_eq!(Target::parse(&format!("http://a/{}", "x".repeat(2_048))), Err(InvalidUrl::Malformed));
    }

    #[test]
    fn a_url_names_a_host_a_port_and_a_path() {
        for (url, host, port, path) in [
            ("http://example.com", "example.com", 80, "/"),
            ("https://example.com/a?b=c", "example.com", 443, "/a?b=c"),
            ("https://example.com:8443/a#b", "example.com", 8443, "/a"),
            ("http://[2001:db8::1]:81/", "2001:db8::1", 81, "/"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!((&*target.host, target.port, target.path.as_str()), (host, port, path), "{url}");
        }
        let joined = Target::parse("http://a/b/").unwrap().join("/c").unwrap();
        assert_eq!(joined.path.as_str(), "/b/c");
    }
}
