//! The doors and who comes in through them.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use roost_hub::Hub;
use roost_hub::broker::CloseReason;
use roost_hub::limit::{Door as Through, Limit};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::adapters::mqtt::{self, Peer};
use crate::adapters::{coap, dialects};
use crate::admission::{Admitted, admit};
use crate::door::MqttDoor;
use crate::http::{self, HttpDoor};
use crate::reactor::{Reactor, Reactors};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stream::Stream;
use crate::tls::{self, Tls};

/// How many connections wait in the kernel to be taken.
const BACKLOG: i32 = 4096;
/// How long nothing is taken after the program ran out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What is spoken behind a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT over TCP.
    Mqtt,
    /// MQTT over TLS.
    Mqtts,
    /// HTTP and WebSocket.
    Http,
    /// The same over TLS.
    Https,
    /// CoAP over UDP.
    Coap,
    /// CoAP over DTLS.
    Coaps,
}

/// Why a door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or not allowed.
    #[error("{0}: {1}")]
    Address(SocketAddr, io::Error),
    /// A door with TLS needs a certificate.
    #[error("{0:?} needs a certificate")]
    NoCertificate(Protocol),
}

/// All doors of the server. Opened first, then run.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    tls: Option<Arc<Tls>>,
    router: axum::Router,
    doors: Vec<(Protocol, TcpListener)>,
    reactors: Vec<Reactor>,
    coap: Vec<(coap::Transport, UdpSocket)>,
}

impl Gateway {
    /// A gateway without doors; `router` answers what HTTP asks for.
    #[must_use]
    pub fn new(hub: Arc<Hub>, settings: Settings, router: axum::Router) -> Self {
        Self {
            shared: Shared::new(hub, settings),
            tls: None,
            router,
            doors: Vec::new(),
            reactors: Vec::new(),
            coap: Vec::new(),
        }
    }

    /// The routes of families of devices that have paths of their own, before all others.
    pub fn dialects(&self) -> axum::Router {
        dialects::router(Arc::clone(&self.shared))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The certificates of the doors that are opened from now on.
    pub fn set_tls(&mut self, tls: Arc<Tls>) {
        self.tls = Some(tls);
    }

    /// Opens a door and gives its address (port 0 picks a free one). Nobody is let in before
    /// [`Gateway::run`]. Call it within a runtime.
    ///
    /// # Errors
    /// [`ListenError`] says which address, and why.
    pub fn open(&mut self, protocol: Protocol, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        if matches!(protocol, Protocol::Mqtts | Protocol::Https) && self.tls.is_none() {
            return Err(ListenError::NoCertificate(protocol));
        }
        match protocol {
            Protocol::Coap => return self.open_coap(coap::Transport::Plain, address),
            Protocol::Coaps => return self.open_coap(coap::Transport::Secure, address),
            Protocol::Mqtt => {
                self.open_reactors().map_err(|error| ListenError::Address(address, error))?;
            }
            _ => {}
        }
        let opened = listen(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (local, listener) = opened.map_err(|error| ListenError::Address(address, error))?;
        self.doors.push((protocol, listener));
        Ok(local)
    }

    /// One reactor for each thread of the runtime.
    fn open_reactors(&mut self) -> io::Result<()> {
        if self.shared.reactors.get().is_some() {
            return Ok(());
        }
        let count = tokio::runtime::Handle::current().metrics().num_workers();
        let (entrances, reactors) = Reactors::open(count, &self.shared)?;
        self.reactors = reactors;
        self.shared.reactors.get_or_init(|| entrances);
        Ok(())
    }

    /// A door for MQTT over streams that no listener of ours accepts.
    #[must_use]
    pub fn mqtt_door(&self) -> MqttDoor {
        MqttDoor::new(Arc::clone(&self.shared))
    }

    fn open_coap(
        &mut self,
        transport: coap::Transport,
        address: SocketAddr,
    ) -> Result<SocketAddr, ListenError> {
        let opened = coap::bind(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (local, socket) = opened.map_err(|error| ListenError::Address(address, error))?;
        self.coap.push((transport, socket));
        // The same address as was asked for, also where the socket serves IPv6 as well.
        Ok(SocketAddr::new(address.ip(), local.port()))
    }

    /// Lets clients in until `shutdown` is true; then ends every connection and returns, at the
    /// latest after [`Settings::shutdown_timeout`].
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut runners = JoinSet::new();
        let shared = Arc::clone(&self.shared);
        runners.spawn(async move { shared.timers.run().await });
        let shared = Arc::clone(&self.shared);
        runners.spawn(async move { shared.durable.run().await });
        let shared = Arc::clone(&self.shared);
        runners.spawn(async move { shared.spots.run(&shared).await });
        let shared = Arc::clone(&self.shared);
        runners.spawn(async move { shared.dialects.run(&shared).await });
        let shared = Arc::clone(&self.shared);
        runners.spawn(async move { shared.downlinks.run(&shared).await });
        if let Some(tls) = self.tls.clone() {
            runners.spawn(async move { tls.run().await });
        }
        let (doors_closed, reactors_end) = watch::channel(false);
        let mut reactors = JoinSet::new();
        for reactor in self.reactors {
            reactors.spawn(reactor.run(reactors_end.clone()));
        }
        let mut doors = JoinSet::new();
        for (transport, socket) in self.coap {
            let under = (transport, self.tls.clone());
            let door = coap::Door::new(Arc::clone(&self.shared), socket, under);
            doors.spawn(door.run(shutdown.clone()));
        }
        for (protocol, listener) in self.doors {
            let door = Door {
                shared: Arc::clone(&self.shared),
                protocol,
                tls: self.tls.clone(),
                router: self.router.clone(),
                shutdown: shutdown.clone(),
            };
            doors.spawn(door.run(listener));
        }
        asked(&mut shutdown).await;
        self.shared.hub.close_all(CloseReason::ShuttingDown);
        let ended = async {
            while doors.join_next().await.is_some() {}
            // Nobody enters a reactor any more; who did since the others were asked to end is asked now.
            self.shared.hub.close_all(CloseReason::ShuttingDown);
            doors_closed.send_replace(true);
            while reactors.join_next().await.is_some() {}
        };
        drop(tokio::time::timeout(self.shared.settings.shutdown_timeout, ended).await);
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(StdListener::from(socket))
}

/// One open door.
struct Door {
    shared: Arc<Shared>,
    protocol: Protocol,
    tls: Option<Arc<Tls>>,
    router: axum::Router,
    shutdown: watch::Receiver<bool>,
}

impl Door {
    async fn run(self, listener: TcpListener) {
        let mut shutdown = self.shutdown.clone();
        let mut spare = spare();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => self.let_in(stream, address, &mut connections),
                    Err(error) => self.pause(&listener, &mut spare, &error).await,
                },
                Some(ended) = connections.join_next() => self.ended(ended),
                () = asked(&mut shutdown) => break,
            }
        }
        drop(listener);
        // Connections that were being taken when the others were asked to end are asked now.
        self.shared.hub.close_all(CloseReason::ShuttingDown);
        while let Some(ended) = connections.join_next().await {
            self.ended(ended);
        }
    }

    fn let_in(&self, stream: TcpStream, address: SocketAddr, connections: &mut JoinSet<()>) {
        let through = match self.protocol {
            Protocol::Mqtt => Through::Mqtt,
            Protocol::Mqtts => Through::Mqtts,
            Protocol::Http => Through::Http,
            Protocol::Https => Through::Https,
            // Doors without connections, which are served elsewhere.
            Protocol::Coap | Protocol::Coaps => return,
        };
        let Some((admitted, welcome)) = admit(&self.shared, address.ip(), through) else { return };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%address, %error, "gone before it was let in");
            return;
        }
        let is_secure = matches!(self.protocol, Protocol::Mqtts | Protocol::Https);
        let peer = Peer { address, common_name: None, welcome, is_secure };
        match (self.protocol, &self.tls) {
            (Protocol::Mqtt, _) => {
                connections.spawn(mqtt::serve(admitted, Stream::Tcp(Box::new(stream)), peer));
            }
            (Protocol::Mqtts, Some(tls)) => {
                connections.spawn(serve_mqtts(Arc::clone(tls), admitted, stream, peer));
            }
            (Protocol::Http, _) => {
                connections.spawn(http::serve(self.http(), admitted, Stream::Tcp(Box::new(stream)), peer));
            }
            (Protocol::Https, Some(tls)) => {
                connections.spawn(serve_https(Arc::clone(tls), self.http(), admitted, (stream, peer)));
            }
            // `Gateway::open` refuses such a door, and has others for CoAP.
            (Protocol::Mqtts | Protocol::Https, None) | (Protocol::Coap | Protocol::Coaps, _) => {}
        }
    }

    fn http(&self) -> HttpDoor {
        HttpDoor { router: self.router.clone(), shutdown: self.shutdown.clone() }
    }

    fn ended(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            self.shared.hub.counters.panics_total.increment();
            tracing::error!(%error, "a connection ended in a panic: please report this");
        }
    }

    /// Without file descriptors left, the spare one serves to hang up on who waits.
    async fn pause(&self, listener: &TcpListener, spare: &mut Option<File>, error: &io::Error) {
        tracing::warn!(%error, "no connection could be taken");
        self.shared.hub.counters.connections_refused_total.increment();
        if spare.take().is_some() {
            drop(tokio::time::timeout(EXHAUSTED_PAUSE, listener.accept()).await);
        }
        tokio::time::sleep(EXHAUSTED_PAUSE).await;
        *spare = self::spare();
    }
}

/// Resolves when the server is to stop. Cancel safe.
pub(crate) async fn asked(shutdown: &mut watch::Receiver<bool>) {
    // Fails when whoever could ask is gone, which asks for it too.
    drop(shutdown.wait_for(|is_over| *is_over).await);
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

async fn serve_mqtts(tls: Arc<Tls>, admitted: Admitted, stream: TcpStream, peer: Peer) {
    if let Some((stream, peer)) = shake_hands(&tls, &admitted, stream, peer).await {
        mqtt::serve(admitted, stream, peer).await;
    }
}

async fn serve_https(tls: Arc<Tls>, door: HttpDoor, admitted: Admitted, (stream, peer): (TcpStream, Peer)) {
    if let Some((stream, peer)) = shake_hands(&tls, &admitted, stream, peer).await {
        http::serve(door, admitted, stream, peer).await;
    }
}

async fn shake_hands(
    tls: &Tls,
    admitted: &Admitted,
    stream: TcpStream,
    mut peer: Peer,
) -> Option<(Stream, Peer)> {
    let handshake = tokio::time::timeout(admitted.settings.login_timeout, tls.accept(stream)).await;
    match handshake {
        Ok(Ok(stream)) => {
            peer.common_name = tls::client_name(&stream);
            Some((Stream::Tls(Box::new(stream)), peer))
        }
        Ok(Err(error)) => {
            tracing::debug!(address = %peer.address, %error, "no TLS");
            None
        }
        Err(_late) => {
            admitted.hub.refusals.count(Limit::LoginTimeout);
            None
        }
    }
}
