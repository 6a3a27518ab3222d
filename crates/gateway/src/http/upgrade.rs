//! Upgrades to WebSocket: which paths take one, who may, and what is answered. A connection may be
//! upgraded by its first request or by a later one.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use roost_hub::principal::Principal;
use roost_wire::websocket::handshake::{self, AcceptKey, Upgrade};

use super::credentials::{self, Credentials};
use super::head::{Head, Version};
use crate::adapters::mqtt;
use crate::admission::Admitted;
use crate::problem::Problem;

/// What is spoken on a WebSocket, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Mqtt,
    Live,
    Echo,
    /// A node of OLIMEX IoT, which says who it is in its first frames.
    OlimexNode,
    /// A page that was made for the server of OLIMEX IoT.
    OlimexPage,
}

impl Spoken {
    pub(super) fn of(head: &Head<'_>) -> Option<Self> {
        match head.path {
            "/mqtt" => Some(Self::Mqtt),
            "/api/v1/ws" => Some(Self::Live),
            "/api/v1/echo" => Some(Self::Echo),
            // Without an upgrade, these are the dashboard and events that are posted.
            "/events" | "/"
                if head.list("upgrade").is_some_and(|upgrade| handshake::lists(&upgrade, "websocket")) =>
            {
                Some(Self::OlimexNode)
            }
            "/clients" => Some(Self::OlimexPage),
            path if path.starts_with("/clients/api-key/") => Some(Self::OlimexPage),
            _ => None,
        }
    }
}

/// An upgrade that is to be answered with 101.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) spoken: Spoken,
    /// Who asks, where the request says so.
    pub(super) principal: Option<Arc<Principal>>,
    accept: AcceptKey,
}

impl Accepted {
    fn protocol(&self) -> Option<&'static str> {
        // [MQTT-6.0.0-4]
        (self.spoken == Spoken::Mqtt).then_some("mqtt")
    }

    /// The answer, spelled as old firmware reads it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        handshake::response(&self.accept, self.protocol(), &[])
    }

    /// The answer to a later request of a connection, which none of the old firmware makes.
    pub(super) fn to_response(&self) -> Response {
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Ok(accept) = HeaderValue::from_str(self.accept.as_str()) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = self.protocol() {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        response
    }
}

/// Whether a request may become a WebSocket, and whose.
///
/// # Errors
/// A problem to be answered.
pub(super) async fn accept(
    head: &Head<'_>,
    spoken: Spoken,
    server: &Admitted,
    peer: &mqtt::Peer,
) -> Result<Accepted, Problem> {
    let accept = key(head)?;
    if spoken == Spoken::Mqtt {
        // [MQTT-6.0.0-3]
        let protocols = head.list("sec-websocket-protocol").unwrap_or_default();
        if !handshake::lists(&protocols, "mqtt") {
            return Err(Problem::unreadable(
                "Ask for the sub-protocol `mqtt`: Sec-WebSocket-Protocol: mqtt.",
            ));
        }
    }
    let principal = match spoken {
        // They say who they are later. A node's `Authorization` and `Origin: null` count for nothing, as
        // at the system's own server.
        Spoken::Mqtt | Spoken::OlimexNode => None,
        Spoken::Live | Spoken::Echo | Spoken::OlimexPage => recognise(head, spoken, server, peer).await?,
    };
    Ok(Accepted { spoken, principal, accept })
}

/// The part that RFC 6455 section 4.2.1 asks of every upgrade.
fn key(head: &Head<'_>) -> Result<AcceptKey, Problem> {
    if head.method != Method::GET.as_str() {
        let detail = "This path takes GET with an upgrade to WebSocket.";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Problem::new(status, "method-not-allowed", "Method not allowed", detail)
            .header(header::ALLOW, HeaderValue::from_static("GET")));
    }
    if head.version == Version::Http10 {
        return Err(Problem::unreadable("WebSocket begins with HTTP/1.1."));
    }
    // Its bytes would be taken for frames.
    if head.has_body() {
        return Err(Problem::unreadable("An upgrade to WebSocket has no body."));
    }
    // Joined where they stand twice, so that what must stand once is wrong then.
    let [connection, upgrade, key, version] =
        ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version"].map(|name| head.list(name));
    let request = Upgrade {
        connection: connection.as_deref(),
        upgrade: upgrade.as_deref(),
        key: key.as_deref(),
        version: version.as_deref(),
    };
    handshake::check(&request).map_err(|error| {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let detail = format!("The request {error}.");
        let problem = Problem::new(status, "no-upgrade", "This is a WebSocket", detail);
        error.headers().iter().fold(problem, |problem, (name, value)| {
            problem.header(HeaderName::from_static(name), HeaderValue::from_static(value))
        })
    })
}

async fn recognise(
    head: &Head<'_>,
    spoken: Spoken,
    server: &Admitted,
    peer: &mqtt::Peer,
) -> Result<Option<Arc<Principal>>, Problem> {
    let of_path = head.path.strip_prefix("/clients/api-key/").map(str::to_owned);
    let authorization = head.get("authorization").filter(|_| of_path.is_none());
    let token = of_path.or_else(|| credentials::of_query(head.query, "token"));
    let shown = Credentials {
        authorization,
        cookie: head.get("cookie"),
        origin: head.get("origin"),
        host: head.get("host"),
        token: token.as_deref(),
    };
    let principal = shown.recognise(&server.hub, peer.address.ip()).await?;
    if spoken == Spoken::Echo && principal.is_none() {
        return Err(Problem::unauthenticated("Send `Authorization: Bearer TOKEN`, or `?token=TOKEN`."));
    }
    if spoken == Spoken::OlimexPage && principal.as_ref().is_none_or(|who| who.device().is_some()) {
        return Err(Problem::forbidden("Sign in at the dashboard first, or use /clients/api-key/TOKEN."));
    }
    Ok(principal)
}
