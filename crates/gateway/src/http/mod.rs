//! The one HTTP door. It reads the head of a connection's first request itself, answers WebSocket
//! upgrades with the exact spelling that old firmware needs, and hands everything else to hyper.

mod body;
mod cors;
pub(crate) mod credentials;
mod date;
mod framing;
mod head;
mod posts;
mod rewind;
pub(crate) mod socket;
mod upgrade;
pub(crate) mod websocket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use roost_hub::limit::Limit;
use roost_wire::mqtt::{ForeignProtocol, foreign_protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tower_service::Service;

use crate::adapters::spot::BODY_IDLE_MAX;
use crate::adapters::{dialects, echo, live, mqtt, olimex};
use crate::admission::{Admitted, SLOWED_BY, Welcome};
use crate::listener::asked;
use crate::problem::Problem;
use crate::stream::Stream;
use body::PacedBody;
pub(crate) use body::TooSlow;
use cors::Asking;
pub use cors::{InvalidOrigin, Origins};
use head::Head;
use posts::Served;
use rewind::Rewind;
use socket::Socket;
use upgrade::{Accepted, Spoken};
use websocket::WebSocketStream;

/// Where a request comes from; an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Whether the connection is over TLS.
    pub is_secure: bool,
}

/// What an HTTP door gives to its connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpDoor {
    pub(crate) router: axum::Router,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// Serves one connection until it ends.
pub(crate) async fn serve(door: HttpDoor, server: Admitted, stream: Stream, peer: mqtt::Peer) {
    // In a box that is gone once the connection is a WebSocket, which may say nothing for years.
    let upgraded = Box::pin(greet(&door, &server, stream, &peer)).await;
    let Some(upgraded) = upgraded else { return };
    let spoken = speak(door, server, upgraded, peer);
    if let Some(spoken) = spoken {
        spoken.await;
    }
}

/// Answers the requests of a connection, until one is an upgrade to WebSocket.
async fn greet(
    door: &HttpDoor,
    server: &Admitted,
    mut stream: Stream,
    peer: &mqtt::Peer,
) -> Option<Upgraded> {
    let mut buffer = Vec::new();
    let read = read_head(&mut stream, &mut buffer, door.shutdown.clone());
    let read = match tokio::time::timeout(server.settings.login_timeout, read).await {
        Ok(Ok(None)) => {
            hint(server, &buffer, peer);
            return None;
        }
        Ok(Ok(Some(length))) => Ok(length),
        Ok(Err(problem)) => {
            server.fault();
            Err(problem)
        }
        Err(_late) => {
            server.hub.refusals.count(Limit::LoginTimeout);
            Err(Problem::too_slow("The head took too long to come."))
        }
    };
    let welcomed = match (read, peer.welcome) {
        // W-20: who cannot stay is told when to come again.
        (Ok(_), Welcome::Refused(refusal)) => Err(refusal.into()),
        (Ok(length), Welcome::Slowed) => {
            tokio::time::sleep(SLOWED_BY).await;
            Ok(length)
        }
        (read, _) => read,
    };
    let length = match welcomed {
        Ok(_) if *door.shutdown.borrow() => return refuse(stream, &stops()).await,
        Ok(length) => length,
        Err(problem) => return refuse(stream, &problem).await,
    };
    let head = match Head::parse(buffer.get(..length).unwrap_or_default()) {
        Ok(head) => head,
        Err(problem) => {
            hint(server, &buffer, peer);
            server.fault();
            return refuse(stream, &problem).await;
        }
    };
    let Some(spoken) = Spoken::of(&head) else {
        let around = (peer, &door.shutdown);
        return match posts::serve(server, (stream, buffer), length, around).await {
            Served::All => None,
            Served::Until(stream, buffer) => {
                Box::pin(hand_over(door, server, Rewind::new(buffer, stream), peer)).await
            }
        };
    };
    let accepted = match upgrade::accept(&head, spoken, server, peer).await {
        Ok(accepted) => accepted,
        Err(problem) => return refuse(stream, &problem).await,
    };
    stream.write_all(&accepted.to_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    Some((accepted, stream, buffer.split_off(length)))
}

/// Serves a connection whose upgrade was answered; some bytes came behind the request.
fn speak(
    door: HttpDoor,
    mut server: Admitted,
    (accepted, stream, behind): Upgraded,
    peer: mqtt::Peer,
) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
    server.became_websocket();
    Some(match (accepted.spoken, accepted.principal) {
        (Spoken::Mqtt, _) => {
            let stream = Stream::WebSocket(Box::new(WebSocketStream::new(stream, behind)));
            Box::pin(mqtt::serve(server, stream, peer))
        }
        (Spoken::Live, principal) => {
            Box::pin(live::serve(server, Box::new(Socket::new(stream, &behind)), principal, peer))
        }
        (Spoken::OlimexPage, Some(principal)) => {
            Box::pin(olimex::serve_page(server, Socket::new(stream, &behind), principal, peer))
        }
        (Spoken::OlimexNode, _) => Box::pin(olimex::serve(server, Socket::new(stream, &behind), peer)),
        (Spoken::Echo, Some(principal)) => {
            Box::pin(echo::serve(server, Socket::new(stream, &behind), principal, door.shutdown))
        }
        // Who asks was recognised at the upgrade.
        (Spoken::OlimexPage | Spoken::Echo, None) => return None,
    })
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

/// The connection ends with it.
async fn refuse<T>(mut stream: Stream, problem: &Problem) -> Option<T> {
    mqtt::part(&mut stream, &problem.to_bytes()).await;
    None
}

/// A connection that became a WebSocket, and the bytes that came behind the request.
type Upgraded = (Accepted, Stream, Vec<u8>);

/// Lets hyper and the router answer this and all further requests of the connection, until one is an
/// upgrade to WebSocket.
async fn hand_over(
    door: &HttpDoor,
    server: &Admitted,
    stream: Rewind,
    peer: &mqtt::Peer,
) -> Option<Upgraded> {
    let switching = Mutex::new(None);
    let mut shutdown = door.shutdown.clone();
    let service = service_fn(|request| {
        let stops = *door.shutdown.borrow();
        let begun = Begun { router: door.router.clone(), peer, stops, switching: &switching };
        begun.answer(request, server)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(server.settings.login_timeout)
        .max_headers(100)
        .max_buf_size(head::HEAD_LENGTH_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let served = {
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            served = connection.as_mut() => served,
            () = asked(&mut shutdown) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(address = %peer.address, %error, "HTTP connection ended");
        return None;
    }
    let (accepted, on_upgrade) = switching.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    let parts = on_upgrade.await.ok()?.downcast::<TokioIo<Rewind>>().ok()?;
    let (stream, mut behind) = parts.io.into_inner().into_parts();
    behind.splice(0..0, parts.read_buf);
    Some((accepted, stream, behind))
}

/// A request that was begun.
struct Begun<'a> {
    router: axum::Router,
    peer: &'a mqtt::Peer,
    /// Whether the server was asked to stop before.
    stops: bool,
    switching: &'a Mutex<Option<(Accepted, OnUpgrade)>>,
}

impl Begun<'_> {
    async fn answer(
        self,
        request: http::Request<Incoming>,
        server: &Admitted,
    ) -> Result<Response, Infallible> {
        if self.stops {
            return Ok(closing(&stops()));
        }
        let asking = Asking::of(&request, &server.settings.origins);
        if let Some(mut response) = asking.preflight() {
            asking.allow(&mut response);
            return Ok(response);
        }
        let head = Head::of(&request);
        if let Some(spoken) = Spoken::of(&head) {
            let accepted = upgrade::accept(&head, spoken, server, self.peer).await;
            return Ok(self.switch(accepted, request));
        }
        drop(head);
        let seen = Peer { address: self.peer.address, is_secure: self.peer.is_secure };
        let mut response = answer(self.router, request, seen, server).await?;
        asking.allow(&mut response);
        Ok(response)
    }

    fn switch(self, accepted: Result<Accepted, Problem>, request: http::Request<Incoming>) -> Response {
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(problem) => return closing(&problem),
        };
        let response = accepted.to_response();
        let mut switching = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        *switching = Some((accepted, hyper::upgrade::on(request)));
        response
    }
}

/// An answer with which the connection ends.
fn closing(problem: &Problem) -> Response {
    let mut response = problem.clone().into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static(problem.connection()));
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
