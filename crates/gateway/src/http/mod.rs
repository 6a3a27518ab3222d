//! The one HTTP door. It reads the head of a connection's first request itself, answers WebSocket
//! upgrades with the exact spelling that old firmware needs, and hands everything else to hyper.

mod body;
mod cors;
pub(crate) mod credentials;
mod head;
mod rewind;
pub(crate) mod socket;
pub(crate) mod websocket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roost_hub::limit::Limit;
use roost_hub::principal::Principal;
use roost_wire::mqtt::{ForeignProtocol, foreign_protocol};
use roost_wire::websocket::handshake::{self, Upgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tower_service::Service;

use crate::adapters::spot::BODY_IDLE_MAX;
use crate::adapters::{dialects, live, mqtt, olimex};
use crate::admission::{Admitted, SLOWED_BY, Welcome};
use crate::listener::asked;
use crate::problem::Problem;
use crate::stream::Stream;
use body::PacedBody;
pub(crate) use body::{LINE_TYPES, TooSlow};
use cors::Asking;
pub use cors::{InvalidOrigin, Origins};
use credentials::Credentials;
use head::{Head, Version};
use rewind::Rewind;
use socket::Socket;
use websocket::WebSocketStream;

/// Where a request comes from; an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Whether the connection is over TLS.
    pub is_secure: bool,
}

/// What is spoken on a WebSocket, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Mqtt,
    Live,
    Echo,
    /// A node of OLIMEX IoT, which says who it is in its first frames.
    OlimexNode,
    /// A page that was made for the server of OLIMEX IoT.
    OlimexPage,
}

impl Spoken {
    fn of(head: &Head<'_>) -> Option<Self> {
        match head.path {
            "/mqtt" => Some(Self::Mqtt),
            "/api/v1/ws" => Some(Self::Live),
            "/api/v1/echo" => Some(Self::Echo),
            // Without an upgrade, these are the dashboard and events that are posted.
            "/events" | "/"
                if head.get("upgrade").is_some_and(|upgrade| handshake::lists(upgrade, "websocket")) =>
            {
                Some(Self::OlimexNode)
            }
            "/clients" => Some(Self::OlimexPage),
            path if path.starts_with("/clients/api-key/") => Some(Self::OlimexPage),
            _ => None,
        }
    }
}

/// What an HTTP door gives to its connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpDoor {
    pub(crate) router: axum::Router,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// Serves one connection until it ends.
pub(crate) async fn serve(door: HttpDoor, mut server: Admitted, mut stream: Stream, peer: mqtt::Peer) {
    let mut buffer = Vec::new();
    let read = read_head(&mut stream, &mut buffer, door.shutdown.clone());
    let length = match tokio::time::timeout(server.settings.login_timeout, read).await {
        Err(_late) => {
            server.hub.refusals.count(Limit::LoginTimeout);
            return refuse(stream, &Problem::too_slow("The head took too long to come.")).await;
        }
        Ok(Ok(Some(length))) => length,
        Ok(Ok(None)) => return hint(&server, &buffer, &peer),
        Ok(Err(problem)) => {
            server.fault();
            return refuse(stream, &problem).await;
        }
    };
    match peer.welcome {
        Welcome::Served => {}
        Welcome::Slowed => tokio::time::sleep(SLOWED_BY).await,
        // W-20: who cannot stay is told when to come again.
        Welcome::Refused(refusal) => return refuse(stream, &refusal.into()).await,
    }
    if *door.shutdown.borrow() {
        return refuse(stream, &stops()).await;
    }
    let head = match Head::parse(buffer.get(..length).unwrap_or_default()) {
        Ok(head) => head,
        Err(problem) => {
            hint(&server, &buffer, &peer);
            server.fault();
            return refuse(stream, &problem).await;
        }
    };
    let Some(spoken) = Spoken::of(&head) else {
        return hand_over(door, &server, Rewind::new(buffer, stream), &peer).await;
    };
    let behind = buffer.get(length..).unwrap_or_default().to_vec();
    let (answer, principal) = match upgrade(&head, spoken, &server, &peer).await {
        Ok(upgraded) => upgraded,
        Err(problem) => return refuse(stream, &problem).await,
    };
    if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
        return;
    }
    drop(buffer);
    server.became_websocket();
    match (spoken, principal) {
        (Spoken::Mqtt, _) => {
            let stream = Stream::WebSocket(Box::new(WebSocketStream::new(stream, behind)));
            mqtt::serve(server, stream, peer).await;
        }
        (Spoken::Live, principal) => live::serve(server, Socket::new(stream, &behind), principal, peer).await,
        (Spoken::OlimexPage, Some(principal)) => {
            olimex::serve_page(server, Socket::new(stream, &behind), principal, peer).await;
        }
        // Who asks was recognised at the upgrade.
        (Spoken::OlimexPage, None) => {}
        (Spoken::OlimexNode, _) => olimex::serve(server, Socket::new(stream, &behind), peer).await,
        (Spoken::Echo, _) => {
            let mut shutdown = door.shutdown;
            tokio::select! {
                () = socket::echo(Socket::new(stream, &behind)) => {}
                () = asked(&mut shutdown) => {}
            }
        }
    }
}

/// H-30: nothing is begun any more.
fn stops() -> Problem {
    Problem::unavailable("The server stops: ask again in a moment.").retry_after(Duration::from_secs(1))
}

/// Reads until the head is there whole; `None` when the peer hung up before, or when the server stops
/// and nothing has come yet.
async fn read_head(
    stream: &mut Stream,
    buffer: &mut Vec<u8>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<Option<usize>, Problem> {
    let mut scanned = 0;
    loop {
        if let Some(length) = head::end(buffer, &mut scanned)? {
            return Ok(Some(length));
        }
        // What cannot become a request is not waited for.
        if foreign_protocol(buffer) == Some(ForeignProtocol::Tls)
            || buffer.first().is_some_and(|first| *first < b' ')
        {
            return Ok(None);
        }
        let is_idle = buffer.is_empty();
        tokio::select! {
            read = stream.read_buf(buffer) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Ok(None),
            },
            () = asked(&mut shutdown), if is_idle => return Ok(None),
        }
    }
}

/// M-06: a client that means another door.
fn hint(server: &Admitted, buffer: &[u8], peer: &mqtt::Peer) {
    let address = peer.address;
    let is_mqtt = buffer.first() == Some(&0x10);
    let is_tls = foreign_protocol(buffer) == Some(ForeignProtocol::Tls);
    if (is_mqtt || is_tls) && server.may_hint() {
        match is_tls {
            true => tracing::warn!(%address, "TLS on the plain HTTP port: use the port of `https`"),
            false => tracing::warn!(%address, "MQTT on the HTTP port: use the port of `mqtt`"),
        }
    }
}

async fn refuse(mut stream: Stream, problem: &Problem) {
    mqtt::part(&mut stream, &problem.to_bytes()).await;
}

/// What an upgrade is answered with, and who asks for it.
async fn upgrade(
    head: &Head<'_>,
    spoken: Spoken,
    server: &Admitted,
    peer: &mqtt::Peer,
) -> Result<(Vec<u8>, Option<Arc<Principal>>), Problem> {
    if head.method != "GET" {
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            "This path takes GET with an upgrade to WebSocket.",
        ));
    }
    if head.version == Version::Http10 {
        return Err(Problem::unreadable("WebSocket begins with HTTP/1.1."));
    }
    let connection = head.list("connection");
    let request = Upgrade {
        connection: connection.as_deref(),
        upgrade: head.get("upgrade"),
        key: head.get("sec-websocket-key"),
        version: head.get("sec-websocket-version"),
    };
    let accept = handshake::check(&request).map_err(|error| {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let problem =
            Problem::new(status, "no-upgrade", "This is a WebSocket", format!("The request {error}."));
        match error.header() {
            Some((_, version)) => problem
                .header(HeaderName::from_static("sec-websocket-version"), HeaderValue::from_static(version)),
            None => problem,
        }
    })?;
    if spoken == Spoken::Mqtt {
        // [MQTT-6.0.0-3]
        let protocols = head.list("sec-websocket-protocol").unwrap_or_default();
        if !handshake::lists(&protocols, "mqtt") {
            return Err(Problem::unreadable(
                "Ask for the sub-protocol `mqtt`: Sec-WebSocket-Protocol: mqtt.",
            ));
        }
        return Ok((handshake::response(&accept, Some("mqtt"), &[]), None));
    }
    if spoken == Spoken::OlimexNode {
        // Its `Authorization` and `Origin: null` count for nothing, as at the system's own server.
        return Ok((handshake::response(&accept, None, &[]), None));
    }
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
    Ok((handshake::response(&accept, None, &[]), principal))
}

/// Lets hyper and the router answer this and all further requests of the connection.
async fn hand_over(door: HttpDoor, server: &Admitted, stream: Rewind, peer: &mqtt::Peer) {
    let HttpDoor { router, mut shutdown } = door;
    let seen = Peer { address: peer.address, is_secure: peer.is_secure };
    let is_stopping = shutdown.clone();
    let service = service_fn(move |request| {
        let begun = Begun { router: router.clone(), peer: seen, stops: *is_stopping.borrow() };
        begun.answer(request, server)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(server.settings.login_timeout)
        .max_headers(100)
        .max_buf_size(head::HEAD_LENGTH_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = asked(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(address = %peer.address, %error, "HTTP connection ended");
    }
}

/// A request that was begun.
struct Begun {
    router: axum::Router,
    peer: Peer,
    /// Whether the server was asked to stop before.
    stops: bool,
}

impl Begun {
    async fn answer(
        self,
        request: http::Request<Incoming>,
        server: &Admitted,
    ) -> Result<Response, Infallible> {
        if self.stops {
            return Ok(closing(&stops()));
        }
        let asking = Asking::of(&request, &server.settings.origins);
        let mut response = match asking.preflight() {
            Some(response) => response,
            None => answer(self.router, request, self.peer, server).await?,
        };
        asking.allow(&mut response);
        Ok(response)
    }
}

/// An answer with which the connection ends.
fn closing(problem: &Problem) -> Response {
    let mut response = problem.clone().into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn answer(
    mut router: axum::Router,
    request: http::Request<Incoming>,
    peer: Peer,
    server: &Admitted,
) -> Result<Response, Infallible> {
    let settings = &server.settings;
    let mut request = request;
    let is_spot = rename(&mut request);
    let is_stream = body::is_stream(request.headers());
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared: usize = declared.and_then(|text| text.parse().ok()).unwrap_or(0);
    if declared > settings.body_length_max && !is_stream {
        server.hub.refusals.count(Limit::BodyBytes);
        // H-10: refused before it is read, so the connection cannot go on.
        return Ok(closing(&Problem::too_large(settings.body_length_max)));
    }
    let mut request = request.map(|incoming| {
        let idle_max = if is_spot { BODY_IDLE_MAX } else { settings.stream_idle_max };
        let idle_max = is_stream.then_some(idle_max);
        axum::body::Body::new(PacedBody::new(incoming, idle_max))
    });
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(ConnectInfo(peer.address));
    router.call(request).await
}

/// Gives a path to which firmware posts the name by which it is routed; whether it is a Spot's.
fn rename<B>(request: &mut http::Request<B>) -> bool {
    if request.method() != http::Method::POST {
        return false;
    }
    let Some(path) = dialects::canonical_path(request.uri().path()) else { return false };
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    if let Ok(uri) = format!("{path}{query}").parse() {
        *request.uri_mut() = uri;
    }
    path.starts_with("/api/spots/")
}
