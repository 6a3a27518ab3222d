//! MQTT over a stream of bytes that came by no listener of ours: memory, or what somebody else
//! accepted.

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use roost_hub::limit::Door as Through;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::adapters::mqtt::{self, Peer};
use crate::admission::admit;
use crate::shared::Shared;
use crate::stream::Stream;

/// Bytes both ways, in order, until one side ends.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + Debug> ByteStream for T {}

/// A door of a [`crate::Gateway`] without a listener.
#[derive(Clone, Debug)]
pub struct MqttDoor {
    shared: Arc<Shared>,
}

impl MqttDoor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Serves MQTT on the stream, whose other end is at `address`, for as long as the future is
    /// polled; `None` where the bounds on connections leave no place. Deadlines pass and
    /// acknowledgements leave only while [`crate::Gateway::run`] runs.
    pub fn serve<S: ByteStream + 'static>(
        &self,
        stream: S,
        address: SocketAddr,
    ) -> Option<impl Future<Output = ()> + Send + use<S>> {
        let (admitted, welcome) = admit(&self.shared, address.ip(), Through::Mqtt)?;
        let peer = Peer { address, common_name: None, welcome, is_secure: false };
        Some(mqtt::serve(admitted, Stream::Other(Box::new(stream)), peer))
    }
}
