//! The upgrade, RFC 6455 section 4.2. The request's head is parsed elsewhere;
//! the answer is spelled here, byte for byte, because some firmware compares
//! header names with case.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

const VERSION: &str = "13";
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
// Small clients fill the 22nd character of the key with any bits.
const KEY: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// What an upgrade request says in its headers; `None` for one that is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// `Connection`, all values joined with commas, as in the others.
    pub connection: Option<&'a str>,
    /// `Upgrade`.
    pub upgrade: Option<&'a str>,
    /// `Sec-WebSocket-Key`; two of them are none.
    pub key: Option<&'a str>,
    /// `Sec-WebSocket-Version`; two of them are none.
    pub version: Option<&'a str>,
}

/// The value of `Sec-WebSocket-Accept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptKey(String);

impl AcceptKey {
    /// The answer to a `Sec-WebSocket-Key`; a client compares with this.
    pub fn of(key: &str) -> Self {
        let mut hash = Sha1::new();
        hash.update(key.as_bytes());
        hash.update(GUID.as_bytes());
        Self(KEY.encode(hash.finalize()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error("is no WebSocket upgrade: send Connection: Upgrade and Upgrade: websocket")]
    NoUpgrade,
    #[error("only version 13 of WebSocket is spoken here")]
    Version,
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

impl HandshakeError {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            HandshakeError::NoUpgrade | HandshakeError::Key => 400,
            HandshakeError::Version => 426,
        }
    }

    /// Headers that the answer must carry, names in lower case: RFC 6455 section 4.4, RFC 9110 section 15.5.22.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            HandshakeError::Version => &[("sec-websocket-version", VERSION), ("upgrade", "websocket")],
            HandshakeError::NoUpgrade | HandshakeError::Key => &[],
        }
    }
}

/// Whether a request is an upgrade to WebSocket. Method GET and HTTP/1.1 are
/// checked by whoever parsed it.
///
/// # Errors
/// What is missing or wrong, with the status to answer.
pub fn check(request: &Upgrade<'_>) -> Result<AcceptKey, HandshakeError> {
    let names = |header: Option<&str>, token| header.is_some_and(|header| lists(header, token));
    if !names(request.connection, "upgrade") || !names(request.upgrade, "websocket") {
        return Err(HandshakeError::NoUpgrade);
    }
    if request.version.map(str::trim) != Some(VERSION) {
        return Err(HandshakeError::Version);
    }
    let key = request.key.map(str::trim).ok_or(HandshakeError::Key)?;
    match KEY.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(AcceptKey::of(key)),
        _ => Err(HandshakeError::Key),
    }
}

/// Whether a comma-separated header has this token, in any case: also for
/// `Sec-WebSocket-Protocol`.
pub fn lists(header: &str, token: &str) -> bool {
    header.split(',').any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The whole `101`, to be sent in one write and alone: OLIMEX nodes read it only
/// in the first segment, compare names with case, and lose a frame behind it.
/// `extra` are names and values as they shall stand; none may have a line break.
pub fn response(accept: &AcceptKey, protocol: Option<&str>, extra: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: ",
    );
    text.push_str(accept.as_str());
    let protocol = protocol.map(|protocol| ("Sec-WebSocket-Protocol", protocol));
    for (name, value) in protocol.iter().chain(extra) {
        for part in ["\r\n", name, ": ", value] {
            text.push_str(part);
        }
    }
    text.push_str("\r\n\r\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{AcceptKey, HandshakeError, Upgrade, check, lists, response};

    const SAMPLE: Upgrade<'_> = Upgrade {
        connection: Some("Upgrade"),
        upgrade: Some("websocket"),
        key: Some("q83vEjRWeJCrze8SNFZ4kA=="),
        version: Some("13"),
    };

    #[test]
    fn the_answer_is_spelled_as_olimex_nodes_read_it() {
        let accept = check(&SAMPLE).unwrap();
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\n\
                      Sec-WebSocket-Accept: iYmL0DolUaboajGybHjdmFYBpfU=\r\n\r\n";
        assert_eq!(response(&accept, None, &[]), answer.as_bytes());
        let answer = response(&accept, Some("mqtt"), &[("Server", "x")]);
        let end = b"\r\nSec-WebSocket-Protocol: mqtt\r\nServer: x\r\n\r\n";
        assert!(answer.ends_with(end));
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        let accept = AcceptKey::of("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept.as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn w_02_what_is_no_upgrade_is_refused_with_its_status() {
        let cases = [
            (Upgrade { upgrade: None, ..SAMPLE }, HandshakeError::NoUpgrade),
            (Upgrade { upgrade: Some("h2c"), ..SAMPLE }, HandshakeError::NoUpgrade),
            (Upgrade { connection: Some("close"), ..SAMPLE }, HandshakeError::NoUpgrade),
            (Upgrade { version: Some("8"), ..SAMPLE }, HandshakeError::Version),
            (Upgrade { version: Some("14"), ..SAMPLE }, HandshakeError::Version),
            (Upgrade { version: None, ..SAMPLE }, HandshakeError::Version),
            (Upgrade { key: None, ..SAMPLE }, HandshakeError::Key),
            (Upgrade { key: Some(""), ..SAMPLE }, HandshakeError::Key),
            (Upgrade { key: Some("c2hvcnQ="), ..SAMPLE }, HandshakeError::Key),
            (Upgrade { key: Some("q83vEjRWeJCrze8SNFZ4k"), ..SAMPLE }, HandshakeError::Key),
            (Upgrade { key: Some("q83v EjRWeJCrze8SNFZ4kA=="), ..SAMPLE }, HandshakeError::Key),
        ];
        for (request, error) in cases {
            assert_eq!(check(&request), Err(error), "{request:?}");
        }
        assert_eq!(HandshakeError::Version.status(), 426);
        let headers = [("sec-websocket-version", "13"), ("upgrade", "websocket")];
        assert_eq!(HandshakeError::Version.headers(), headers);
        assert_eq!(HandshakeError::Key.status(), 400);
    }

    #[test]
    fn a_browsers_upgrade_passes() {
        let connection = Some("keep-alive, Upgrade");
        let upgrade = Some("WebSocket");
        assert!(check(&Upgrade { connection, upgrade, ..SAMPLE }).is_ok());
    }

    #[test]
    fn a_protocol_is_found_in_the_clients_list() {
        assert!(lists("mqttv3.1, mqtt", "mqtt"));
        assert!(!lists("mqttv3.1", "mqtt"));
    }
}
