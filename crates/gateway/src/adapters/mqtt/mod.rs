//! MQTT 3.1.1 and 5.0 over any byte stream.

mod connection;
mod event;
mod login;
mod mapping;
mod pace;
mod replies;
mod topics;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::admission::{Admitted, Welcome};
use crate::stream::Stream;
pub(crate) use connection::Connection;

/// Who is at the other end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The name in a client certificate that was verified.
    pub(crate) common_name: Option<Box<str>>,
    pub(crate) welcome: Welcome,
    /// Whether the connection is over TLS.
    pub(crate) is_secure: bool,
}

/// How long a client has to take our last words.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// How much is read and thrown away of a client that is being closed.
const FAREWELL_BYTES_MAX: usize = 1024 * 1024;

/// One connection from its first byte to its last. The rare phases are boxed, so that an idle
/// client costs no more than what it needs.
pub(crate) enum Serving {
    Login(Pin<Box<dyn Future<Output = Option<Connection>> + Send>>),
    Open(Connection),
    Farewell(Pin<Box<dyn Future<Output = ()> + Send>>),
    Over,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Serving")
    }
}

/// Serves MQTT on the stream until the connection ends.
pub(crate) fn serve(server: Admitted, stream: Stream, peer: Peer) -> Serving {
    Serving::Login(Box::pin(login::login(server, stream, peer)))
}

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = match &mut *self {
                Self::Login(login) => match std::task::ready!(login.as_mut().poll(context)) {
                    Some(connection) => connection.hand_over().map_or(Self::Over, Self::Open),
                    None => Self::Over,
                },
                Self::Open(connection) => {
                    let end = std::task::ready!(connection.poll(context));
                    let Self::Open(connection) = std::mem::replace(&mut *self, Self::Over) else { continue };
                    let (server, mut stream, last) = connection.finish(end);
                    if last.is_empty() {
                        Self::Over
                    } else {
                        Self::Farewell(Box::pin(async move {
                            part(&mut stream, &last).await;
                            drop(server);
                        }))
                    }
                }
                Self::Farewell(farewell) => {
                    std::task::ready!(farewell.as_mut().poll(context));
                    Self::Over
                }
                Self::Over => return Poll::Ready(()),
            };
            *self = next;
        }
    }
}

/// Says the last bytes and closes so that they arrive: closing a socket on unread input would throw
/// them away.
pub(crate) async fn part(stream: &mut Stream, last: &[u8]) {
    let say = async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        // Not in the future itself, which is held as long as the connection.
        let mut rest = vec![0; 4096];
        let mut count = 0;
        while count < FAREWELL_BYTES_MAX {
            match stream.read(&mut rest).await? {
                0 => break,
                read => count += read,
            }
        }
        std::io::Result::Ok(())
    };
    // Whether they arrived or not, this is the end.
    drop(tokio::time::timeout(FAREWELL_TIMEOUT, say).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
    }
}
