//! Who has a port: looked up in /proc, where there is one.

use std::fs;
use std::net::SocketAddr;

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// Where the sockets are listed, and how it is said there that one takes what comes: it listens, or
    /// it has no other end.
    fn sockets(self) -> ([&'static str; 2], &'static str) {
        match self {
            Self::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
            Self::Udp => (["/proc/net/udp", "/proc/net/udp6"], "07"),
        }
    }
}

/// The process that has the port of `address`, as words; `None` where that cannot be known.
pub(crate) fn holder_of(transport: Transport, address: SocketAddr) -> Option<String> {
    let (tables, state) = transport.sockets();
    let tables = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
    let inodes: Vec<String> = tables.flat_map(|table| listeners(&table, address.port(), state)).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| holds(*pid, &inodes)).map(process)
}

/// A process with its name.
pub(super) fn process(pid: u32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{} (process {pid})", name.trim()),
        Err(_gone_or_no_proc) => format!("process {pid}"),
    }
}

/// The inodes of the sockets that have the port.
fn listeners(table: &str, port: u16, state: &str) -> Vec<String> {
    let wanted = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let matching = lines.filter(|fields| {
        fields.get(1).is_some_and(|local| local.ends_with(&wanted)) && fields.get(3) == Some(&state)
    });
    matching.filter_map(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]"))).collect()
}

fn holds(pid: u32, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn who_listens_at_a_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (transport, address) in
            [(Transport::Tcp, listener.local_addr().unwrap()), (Transport::Udp, socket.local_addr().unwrap())]
        {
            let found = holder_of(transport, address).unwrap();
            assert!(found.ends_with(&format!("(process {})", std::process::id())), "{found}");
        }
    }
}
