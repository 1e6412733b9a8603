//! Connections of load balancers, which begin with a header of the PROXY protocol that names the client.
//!
//! Only who is trusted is listened to. There is no listener on which the header may be left out: whoever connects there
//! could write one.

use crate::conn::Conn;
use crate::refusal::Refusal;
use aegis_identity::{ProxyHeaderError, Refuse, read_proxy_header};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

/// Reads the header off the start of `conn`, within `limit`. `None`: the load balancer speaks for itself.
pub(crate) async fn read_header(
    conn: &mut Conn,
    peer: IpAddr,
    app: &impl Refuse,
    limit: Duration,
) -> Result<Option<SocketAddr>, Refusal> {
    if !app.trusts(peer) {
        return Err(Refusal::ProxyUntrusted);
    }
    timeout(limit, header(conn))
        .await
        .unwrap_or(Err(Refusal::ProxyTimeout))
}

async fn header(conn: &mut Conn) -> Result<Option<SocketAddr>, Refusal> {
    loop {
        // Before there is a byte nothing is wrong yet.
        let read = read_proxy_header(conn.ahead());
        if let Some(header) = read.map_err(Refusal::of_proxy_header)? {
            conn.skip(header.len);
            return Ok(header.client);
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
