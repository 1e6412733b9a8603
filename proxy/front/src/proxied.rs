//! Connections of load balancers, which begin with a header of the PROXY protocol that names the client.
//!
//! Only who is trusted is listened to. There is no listener on which the header may be left out: whoever connects there
//! could write one.

use crate::conn::Conn;
use crate::door::Shared;
use crate::refusal::Refusal;
use aegis_identity::{Behalf, Connection, ProxyHeaderError, Refuse, read_proxy_header};
use std::net::SocketAddr;
use tokio::time::{Instant, timeout_at};

/// Reads the header off the start of `conn`, within the time of a ClientHello. `None`: the connection is refused, and
/// that is told.
pub(crate) async fn read_header<A: Refuse + 'static>(
    conn: &mut Conn,
    peer: SocketAddr,
    local: SocketAddr,
    shared: &Shared<A>,
    began: Instant,
) -> Option<Behalf> {
    let read = if shared.app.trusts(peer.ip()) {
        let read = timeout_at(began + shared.config.hello_timeout, header(conn)).await;
        read.unwrap_or(Err(Refusal::ProxyTimeout))
    } else {
        Err(Refusal::ProxyUntrusted)
    };
    read.inspect_err(|refusal| {
        let connection = Connection::new(shared.next_id(), peer, local, None);
        refusal.tell(&*shared.app, &connection);
    })
    .ok()
}

async fn header(conn: &mut Conn) -> Result<Behalf, Refusal> {
    loop {
        // Before there is a byte nothing is wrong yet.
        let read = read_proxy_header(conn.ahead());
        if let Some(header) = read.map_err(Refusal::of_proxy_header)? {
            conn.skip(header.len);
            return Ok(header.behalf);
        }
        if !conn.read_more().await {
            return Err(Refusal::ProxyClosed);
        }
    }
}

impl Refusal {
    const fn of_proxy_header(error: ProxyHeaderError) -> Self {
        match error {
            ProxyHeaderError::Absent => Self::ProxyAbsent,
            ProxyHeaderError::TooLong => Self::ProxyTooLong,
            ProxyHeaderError::Malformed | ProxyHeaderError::Checksum => Self::ProxyMalformed,
        }
    }
}
