//! Listening sockets, and why one cannot be had.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use thiserror::Error;

/// Connections the kernel completes before we accept them.
const BACKLOG: i32 = 4096;
/// Bytes of an answer that the kernel takes before it has sent them (TCP_NOTSENT_LOWAT). Without a bound it takes
/// megabytes for each client that does not read.
const UNSENT_MAX: u32 = 128 << 10;

/// Files that no connection of a request gets: listeners, logs, settings and modules at a reload, the admin socket's.
const FILES_BESIDE: u64 = 256;
/// Which part of the others is for connections to origins. A client that is idle needs none, one of HTTP/2 many.
const ORIGINS_PART: u64 = 4;

/// A listener's address cannot be had.
#[derive(Debug, Error)]
pub enum BindError {
    /** Somebody listens there. */
    #[error(
        "{address} is already in use; stop what listens there (ss -ltnp shows it) or choose another port"
    )]
    InUse {
        /** The address. */
        address: SocketAddr,
    },
    /** Ports below 1024 are privileged. */
    #[error(
        "{address} needs the capability CAP_NET_BIND_SERVICE; give it (setcap cap_net_bind_service=+ep on the binary, or AmbientCapabilities= in the unit) or choose a port from 1024 on"
    )]
    Privileged {
        /** The address. */
        address: SocketAddr,
    },
    /** Not ours. */
    #[error("{address} is no address of this machine; ip address shows them, [::] stands for all")]
    NotOurs {
        /** The address. */
        address: SocketAddr,
    },
    /** Anything else. */
    #[error("{address} cannot be listened on: {reason}")]
    Other {
        /** The address. */
        address: SocketAddr,
        /** The system's word. */
        reason: std::io::Error,
    },
    /** The TLS library refuses our own policy. */
    #[error("TLS cannot be set up for {address}: {reason}; please report it")]
    Tls {
        /** The address. */
        address: SocketAddr,
        /** The library's word. */
        reason: boring::error::ErrorStack,
    },
}

impl BindError {
    fn new(address: SocketAddr, errno: Errno) -> Self {
        match errno {
            Errno::ADDRINUSE => Self::InUse { address },
            Errno::ACCESS | Errno::PERM if address.port() < 1024 => Self::Privileged { address },
            Errno::ADDRNOTAVAIL => Self::NotOurs { address },
            _ => Self::Other {
                address,
                reason: errno.into(),
            },
        }
    }
}

/// Listens on `address`; `[::]` takes IPv4 too, as the settings allow no `0.0.0.0` on the same port beside it.
///
/// # Errors
/// Which address, why, and what to do.
pub(crate) fn listener(address: SocketAddr, reuse_port: bool) -> Result<TcpListener, BindError> {
    let dual_stack = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match open(address, dual_stack, reuse_port) {
        // A machine without IPv6 still has all its addresses served.
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if dual_stack => {
            tracing::warn!(%address, "this machine has no IPv6, listening on IPv4 only");
            let any_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            open(any_v4, false, reuse_port)
        }
        result => result,
    }
    .map_err(|errno| BindError::new(address, errno))
}

/// Listens on `address` in place of `former`, sockets of ours that overlap it and will be closed: `0.0.0.0` becomes
/// `[::]`, say. For the moment of the change the kernel is told that they may share. It remembers that for as long as the
/// address is open: who has the same user and asks to share could come beside us then, and nobody else. They are left as
/// they were: until the change is made, and if it fails, they go on serving.
///
/// # Errors
/// As [`listener`].
pub(crate) fn listener_instead_of(
    former: &[&TcpListener],
    address: SocketAddr,
    reuse_port: bool,
) -> Result<TcpListener, BindError> {
    let were_shared: Vec<bool> = former.iter().map(|socket| is_shared(socket)).collect();
    for socket in former {
        share(socket, true);
    }
    let opened = listener(address, true);
    for (socket, was_shared) in former.iter().zip(were_shared) {
        share(socket, was_shared);
    }
    if let Ok(opened) = &opened {
        share(opened, reuse_port);
    }
    opened
}

/// Whether another process of the same user that asks for the same may listen on the address. Once it was shared, the
/// kernel remembers that until the address is closed.
pub(crate) fn share(socket: &TcpListener, is_shared: bool) {
    if let Err(error) = sockopt::set_socket_reuseport(socket, is_shared) {
        tracing::warn!(%error, "whether an address is shared cannot be set");
    }
}

fn is_shared(socket: &TcpListener) -> bool {
    sockopt::socket_reuseport(socket).unwrap_or(false)
}

/// Whether two sockets cannot be bound at once.
pub(crate) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let wide = |one: SocketAddr| one.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || wide(a) || wide(b))
}

fn open(address: SocketAddr, dual_stack: bool, reuse_port: bool) -> Result<TcpListener, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !dual_stack)?;
    }
    // Accepted sockets inherit all three: as many system calls less for every connection.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    if let Err(error) = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_MAX) {
        tracing::warn!(%error, "the kernel does not bound what it keeps for clients that do not read");
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Raises the number of files the process may open as far as it may, and gives it; `None`: there is no limit.
pub(crate) fn open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// How the files that may be open are shared out, so that whoever takes all of his leaves the others theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Connections from clients, at least one.
    pub(crate) clients: usize,
    /// Connections to origins, at least one.
    pub(crate) origins: usize,
}

impl Share {
    pub(crate) fn of(files: u64) -> Self {
        let left = files.saturating_sub(FILES_BESIDE);
        let origins = left / ORIGINS_PART;
        let count = |files: u64| usize::try_from(files).unwrap_or(usize::MAX).max(1);
        Self {
            clients: count(left - origins),
            origins: count(origins),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::connect;
    use std::io::{ErrorKind, Write};
    use std::net::TcpStream;

    #[test]
    fn little_is_buffered_for_a_client_that_does_not_read() {
        let server = listener(address("127.0.0.1:0"), false).unwrap();
        let client = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        sockopt::set_socket_recv_buffer_size(&client, 4096).unwrap();
        connect(&client, &server.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let mut taken = 0;
        let error = loop {
            match accepted.write(&[0; 16 << 10]) {
                Ok(written) => taken += written,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let most = UNSENT_MAX as usize + (64 << 10);
        assert!(taken <= most, "{taken} bytes were taken");
    }

    #[test]
    fn files_are_shared_out_with_a_reserve() {
        for (files, clients, origins) in [
            (20_000, 14_808, 4_936),
            (256 + 400, 300, 100),
            (256 + 4, 3, 1),
            (256, 1, 1),
            (0, 1, 1),
        ] {
            assert_eq!(Share::of(files), Share { clients, origins }, "{files}");
            let used = (clients + origins) as u64;
            assert!(files <= 256 || used + 256 <= files);
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_in_use_is_named_with_the_remedy() {
        let first = listener(address("127.0.0.1:0"), false).unwrap();
        let taken = first.local_addr().unwrap();
        let error = listener(taken, false).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }));
        assert!(error.to_string().contains(&taken.to_string()));
        assert!(error.to_string().contains("ss -ltnp"));
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = listener(address("192.0.2.1:0"), false).unwrap_err();
        assert!(matches!(error, BindError::NotOurs { .. }), "{error}");
    }

    #[test]
    fn a_privileged_port_is_told_from_other_refusals() {
        let told = |text| BindError::new(address(text), Errno::ACCESS).to_string();
        assert!(told("0.0.0.0:443").contains("CAP_NET_BIND_SERVICE"));
        assert!(!told("0.0.0.0:8443").contains("CAP_NET_BIND_SERVICE"));
    }

    #[test]
    fn the_unspecified_ipv6_address_takes_ipv4_clients() {
        let all = listener(address("[::]:0"), false).unwrap();
        let port = all.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn an_address_gives_way_to_a_wider_one_of_ours_and_to_nobody_else() {
        for (narrow, wide) in [
            ("127.0.0.1:0", Ipv6Addr::UNSPECIFIED.into()),
            ("0.0.0.0:0", IpAddr::from(Ipv6Addr::UNSPECIFIED)),
            ("127.0.0.1:0", Ipv4Addr::UNSPECIFIED.into()),
        ] {
            let former = listener(address(narrow), false).unwrap();
            let wide = SocketAddr::new(wide, former.local_addr().unwrap().port());
            assert!(overlap(former.local_addr().unwrap(), wide));
            assert!(listener(wide, false).is_err(), "{narrow} {wide}");
            let next = listener_instead_of(&[&former], wide, false).unwrap();
            drop(former);
            TcpStream::connect(("127.0.0.1", wide.port())).unwrap();
            next.set_nonblocking(false).unwrap();
            next.accept().unwrap();
            assert!(listener(wide, false).is_err(), "it is not shared");
        }
    }

    #[test]
    fn an_address_that_stays_after_all_is_shared_as_before() {
        for reuse_port in [true, false] {
            let former = listener(address("127.0.0.1:0"), reuse_port).unwrap();
            let taken = former.local_addr().unwrap();
            // Somebody else is in the way of the wider one.
            let port = taken.port();
            let other = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
            let _other = listener(other, false).unwrap();
            let wide = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            assert!(listener_instead_of(&[&former], wide, true).is_err());
            assert_eq!(listener(taken, true).is_ok(), reuse_port);
        }
    }

    #[test]
    fn who_asks_for_it_shares_an_address() {
        let first = listener(address("127.0.0.1:0"), true).unwrap();
        let taken = first.local_addr().unwrap();
        assert!(listener(taken, false).is_err());
        assert!(listener(taken, true).is_ok());
        drop(first);
        let alone = listener(taken, false).unwrap();
        assert!(listener(taken, true).is_err());
        share(&alone, true);
        assert!(listener(taken, true).is_ok());
    }

    #[test]
    fn accepted_sockets_send_without_delay() {
        let listener = listener(address("127.0.0.1:0"), false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
