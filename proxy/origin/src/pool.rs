//! A group of origin servers: their addresses, and the choice among them.

use crate::endpoint::Endpoint;
use crate::health::Thresholds;
use crate::peer::{self, Authorities};
use crate::probe::{self, Prober};
use crate::resolve::{self, Resolve, Server};
use crate::{Error, Fault};
use aegis_settings::model;
use arc_swap::ArcSwap;
use pingora_core::upstreams::peer::HttpPeer;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Consecutive failed connects that put a server aside when no active check is configured.
const PASSIVE_UNHEALTHY: u32 = 2;

pub(crate) type Endpoints = Vec<Arc<Endpoint>>;

/// A named group of origin servers.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    settings: Arc<model::Pool>,
    authorities: Option<Authorities>,
    thresholds: Thresholds,
    endpoints: ArcSwap<Endpoints>,
    next: AtomicUsize,
    started: Instant,
    /// True once every name was looked up (with or without success).
    settled: watch::Sender<bool>,
    tasks: OnceLock<Vec<AbortHandle>>,
}

/// The server chosen for one try.
#[derive(Debug)]
pub struct Pick {
    /// Where the request goes; tell it how the connect went.
    pub endpoint: Arc<Endpoint>,
    /// What Pingora connects to.
    pub peer: Box<HttpPeer>,
}

/// No server can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PickError {
    /// No name of the pool has resolved yet.
    NoAddress,
}

impl From<PickError> for Fault {
    fn from(error: PickError) -> Self {
        match error {
            PickError::NoAddress => Self::NoServer,
        }
    }
}

/// One line of a status report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// As configured.
    pub server: String,
    /// The address behind it.
    pub address: SocketAddr,
    /// Requests go there.
    pub up: bool,
}

impl Pool {
    /// Builds a pool; servers known to `previous` keep their addresses and their health. Nothing runs before
    /// [`Pool::start`].
    pub(crate) fn build(
        settings: &Arc<model::Pool>,
        previous: Option<&Self>,
    ) -> Result<Arc<Self>, Error> {
        let authorities = Authorities::read(settings)?;
        let thresholds = match &settings.health {
            Some(check) => Thresholds {
                unhealthy: check.unhealthy,
                healthy: check.healthy,
                active: true,
            },
            None => Thresholds {
                unhealthy: PASSIVE_UNHEALTHY,
                healthy: 1,
                active: false,
            },
        };
        let pool = Self {
            name: settings.name.as_str().into(),
            settings: Arc::clone(settings),
            authorities,
            thresholds,
            endpoints: ArcSwap::default(),
            next: AtomicUsize::new(0),
            started: Instant::now(),
            settled: watch::Sender::new(false),
            tasks: OnceLock::new(),
        };
        let known = previous.map(Self::endpoints).unwrap_or_default();
        for server in pool.servers()? {
            match server.literal() {
                Some(address) => pool.set_addresses(&server, &[address]),
                None => {
                    let known: Vec<_> = known
                        .iter()
                        .filter(|old| old.server == server.written)
                        .map(|old| old.address)
                        .collect();
                    pool.set_addresses(&server, &known);
                }
            }
        }
        for old in known.iter().filter(|old| !old.is_up()) {
            let same =
                |new: &&Arc<Endpoint>| new.address == old.address && new.server == old.server;
            if let Some(new) = pool.endpoints.load().iter().find(same) {
                let down = Thresholds {
                    unhealthy: 1,
                    ..thresholds
                };
                new.health.record(false, 0, down);
            }
        }
        Ok(Arc::new(pool))
    }

    /// Starts the look-ups and the health checks this pool needs; they end when the pool is dropped.
    pub(crate) fn start(
        self: &Arc<Self>,
        runtime: &Handle,
        resolver: &Arc<dyn Resolve>,
        prober: &Arc<Prober>,
    ) {
        self.tasks.get_or_init(|| {
            let mut tasks = Vec::new();
            let mut names = self.servers().unwrap_or_default();
            names.retain(|server| server.literal().is_none());
            if names.is_empty() {
                self.mark_settled();
            } else {
                let task = resolve::run(Arc::downgrade(self), names, Arc::clone(resolver));
                tasks.push(runtime.spawn(task).abort_handle());
            }
            if let Some(check) = &self.settings.health {
                let task = probe::run(Arc::downgrade(self), check.clone(), Arc::clone(prober));
                tasks.push(runtime.spawn(task).abort_handle());
            }
            tasks
        });
    }

    /// Chooses a server for the next try of a request; `tried` are the addresses of earlier tries.
    ///
    /// Round robin over the healthy servers not tried yet; if there is none, over all not tried; then over all.
    ///
    /// # Errors
    /// [`PickError::NoAddress`] when no server has an address.
    pub fn pick(&self, tried: &[SocketAddr]) -> Result<Pick, PickError> {
        let endpoints = self.endpoints.load();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let endpoint = choose(&endpoints, turn, tried).ok_or(PickError::NoAddress)?;
        Ok(Pick {
            endpoint: Arc::clone(endpoint),
            peer: Box::new(endpoint.peer.clone()),
        })
    }

    /// True if another address of the same server is left: then a failed connect need not count as a try.
    #[must_use]
    pub fn has_other_address(&self, server: &str, tried: &[SocketAddr]) -> bool {
        self.endpoints
            .load()
            .iter()
            .any(|e| &*e.server == server && !tried.contains(&e.address))
    }

    /// Name of the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &model::Pool {
        &self.settings
    }

    /// Addresses and their state, for people.
    #[must_use]
    pub fn view(&self) -> Vec<ServerView> {
        let view = |e: &Arc<Endpoint>| ServerView {
            server: e.server.to_string(),
            address: e.address,
            up: e.is_up(),
        };
        self.endpoints.load().iter().map(view).collect()
    }

    pub(crate) fn endpoints(&self) -> Arc<Endpoints> {
        self.endpoints.load_full()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.endpoints.load().is_empty()
    }

    pub(crate) fn mark_settled(&self) {
        self.settled.send_replace(true);
    }

    /// Waits until every name was looked up once.
    pub(crate) async fn settle(&self) {
        // The sender lives as long as the pool.
        let mut settled = self.settled.subscribe();
        let _settled = settled.wait_for(|&settled| settled).await;
    }

    /// Replaces the addresses of one server; those that stay keep their health.
    pub(crate) fn set_addresses(&self, server: &Server, addresses: &[SocketAddr]) {
        let unchanged = {
            let now = self.endpoints.load();
            let of_server = now.iter().filter(|e| e.server == server.written);
            of_server.map(|e| e.address).eq(addresses.iter().copied())
        };
        if unchanged {
            return;
        }
        let before = self.endpoints.rcu(|now| {
            let mut next: Endpoints = now
                .iter()
                .filter(|e| e.server != server.written)
                .map(Arc::clone)
                .collect();
            for &address in addresses {
                let kept = now
                    .iter()
                    .find(|e| e.server == server.written && e.address == address);
                next.push(kept.map_or_else(|| self.endpoint(server, address), Arc::clone));
            }
            next
        });
        if self.tasks.get().is_some() {
            self.show(Some(&before));
        }
    }

    /// Brings the metrics up to date: the servers there are, without those of `before` that are gone.
    pub(crate) fn show(&self, before: Option<&Endpoints>) {
        let now = self.endpoints.load();
        now.iter().for_each(|endpoint| endpoint.show());
        let gone = |old: &&Arc<Endpoint>| !now.iter().any(|new| new.address == old.address);
        before
            .into_iter()
            .flatten()
            .filter(gone)
            .for_each(|old| old.hide());
    }

    fn endpoint(&self, server: &Server, address: SocketAddr) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            pool: Arc::clone(&self.name),
            server: Arc::clone(&server.written),
            address,
            label: address.to_string().into(),
            peer: peer::build(
                &self.settings,
                self.authorities.as_ref(),
                &server.host,
                address,
            ),
            health: crate::health::Health::default(),
            thresholds: self.thresholds,
            started: self.started,
        })
    }

    fn servers(&self) -> Result<Vec<Server>, Error> {
        let parse = |written: &String| {
            Server::parse(written).ok_or_else(|| Error::Server {
                pool: self.settings.name.clone(),
                server: written.clone(),
            })
        };
        self.settings.servers.iter().map(parse).collect()
    }

    /// The pool can be handed on to a configuration in which it looks like this.
    pub(crate) fn is_same(&self, settings: &model::Pool) -> bool {
        let hash = |ca: Option<&Authorities>| ca.map(|ca| ca.hash);
        *self.settings == *settings
            && Authorities::read(settings)
                .is_ok_and(|ca| hash(ca.as_ref()) == hash(self.authorities.as_ref()))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for task in self.tasks.take().into_iter().flatten() {
            task.abort();
        }
    }
}

fn choose<'a>(
    endpoints: &'a [Arc<Endpoint>],
    turn: usize,
    tried: &[SocketAddr],
) -> Option<&'a Arc<Endpoint>> {
    if let [only] = endpoints {
        return Some(only);
    }
    let start = turn.checked_rem(endpoints.len())?;
    let (before, from) = endpoints.split_at_checked(start)?;
    let in_turn = || from.iter().chain(before);
    let fresh = |endpoint: &&Arc<Endpoint>| !tried.contains(&endpoint.address);
    in_turn()
        .find(|endpoint| fresh(endpoint) && endpoint.usable())
        .or_else(|| in_turn().find(fresh))
        .or_else(|| in_turn().next())
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
