//! Free TCP ports.
//!
//! Taken below the range the kernel uses for outgoing connections, so that nothing but another listener can
//! take one between the look and the bind.

use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::LazyLock;

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
static RANGE: LazyLock<Range<u16>> = LazyLock::new(|| {
    let outgoing = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = outgoing
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok());
    let end: u16 = first.unwrap_or(32_768);
    // Where the kernel takes nearly all ports there is nothing below; any port is as good as another then.
    if end > 14_000 {
        12_000..end
    } else {
        12_000..u16::MAX
    }
});

/// A port on 127.0.0.1 that nobody listens on, never given twice by this process.
#[must_use]
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock();
    for _ in 0..10_000 {
        let port = fastrand::u16(RANGE.clone());
        if !taken.contains(&port) && is_free(port) {
            taken.insert(port);
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 in {:?}", *RANGE);
}

/// [`free_port`] as an address on 127.0.0.1.
#[must_use]
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// Whether a listener could take this port now.
///
/// It binds and does not listen: a thread that starts a program at this moment lends the program our
/// descriptor until its `exec`, and one that listens would keep the port taken for as long.
#[must_use]
pub fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket(AddressFamily::INET, SocketType::STREAM, None).is_ok_and(|probe| {
        sockopt::set_socket_reuseaddr(&probe, true).is_ok() && bind(&probe, &address).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        let listener = TcpListener::bind(free_address()).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        assert!(!is_free(port));
    }

    #[test]
    fn a_free_port_can_be_taken_while_programs_are_started() {
        let done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        Command::new("true").status().expect("true runs");
                    }
                });
            }
            let taken: Vec<_> = (0..300)
                .map(|_| TcpListener::bind(free_address()))
                .collect();
            done.store(true, Ordering::Relaxed);
            for listener in taken {
                listener.expect("the port is still free");
            }
        });
    }
}
