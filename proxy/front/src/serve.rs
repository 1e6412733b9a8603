//! The life of one connection.

use crate::accept::closed;
use crate::addresses::OfAddress;
use crate::cohort::Cohort;
use crate::conn::{Conn, Transport};
use crate::door::{DoorConfig, Shared};
use crate::guard::{Guard, Rest};
use crate::listeners::{Side, Stop};
use crate::proxied::read_header;
use crate::refusal::Refusal;
use crate::seats::Seat;
use crate::tls::{facts, handshake};
use crate::wire::{FIRST_MAX, Wire};
use aegis_identity::{Alpn, Behalf, Connection, Refuse, TlsFacts};
use aegis_telemetry::events::LimitHit;
use aegis_telemetry::metrics::{CONNECTIONS_AGED, CONNECTIONS_CLOSED_IDLE};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How long a connection that is told to end may be idle. A client of HTTP/2 that has its GOAWAY needs one round trip to
/// acknowledge it; one that is gone never will.
const LINGER: Duration = Duration::from_secs(5);

/// An accepted socket and what its listener knows.
pub(crate) struct Accepted {
    pub(crate) tcp: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) side: Arc<Side>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) cohort: Arc<Cohort>,
}

/// Serves it to its end, or until its place is wanted for another.
pub(crate) async fn serve<A>(accepted: Box<Accepted>, shared: &Shared<A>)
where
    A: ServerApp + Refuse + 'static,
{
    let began = Instant::now();
    let seat = Arc::clone(&accepted.seat);
    let stop = accepted.side.stop();
    let cohort = Arc::clone(&accepted.cohort);
    let mut told = None;
    let mut next = {
        // In memory of its own, which it gives back: a connection waits far longer than it takes to begin.
        let mut prepared = Box::pin(prepare(accepted, &stop, shared, began, &mut told));
        let prepared = poll_fn(|cx| {
            seat.was_nudged(cx.waker());
            if seat.is_to_leave() {
                return Poll::Ready(None);
            }
            prepared.as_mut().poll(cx)
        });
        prepared.await
    };
    if next.is_none() {
        return;
    }
    // What follows is in memory for as long as a connection is idle. So nothing is moved into it, which would be there
    // twice, and it looks at `stop` when it is nudged: a wait for that is larger than the rest of it.
    let closing = cohort.closing();
    let mut serving = pin!(async {
        while let Some(stream) = next.take() {
            next = shared.app.process_new(stream, &closing).await;
        }
    });
    let mut watched = pin!(watched(&seat, &stop, &shared.config, &cohort));
    let nudges = Waker::from(Arc::clone(&seat));
    nudges.wake_by_ref();
    poll_fn(|cx| {
        // First, for what has come meanwhile may be a request: then the connection is idle no more, and stays.
        if serving.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !seat.was_nudged(cx.waker()) {
            return Poll::Pending;
        }
        watched.as_mut().poll(&mut Context::from_waker(&nudges))
    })
    .await;
}

/// Until the connection has to be cut, which is never while it has a request: it is told before, and has its time.
async fn watched(seat: &Seat, stop: &Stop, config: &DoorConfig, cohort: &Cohort) {
    let mut told = false;
    let mut next = (Instant::now() + config.idle_timeout).min(cohort.old);
    loop {
        tokio::select! {
            biased;
            () = once(|| seat.is_to_leave()) => return,
            // A sender that is gone cannot say it, and counts as having said it.
            () = once(|| *stop.borrow() || stop.has_changed().is_err()), if !told => told = true,
            () = sleep_until(next) => {}
        }
        let now = Instant::now();
        if now >= cohort.old && !told {
            CONNECTIONS_AGED.inc();
            told = true;
        }
        let longest_idle = if told {
            cohort.close();
            LINGER
        } else {
            config.idle_timeout
        };
        let idle = seat.idle_for().unwrap_or_default();
        if idle >= longest_idle {
            if !told {
                CONNECTIONS_CLOSED_IDLE.inc();
            }
            return;
        }
        // Timers have a grain of a millisecond.
        next = now
            + longest_idle
                .saturating_sub(idle)
                .max(Duration::from_millis(1));
        if !told {
            next = next.min(cohort.old);
        }
    }
}

/// Until `told`; whoever changes that nudges: who wants the place, or the accept loop at its end.
fn once(told: impl Fn() -> bool) -> impl Future<Output = ()> {
    poll_fn(move |_| {
        if told() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

/// Up to the first byte of a request; `None` if there will be none. `told` is the place of a client that a proxy names.
async fn prepare<A>(
    accepted: Box<Accepted>,
    stop: &Stop,
    shared: &Shared<A>,
    began: Instant,
    told: &mut Option<OfAddress>,
) -> Option<Stream>
where
    A: Refuse + 'static,
{
    let Accepted {
        tcp,
        peer,
        local,
        side,
        seat,
        ..
    } = *accepted;
    let acceptor = side.acceptor();
    let mut conn = Conn::new(tcp, acceptor.is_some());
    seat.rest();
    let behalf = if side.is_proxied() {
        read_header(&mut conn, peer, local, shared, began).await?
    } else {
        Behalf::Itself
    };
    let facts_of = |tls: Option<TlsFacts>| {
        let connection = Connection::new(shared.next_id(), peer, local, tls);
        Arc::new(connection.on_behalf_of(behalf))
    };
    let refused = |refusal: Refusal| {
        refusal.tell(&*shared.app, &facts_of(None));
        None
    };
    if let Behalf::Address(client) = behalf {
        match shared.place_of(client.ip()) {
            Ok(place) => *told = Some(place),
            Err(refusal) => return refused(refusal),
        }
    }
    let Some(acceptor) = acceptor else {
        let connection = facts_of(None);
        let came = within_idle_time(conn.wait_for_byte(), &connection, stop, shared).await;
        return came
            .then(|| wired(conn, Arc::clone(&connection), shared, seat))
            .flatten()
            .map(|wire| Box::new(wire) as Stream);
    };
    let config = &shared.config;
    let deadline = began + config.handshake_timeout;
    let (hello, late) = if config.hello_timeout < config.handshake_timeout {
        (began + config.hello_timeout, Refusal::HelloTimeout)
    } else {
        (deadline, Refusal::HandshakeTimeout)
    };
    match timeout_at(hello, conn.wait_for_byte()).await {
        Ok(true) => seat.work(),
        Ok(false) => return refused(Refusal::HandshakeClosed),
        Err(_) => return refused(late),
    }
    if hello < deadline {
        conn.expect_hello(hello);
    }
    let shaken = timeout_at(deadline, handshake(&acceptor, conn)).await;
    let stream = match shaken.unwrap_or(Err(Refusal::HandshakeTimeout)) {
        Ok(stream) => stream,
        Err(refusal) => return refused(refusal),
    };
    let agreed = match facts(stream.ssl()) {
        Ok(agreed) => agreed,
        Err(refusal) => return refused(refusal),
    };
    // Pingora waits for the preface of HTTP/2 without an end; a request of HTTP/1.1 has its own time from here on.
    let wanted = if agreed.alpn == Some(Alpn::H2) {
        FIRST_MAX
    } else {
        1
    };
    let connection = facts_of(Some(agreed));
    if !shared.app.admits(&connection) {
        LimitHit {
            what: "sites.connections_max",
        }
        .emit();
        Refusal::SiteCap.tell(&*shared.app, &connection);
        return None;
    }
    seat.rest();
    let mut wire = wired(stream, Arc::clone(&connection), shared, seat)?;
    let came = within_idle_time(wire.wait_for(wanted), &connection, stop, shared).await;
    came.then(|| Box::new(wire) as Stream)
}

fn wired<A, S: Transport>(
    inner: S,
    connection: Arc<Connection>,
    shared: &Shared<A>,
    seat: Arc<Seat>,
) -> Option<Wire<S>>
where
    A: Refuse + 'static,
{
    let refuse = Arc::clone(&shared.app) as Arc<dyn Refuse>;
    let limits = Arc::clone(&shared.limits);
    let guard = Guard::of(&connection, refuse, limits, Rest::in_seat(seat));
    let wire = Wire::new(inner, connection, shared.limits.send).ok()?;
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
