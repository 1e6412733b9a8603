//! The set of listeners, and how it changes while clients are served.
//!
//! A change is planned and then applied. Planning binds every new address and sets up every new TLS side, or fails and
//! leaves nothing behind; applying cannot fail. A kept address keeps its socket, whatever becomes of its TLS: the next
//! handshake has the new side, connections have what they were made with. A listener that goes is closed, and its
//! connections have the grace to end: requests in flight are answered, HTTP/2 says GOAWAY.

use crate::bind::{BindError, listener, listener_instead_of, overlap, share};
use crate::tls::acceptor;
use aegis_certs::Certificates;
use aegis_settings::model::{Listener, ProxyProtocol};
use arc_swap::ArcSwapOption;
use boring::ssl::SslAcceptor;
use parking_lot::Mutex;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// True once nobody is let in any more. Only clones are waited on: so each still sees the change, however late it is made.
pub(crate) type Stop = watch::Receiver<bool>;

/// A listener as its accept loop and its connections see it.
pub(crate) struct Side {
    tls: ArcSwapOption<SslAcceptor>,
    proxied: AtomicBool,
    stop: Stop,
    grace_ms: AtomicU64,
}

/// The whole grace of the door.
const NO_GRACE_OF_ITS_OWN: u64 = u64::MAX;

impl Side {
    /// What a handshake begins with; `None` where plain HTTP is spoken.
    pub(crate) fn acceptor(&self) -> Option<Arc<SslAcceptor>> {
        self.tls.load_full()
    }

    /// Whether a header of the PROXY protocol comes first.
    pub(crate) fn is_proxied(&self) -> bool {
        self.proxied.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Time for its connections to end, once it is stopped; `door` if all listeners are.
    pub(crate) fn grace(&self, door: Duration) -> Duration {
        match self.grace_ms.load(Ordering::Relaxed) {
            NO_GRACE_OF_ITS_OWN => door,
            millis => Duration::from_millis(millis).min(door),
        }
    }
}

/// A listener that waits for its accept loop.
pub(crate) struct Start {
    pub(crate) socket: TcpListener,
    pub(crate) side: Arc<Side>,
}

/// A listener that is open.
struct Open {
    id: u64,
    written: Listener,
    address: SocketAddr,
    /// The accept loop's, once more: to share it, and to look at it.
    socket: TcpListener,
    side: Arc<Side>,
    stop: watch::Sender<bool>,
}

/// The set of listeners of a [`crate::Bound`].
#[derive(Clone)]
pub struct Listeners(Arc<Inner>);

struct Inner {
    certificates: Arc<Certificates>,
    open: Mutex<Vec<Open>>,
    /// At most as many as there may be listeners, and those of changes that came too fast.
    starts: Mutex<Vec<Start>>,
    started: Notify,
    ids: AtomicU64,
}

/// A change that can be made: everything new is bound. Dropped, it leaves everything as it was.
pub struct Change(Vec<Planned>);

struct Planned {
    written: Listener,
    tls: Tls,
    socket: Socket,
}

enum Tls {
    Kept,
    New(Option<Arc<SslAcceptor>>),
}

enum Socket {
    /// Of the listener with this number.
    Kept(u64),
    New(TcpListener),
}

impl Listeners {
    pub(crate) fn new(certificates: Arc<Certificates>) -> Self {
        Self(Arc::new(Inner {
            certificates,
            open: Mutex::default(),
            starts: Mutex::default(),
            started: Notify::new(),
            ids: AtomicU64::new(0),
        }))
    }

    /// The addresses, in order, with the port that the system chose where 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.open.lock().iter().map(|open| open.address).collect()
    }

    /// Makes everything ready for `wanted` to be the whole set.
    ///
    /// Two plans at a time would bind the same addresses: plan, then apply or drop.
    ///
    /// # Errors
    /// The first address that cannot be had, why, and what to do. Nothing has changed then.
    pub fn plan(&self, wanted: &[Listener]) -> Result<Change, BindError> {
        let open = self.0.open.lock();
        let mut left: Vec<&Open> = open.iter().collect();
        let kept: Vec<Option<&Open>> = wanted
            .iter()
            .map(|one| {
                let at = left
                    .iter()
                    .position(|open| open.written.address == one.address)?;
                Some(left.remove(at))
            })
            .collect();
        let planned = wanted.iter().zip(kept).map(|(one, kept)| {
            let tls = if kept.is_some_and(|open| open.written.tls == one.tls) {
                Tls::Kept
            } else {
                Tls::New(self.acceptor(one)?)
            };
            let socket = match kept {
                Some(open) => Socket::Kept(open.id),
                None => Socket::New(bind(one, &left)?),
            };
            Ok(Planned {
                written: one.clone(),
                tls,
                socket,
            })
        });
        Ok(Change(planned.collect::<Result<_, _>>()?))
    }

    fn acceptor(&self, one: &Listener) -> Result<Option<Arc<SslAcceptor>>, BindError> {
        let Some(tls) = &one.tls else { return Ok(None) };
        let made = acceptor(tls, Arc::clone(&self.0.certificates));
        made.map(|acceptor| Some(Arc::new(acceptor)))
            .map_err(|reason| BindError::Tls {
                address: one.address,
                reason,
            })
    }

    /// Makes the change. Listeners that go have `grace` for their connections.
    pub fn apply(&self, change: Change, grace: Duration) {
        let mut open = self.0.open.lock();
        let mut former: Vec<Open> = std::mem::take(&mut *open);
        let is_first = former.is_empty();
        for Planned {
            written,
            tls,
            socket,
        } in change.0
        {
            match socket {
                Socket::Kept(id) => {
                    let Some(at) = former.iter().position(|open| open.id == id) else {
                        tracing::error!(address = %written.address, "a kept listener is gone; please report it");
                        continue;
                    };
                    let mut one = former.remove(at);
                    if let Tls::New(tls) = tls {
                        one.side.tls.store(tls);
                    }
                    if one.written.reuse_port != written.reuse_port {
                        share(&one.socket, written.reuse_port);
                    }
                    one.side
                        .proxied
                        .store(is_proxied(&written), Ordering::Relaxed);
                    one.written = written;
                    open.push(one);
                }
                Socket::New(socket) => {
                    let Tls::New(tls) = tls else { continue };
                    open.extend(self.opened(written, tls, socket, is_first));
                }
            }
        }
        drop(open);
        self.0.started.notify_one();
        for gone in former {
            tracing::info!(address = %gone.address, "no longer listening");
            let millis = u64::try_from(grace.as_millis()).unwrap_or(NO_GRACE_OF_ITS_OWN);
            gone.side.grace_ms.store(millis, Ordering::Relaxed);
            gone.close();
        }
    }

    fn opened(
        &self,
        written: Listener,
        tls: Option<Arc<SslAcceptor>>,
        socket: TcpListener,
        is_first: bool,
    ) -> Option<Open> {
        let both = socket
            .local_addr()
            .and_then(|address| Ok((address, socket.try_clone()?)));
        let (address, again) = match both {
            Ok(both) => both,
            Err(error) => {
                tracing::error!(address = %written.address, %error, "a new listener cannot be served");
                return None;
            }
        };
        if !is_first {
            tracing::info!(%address, tls = tls.is_some(), "listening");
        }
        let (stop, stopped) = watch::channel(false);
        let side = Arc::new(Side {
            tls: ArcSwapOption::from(tls),
            proxied: AtomicBool::new(is_proxied(&written)),
            stop: stopped,
            grace_ms: AtomicU64::new(NO_GRACE_OF_ITS_OWN),
        });
        self.0.starts.lock().push(Start {
            socket: again,
            side: Arc::clone(&side),
        });
        Some(Open {
            id: self.0.ids.fetch_add(1, Ordering::Relaxed),
            written,
            address,
            socket,
            side,
            stop,
        })
    }

    /// Listeners that have no accept loop yet.
    pub(crate) fn take_starts(&self) -> Vec<Start> {
        std::mem::take(&mut self.0.starts.lock())
    }

    /// Until there are such.
    pub(crate) async fn started(&self) {
        self.0.started.notified().await;
    }

    /// Closes all of them.
    pub(crate) fn close(&self) {
        for open in std::mem::take(&mut *self.0.open.lock()) {
            open.close();
        }
        drop(self.take_starts());
    }
}

impl Open {
    fn close(self) {
        // Nobody listens to it when its accept loop never began.
        let _nobody = self.stop.send(true);
    }
}

fn is_proxied(listener: &Listener) -> bool {
    listener.proxy_protocol == ProxyProtocol::Required
}

/// A socket for a new listener, in place of those of `former` that are in its way.
fn bind(one: &Listener, former: &[&Open]) -> Result<TcpListener, BindError> {
    let in_the_way = former
        .iter()
        .filter(|open| overlap(open.address, one.address));
    let in_the_way: Vec<_> = in_the_way.map(|open| &open.socket).collect();
    if in_the_way.is_empty() {
        listener(one.address, one.reuse_port)
    } else {
        listener_instead_of(&in_the_way, one.address, one.reuse_port)
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.addresses()).finish()
    }
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses = self.0.iter().map(|planned| planned.written.address);
        f.debug_list().entries(addresses).finish()
    }
}
