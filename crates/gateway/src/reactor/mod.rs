//! Serves plain MQTT sockets, many by one task.
//!
//! A task and a registration with the runtime cost an idle connection three times what its socket and
//! protocol state do, so connections over bare TCP have neither: a reactor keeps them in slots and
//! watches their sockets with an epoll of its own, which the runtime watches in turn. What is ready is
//! served in rounds, so that whoever publishes in a round is heard before whoever is written to.

mod entrance;
mod slots;
mod socket;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest};
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::adapters::mqtt::{Connection, part};
use crate::shared::Shared;
use crate::stream::Stream;
use entrance::Entrance;
use slots::{Key, Slots};

pub(crate) use socket::Socket;

/// How many connections are served before the runtime's other tasks have their turn.
const ROUND_LENGTH_MAX: usize = 64;
/// How many sockets may be reported at once.
const EVENTS_MAX: usize = 256;

/// The ways into all reactors of a gateway.
#[derive(Debug)]
pub(crate) struct Reactors {
    entrances: Box<[Arc<Entrance>]>,
    next: AtomicUsize,
}

impl Reactors {
    /// `count` reactors, each to be run, and the way into them.
    ///
    /// # Errors
    /// No file descriptor is left for an epoll.
    pub(crate) fn open(count: usize, shared: &Arc<Shared>) -> io::Result<(Self, Vec<Reactor>)> {
        let made: io::Result<Vec<_>> = (0..count.max(1)).map(|_| Reactor::new(Arc::clone(shared))).collect();
        let reactors = made?;
        let entrances = reactors.iter().map(|reactor| Arc::clone(&reactor.entrance)).collect();
        Ok((Self { entrances, next: AtomicUsize::new(0) }, reactors))
    }

    /// Hands a connection over to one of them, to the next in turn.
    pub(crate) fn adopt(&self, connection: Connection) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.entrances.len().max(1);
        if let Some(entrance) = self.entrances.get(turn) {
            entrance.enter(connection);
        }
    }
}

/// One of the tasks. See the module.
#[derive(Debug)]
pub(crate) struct Reactor {
    shared: Arc<Shared>,
    entrance: Arc<Entrance>,
    poll: AsyncFd<mio::Poll>,
    events: Events,
    slots: Slots,
    /// Whose turn it is; taken from the end.
    ready: Vec<Key>,
    /// Connections that are being closed politely.
    farewells: JoinSet<()>,
}

impl Reactor {
    fn new(shared: Arc<Shared>) -> io::Result<Self> {
        Ok(Self {
            shared,
            entrance: Arc::default(),
            poll: watched_by_runtime(mio::Poll::new()?)?,
            events: Events::with_capacity(EVENTS_MAX),
            slots: Slots::default(),
            ready: Vec::new(),
            farewells: JoinSet::new(),
        })
    }

    /// Serves what comes in, until `shutdown` is true and all of it has ended.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut is_over = false;
        loop {
            tokio::select! {
                biased;
                () = std::future::poll_fn(|context| self.poll(context)), if !(is_over && self.is_empty()) => {}
                () = crate::listener::asked(&mut shutdown), if !is_over => is_over = true,
                else => break,
            }
        }
        while self.farewells.join_next().await.is_some() {}
    }

    fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.entrance.is_empty()
    }

    /// One round after the other; ready when a connection has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let watched = self.watch(context);
        if let Err(error) = watched {
            // Without its epoll a reactor would leave its connections waiting for ever.
            tracing::error!(%error, "sockets cannot be watched: their connections end");
            self.slots.drain().for_each(drop);
            return Poll::Ready(());
        }
        while self.farewells.try_join_next().is_some() {}
        self.take_in();
        if self.ready.is_empty() {
            self.entrance.take_woken(&mut self.ready);
            self.ready.reverse();
        }
        let before = self.slots.len();
        for _ in 0..ROUND_LENGTH_MAX {
            let Some(key) = self.ready.pop() else { break };
            self.serve(key);
        }
        if !self.ready.is_empty() || !self.entrance.sleep(context.waker()) {
            context.waker().wake_by_ref();
        }
        if self.slots.len() < before { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Learns which sockets are ready. The order matters: what is reported after the runtime's mark
    /// was cleared sets it again.
    fn watch(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let is_news = match self.poll.poll_read_ready_mut(context)? {
            Poll::Ready(mut guard) => {
                guard.clear_ready();
                // Asks again, since whom to wake is noted only where nothing is reported.
                context.waker().wake_by_ref();
                true
            }
            Poll::Pending => false,
        };
        // With work at hand it pays to look for more: a write then carries more messages.
        if !is_news && self.ready.is_empty() && self.entrance.has_none_woken() {
            return Ok(());
        }
        match self.poll.get_mut().poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => context.waker().wake_by_ref(),
            other => other?,
        }
        let mut count = 0;
        for event in &self.events {
            count += 1;
            self.slots.note(Key::from(event.token()), readiness(event));
        }
        if count == EVENTS_MAX {
            context.waker().wake_by_ref();
        }
        Ok(())
    }

    fn take_in(&mut self) {
        for mut connection in self.entrance.take_newcomers() {
            let registry = self.poll.get_ref().registry();
            let (key, waker) = self.slots.reserve(&self.entrance);
            if let Stream::Socket(socket) = connection.stream_mut() {
                let interest = Interest::READABLE | Interest::WRITABLE;
                if let Err(error) = registry.register(socket.source(), key.into(), interest) {
                    tracing::warn!(%error, "a socket cannot be watched: its connection ends");
                    self.slots.remove(key);
                    continue;
                }
            }
            self.slots.fill(key, Box::new(connection));
            waker.wake_by_ref();
        }
    }

    fn serve(&mut self, key: Key) {
        let Some((connection, waker)) = self.slots.turn(key) else { return };
        let mut context = Context::from_waker(&waker);
        match catch_unwind(AssertUnwindSafe(|| connection.poll(&mut context))) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(end)) => {
                let Some(connection) = self.slots.remove(key) else { return };
                let (server, stream, last) = connection.finish(end);
                let Some(mut stream) = stream.back_to_runtime().filter(|_| !last.is_empty()) else { return };
                self.farewells.spawn(async move {
                    part(&mut stream, &last).await;
                    drop(server);
                });
            }
            Err(_panic) => {
                self.shared.hub.counters.panics_total.increment();
                tracing::error!("a connection ended in a panic: please report this");
                drop(self.slots.remove(key));
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "the successor is unsafe, for descriptors that change under it; an epoll keeps its own until it is dropped, and nobody puts another in its place"
)]
fn watched_by_runtime(poll: mio::Poll) -> io::Result<AsyncFd<mio::Poll>> {
    AsyncFd::with_interest(poll, tokio::io::Interest::READABLE)
}

fn readiness(event: &Event) -> socket::Readiness {
    let mut readiness = socket::Readiness::default();
    if event.is_error() || event.is_read_closed() {
        readiness.close();
    }
    if event.is_readable() {
        readiness.set_readable();
    }
    if event.is_writable() || event.is_write_closed() {
        readiness.set_writable();
    }
    readiness
}

impl Stream {
    /// The same socket for a reactor; the stream itself where that is not bare TCP.
    pub(crate) fn leave_runtime(self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => Ok(Self::Socket(Socket::new(stream.into_std()?))),
            other => Ok(other),
        }
    }

    /// The same socket for a task; `None` when the runtime cannot take it.
    fn back_to_runtime(self) -> Option<Self> {
        match self {
            Self::Socket(socket) => {
                TcpStream::from_std(socket.into_std()).ok().map(|stream| Self::Tcp(Box::new(stream)))
            }
            other => Some(other),
        }
    }
}
