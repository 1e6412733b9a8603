//! The accept loop of one listener, and the connections it has brought in.

use crate::addresses::OfAddress;
use crate::cohort::Cohorts;
use crate::door::{Drained, Shared};
use crate::listeners::Side;
use crate::refusal::Refusal;
use crate::seats::Seat;
use crate::serve::{Accepted, serve};
use aegis_identity::{Connection, Refuse, canonical};
use aegis_telemetry::events::LimitHit;
use aegis_telemetry::metrics::{CONNECTIONS_ACCEPTED, CONNECTIONS_OPEN};
use pingora_core::apps::ServerApp;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

const BACK_OFF_FIRST: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Accepts until the door closes, or the listener goes, then waits for the connections up to the grace and cuts the rest.
pub(crate) async fn accept_loop<A>(
    listener: TcpListener,
    side: Arc<Side>,
    shared: Arc<Shared<A>>,
) -> Drained
where
    A: ServerApp + Refuse + 'static,
{
    let mut connections = JoinSet::new();
    let mut cohorts = Cohorts::new(shared.config.connection_age_max);
    let fixed_local = listener
        .local_addr()
        .ok()
        .filter(|local| !local.ip().is_unspecified());
    let mut stop = side.stop();
    let mut back_off = BACK_OFF_FIRST;
    loop {
        let accepted = tokio::select! {
            biased;
            () = closed(&mut stop) => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                told(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => {
                told_of_accept(&error);
                // A connection that ends meanwhile makes room at once; without a wait the loop would spin.
                tokio::select! {
                    biased;
                    () = closed(&mut stop) => break,
                    Some(ended) = connections.join_next(), if !connections.is_empty() => told(ended),
                    () = sleep(back_off) => {}
                }
                back_off = (back_off * 2).min(BACK_OFF_MAX);
                continue;
            }
        };
        back_off = BACK_OFF_FIRST;
        // Before a place is taken: who is banned must not hold one.
        let turn_away = |why: Refusal| {
            let local = fixed_local.or_else(|| tcp.local_addr().ok());
            let refused = Connection::new(0, peer, local.unwrap_or(peer), None);
            why.tell(&*shared.app, &refused);
        };
        if shared.app.keeps_out(canonical(peer).ip()) {
            turn_away(Refusal::Banned);
            continue;
        }
        // A place may have to be waited for; those who have one must hear of the end meanwhile.
        let place = tokio::select! {
            biased;
            () = closed(&mut stop) => break,
            place = Place::take(&shared, canonical(peer).ip()) => place,
        };
        let place = match place {
            Ok(place) => place,
            Err(why) => {
                turn_away(why);
                continue;
            }
        };
        CONNECTIONS_ACCEPTED.inc();
        let Some(local) = fixed_local.or_else(|| tcp.local_addr().ok()) else {
            continue;
        };
        let accepted = Box::new(Accepted {
            tcp,
            peer: canonical(peer),
            local: canonical(local),
            side: Arc::clone(&side),
            seat: Arc::clone(&place.seat),
            cohort: cohorts.current(),
        });
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            serve(accepted, &shared).await;
            drop(place);
        });
    }
    drop(listener);
    shared.seats.nudge_all();
    drain(connections, side.grace(shared.config.grace)).await
}

async fn drain(mut connections: JoinSet<()>, grace: Duration) -> Drained {
    let waited_for = connections.len();
    let all = async {
        while let Some(ended) = connections.join_next().await {
            told(ended);
        }
    };
    let in_time = timeout(grace, all).await.is_ok();
    let cut = if in_time { 0 } else { connections.len() };
    connections.shutdown().await;
    Drained {
        finished: waited_for - cut,
        cut,
    }
}

/// Until the door closes; a sender that is gone cannot say it, and counts as having said it.
pub(crate) async fn closed(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

fn told_of_accept(error: &io::Error) {
    Refusal::Accept.count();
    if is_out_of_files(error) {
        LimitHit {
            what: "open files (ulimit -n)",
        }
        .emit();
    } else {
        tracing::warn!(%error, "a connection cannot be accepted");
    }
}

/// A panic in a connection is a bug of ours, and ends that connection alone.
fn told(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; please report it");
    }
}

/// Whether the client gave up between the kernel's accept and ours.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// One of the connections that may be open at once.
struct Place {
    seat: Arc<Seat>,
    _of_address: Option<OfAddress>,
}

impl Place {
    /// A place for a connection from `peer`, or why there is none.
    async fn take<A: Refuse>(shared: &Shared<A>, peer: IpAddr) -> Result<Self, Refusal> {
        // A trusted proxy brings many clients; those it names are counted in its place.
        let of_address = if shared.app.trusts(peer) {
            None
        } else {
            // First, so that who has too many cannot send others away.
            Some(shared.place_of(peer)?)
        };
        let (seat, made_room) = shared.seats.take().await.ok_or(Refusal::Cap)?;
        if made_room {
            LimitHit {
                what: "node.client.connections_max",
            }
            .emit();
        }
        CONNECTIONS_OPEN.inc();
        Ok(Self {
            seat,
            _of_address: of_address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        CONNECTIONS_OPEN.dec();
    }
}
