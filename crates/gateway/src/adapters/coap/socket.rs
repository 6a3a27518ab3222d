//! The socket of a door.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// How much may wait in the kernel, in bytes; it gives as much of that as it is allowed to.
const BUFFER_LENGTH: usize = 8 * 1024 * 1024;

/// Opens a socket. At `0.0.0.0` it serves IPv6 as well where the machine has it.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let is_wildcard = address.ip().is_unspecified() && address.is_ipv4();
    if is_wildcard {
        let both = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, address.port(), 0, 0).into();
        match open(both) {
            Ok(socket) => return Ok(socket),
            // The port is somebody's; anything else means that there is no IPv6 here.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => tracing::debug!(%error, "no IPv6 here"),
        }
    }
    open(address)
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    for set in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
        if let Err(error) = set(&socket, BUFFER_LENGTH) {
            tracing::debug!(%error, "the socket's buffer stays as it is");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
