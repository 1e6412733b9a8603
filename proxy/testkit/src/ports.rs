//! Free TCP ports.
//!
//! Taken below the range the kernel uses for outgoing connections, so that nothing but another listener can
//! take one between the look and the bind.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port on 127.0.0.1 that nobody listens on, never given twice by this process.
#[must_use]
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock();
    let taken = taken.get_or_insert_with(HashSet::new);
    for _ in 0..10_000 {
        let port = fastrand::u16(12_000..32_000);
        if !taken.contains(&port) && is_free(port) {
            taken.insert(port);
            return port;
        }
    }
    panic!("no free port between 12000 and 32000 on 127.0.0.1");
}

/// [`free_port`] as an address on 127.0.0.1.
#[must_use]
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// Whether a listener could take this port now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
