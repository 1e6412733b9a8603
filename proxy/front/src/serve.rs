//! The life of one connection.

use crate::accept::closed;
use crate::conn::{Conn, Transport};
use crate::door::Shared;
use crate::guard::Guard;
use crate::listeners::{Side, Stop};
use crate::proxied::read_header;
use crate::refusal::Refusal;
use crate::tls::{facts, handshake};
use crate::wire::{FIRST_MAX, Wire};
use aegis_identity::{Alpn, Connection, Refuse, TlsFacts};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// An accepted socket and what its listener knows.
pub(crate) struct Accepted {
    pub(crate) tcp: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) side: Arc<Side>,
}

/// Serves it to its end.
pub(crate) async fn serve<A>(accepted: Accepted, shared: &Shared<A>)
where
    A: ServerApp + Refuse + 'static,
{
    let stop = accepted.side.stop();
    let Some(stream) = prepare(accepted, &stop, shared).await else {
        return;
    };
    let mut next = Some(stream);
    while let Some(stream) = next {
        next = shared.app.process_new(stream, &stop).await;
    }
}

/// Up to the first byte of a request; `None` if there will be none.
async fn prepare<A>(accepted: Accepted, stop: &Stop, shared: &Shared<A>) -> Option<Stream>
where
    A: Refuse + 'static,
{
    let Accepted {
        tcp,
        peer,
        local,
        side,
    } = accepted;
    let acceptor = side.acceptor();
    let mut conn = Conn::new(tcp, peer, local, acceptor.is_some());
    let client = if side.is_proxied() {
        read_header(&mut conn, peer, local, shared).await?
    } else {
        None
    };
    let facts_of = |tls: Option<TlsFacts>| {
        let connection = Connection::new(shared.next_id(), peer, local, tls);
        Arc::new(match client {
            Some(client) => connection.on_behalf_of(client),
            None => connection,
        })
    };
    let Some(acceptor) = acceptor else {
        let connection = facts_of(None);
        let came = within_idle_time(conn.wait_for_byte(), &connection, stop, shared).await;
        return came
            .then(|| wired(conn, connection, shared))
            .flatten()
            .map(|wire| Box::new(wire) as Stream);
    };
    let shaken = timeout(shared.config.handshake_timeout, handshake(&acceptor, conn)).await;
    let stream = match shaken.unwrap_or(Err(Refusal::HandshakeTimeout)) {
        Ok(stream) => stream,
        Err(refusal) => {
            refusal.tell(&*shared.app, &facts_of(None));
            return None;
        }
    };
    let agreed = match facts(stream.ssl()) {
        Ok(agreed) => agreed,
        Err(refusal) => {
            refusal.tell(&*shared.app, &facts_of(None));
            return None;
        }
    };
    // Pingora waits for the preface of HTTP/2 without an end; a request of HTTP/1.1 has its own time from here on.
    let wanted = if agreed.alpn == Some(Alpn::H2) {
        FIRST_MAX
    } else {
        1
    };
    let connection = facts_of(Some(agreed));
    let mut wire = wired(stream, Arc::clone(&connection), shared)?;
    let came = within_idle_time(wire.wait_for(wanted), &connection, stop, shared).await;
    came.then(|| Box::new(wire) as Stream)
}

fn wired<A, S: Transport>(
    inner: S,
    connection: Arc<Connection>,
    shared: &Shared<A>,
) -> Option<Wire<S>>
where
    A: Refuse + 'static,
{
    let refuse = Arc::clone(&shared.app) as Arc<dyn Refuse>;
    let guard = Guard::of(&connection, refuse, shared.config.head_timeout);
    let wire = Wire::new(inner, connection, shared.config.write_timeout).ok()?;
    Some(wire.guarded(guard))
}

/// Whether first bytes come before the idle time is over and before the door closes.
async fn within_idle_time<A>(
    first: impl Future<Output = bool>,
    connection: &Connection,
    stop: &Stop,
    shared: &Shared<A>,
) -> bool
where
    A: Refuse + 'static,
{
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        came = first => came,
        () = sleep(shared.config.idle_timeout) => {
            Refusal::Silent.tell(&*shared.app, connection);
            false
        }
        () = closed(&mut stop) => false,
    }
}
