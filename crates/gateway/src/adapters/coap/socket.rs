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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn c_23_what_is_for_all_coap_nodes_is_not_for_us() {
        let door = bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = door.local_addr().unwrap().port();
        let sender = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        sender.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        sender.set_multicast_loop_v4(true).unwrap();
        let everybody = SocketAddr::from((Ipv4Addr::new(224, 0, 1, 187), port));
        // Where the machine has no way for it, it does not come either.
        drop(sender.send_to(b"all", &everybody.into()));
        sender.send_to(b"us", &SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
        let mut buffer = [0; 8];
        let (length, from) = door.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"us");
        assert!(from.ip().to_canonical().is_loopback(), "IPv4 on a socket for both");
    }
}
