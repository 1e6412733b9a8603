//! All listeners together: bound, opened, closed.

use crate::accept::{accept_loop, closed};
use crate::addresses::{Addresses, OfAddress};
use crate::bind::{BindError, Share, open_files};
use crate::guard::Limits;
use crate::listeners::{Listeners, Start};
use crate::pace::Pace;
use crate::refusal::Refusal;
use crate::seats::Seats;
use aegis_certs::Certificates;
use aegis_identity::Refuse;
use aegis_settings::model::{Listener, Settings};
use aegis_telemetry::events::LimitHit;
use pingora_core::apps::ServerApp;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

/// The settings' default of [`DoorConfig::connections_max`]: nobody chose it.
const CONNECTIONS_DEFAULT: usize = 20_000;

/// Bounds of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorConfig {
    /// Whole time of a ClientHello, from the accept.
    pub hello_timeout: Duration,
    /// Whole time of a TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest time without a request: before the first byte, for HTTP/2's whole preface, and between requests.
    pub idle_timeout: Duration,
    /// Whole time of a request's head, from its first bytes.
    pub head_timeout: Duration,
    /// Whole time of a request's body.
    pub body_timeout: Duration,
    /// How long the client may be waited for while it sends a body; bytes at the rate give it back.
    pub read_timeout: Duration,
    /// Bytes a second a client has to send; 0: however few.
    pub receive_rate_min: u64,
    /// How long the client may be waited for while it takes an answer; bytes at the rate give it back.
    pub write_timeout: Duration,
    /// Bytes a second a client has to take; 0: however few.
    pub send_rate_min: u64,
    /// After this a connection ends with the next answer.
    pub connection_age_max: Duration,
    /// Open connections of all listeners.
    pub connections_max: usize,
    /// Open connections of an IPv4 address, or an IPv6 /64.
    pub connections_per_address: usize,
    /// Time for connections to end after the door closes.
    pub grace: Duration,
}

impl DoorConfig {
    /// `node.client` and `node.shutdown`.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        let client = &settings.node.client;
        Self {
            hello_timeout: client.hello_timeout,
            handshake_timeout: client.handshake_timeout,
            idle_timeout: client.idle_timeout,
            // At the idle time Pingora closes the connection without a word.
            head_timeout: client.read_timeout.min(client.idle_timeout * 9 / 10),
            body_timeout: client.body_timeout,
            read_timeout: client.read_timeout,
            receive_rate_min: client.receive_rate_min,
            write_timeout: client.write_timeout,
            send_rate_min: client.send_rate_min,
            connection_age_max: client.connection_age_max,
            connections_max: client.connections_max,
            connections_per_address: client.connections_per_address,
            grace: settings.node.shutdown.grace,
        }
    }
}

impl DoorConfig {
    fn limits(&self) -> Limits {
        Limits {
            head_timeout: self.head_timeout,
            body_timeout: self.body_timeout,
            receive: Pace {
                longest: self.read_timeout,
                rate: self.receive_rate_min,
            },
            send: Pace {
                longest: self.write_timeout,
                rate: self.send_rate_min,
            },
        }
    }

    /// With no more connections than the files the system lets us open. Who chose the number is warned; to others the
    /// start says it ([`Bound::connections_max`]).
    fn fitted(&self, files: Option<u64>) -> Self {
        let mut fitted = self.clone();
        let Some(files) = files else {
            return fitted;
        };
        fitted.connections_max = Share::of(files).clients.min(self.connections_max);
        let max = fitted.connections_max;
        if max == self.connections_max {
            return fitted;
        }
        if self.connections_max == CONNECTIONS_DEFAULT {
            tracing::info!(
                open_files = files,
                max,
                "open connections are bounded by the files that may be open"
            );
        } else {
            tracing::warn!(
                open_files = files,
                max,
                "too few files may be open for node.client.connections_max = {}; raise the hard limit (LimitNOFILE=, ulimit -Hn) or lower the key",
                self.connections_max
            );
        }
        fitted
    }
}

/// How a stop went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections open at its begin that ended by themselves.
    pub finished: usize,
    /// Connections cut because the grace was over.
    pub cut: usize,
}

impl Drained {
    fn add(&mut self, ended: Result<Self, JoinError>) {
        match ended {
            Ok(drained) => {
                self.finished += drained.finished;
                self.cut += drained.cut;
            }
            Err(error) => tracing::error!(%error, "an accept loop ended; please report it"),
        }
    }
}

/// What opens listeners.
#[derive(Debug)]
pub struct Door {
    config: DoorConfig,
    certificates: Arc<Certificates>,
}

/// Sockets that are bound; clients are let in by [`Bound::run`].
pub struct Bound {
    config: DoorConfig,
    origins_max: usize,
    listeners: Listeners,
}

/// What all connections share.
pub(crate) struct Shared<A> {
    pub(crate) app: Arc<A>,
    pub(crate) config: DoorConfig,
    pub(crate) limits: Arc<Limits>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) addresses: Arc<Addresses>,
    connections: AtomicU64,
}

impl<A> Shared<A> {
    /// One more connection of a client's address.
    pub(crate) fn place_of(&self, client: IpAddr) -> Result<OfAddress, Refusal> {
        self.addresses.take(client).ok_or_else(|| {
            LimitHit {
                what: "node.client.connections_per_address",
            }
            .emit();
            Refusal::AddressCap
        })
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }
}

impl Door {
    /// A door that shows `certificates` on TLS listeners.
    #[must_use]
    pub const fn new(config: DoorConfig, certificates: Arc<Certificates>) -> Self {
        Self {
            config,
            certificates,
        }
    }

    /// Binds all listeners, or none. Needs no runtime.
    ///
    /// # Errors
    /// The first address that cannot be had, why, and what to do.
    pub fn bind(&self, listeners: &[Listener]) -> Result<Bound, BindError> {
        let files = open_files();
        let config = self.config.fitted(files);
        let bound = Listeners::new(Arc::clone(&self.certificates));
        bound.apply(bound.plan(listeners)?, config.grace);
        Ok(Bound {
            origins_max: files.map_or(usize::MAX, |files| Share::of(files).origins),
            config,
            listeners: bound,
        })
    }
}

impl Bound {
    /// The addresses in order of the listeners, with the port that the system chose where 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// What changes the set of listeners, before and while it runs.
    #[must_use]
    pub fn listeners(&self) -> Listeners {
        self.listeners.clone()
    }

    /// Connections that may be open: what the settings say, or fewer if the system allows too few open files.
    #[must_use]
    pub const fn connections_max(&self) -> usize {
        self.config.connections_max
    }

    /// Connections to origins that may be open, so that clients cannot take the files of everything else by them.
    #[must_use]
    pub const fn origins_max(&self) -> usize {
        self.origins_max
    }

    /// Lets clients in and hands their streams to `app`, until `stop` turns true or its sender is gone. Then nobody is
    /// let in any more, `app` is told (`cleanup`), and connections have the grace to end.
    ///
    /// Dropping the future closes all connections at once.
    ///
    /// # Errors
    /// If the runtime does not take the sockets.
    pub async fn run<A>(self, app: Arc<A>, stop: watch::Receiver<bool>) -> io::Result<Drained>
    where
        A: ServerApp + Refuse + 'static,
    {
        let mut stop = stop;
        let shared = Arc::new(Shared {
            app: Arc::clone(&app),
            limits: Arc::new(self.config.limits()),
            seats: Seats::new(self.config.connections_max),
            addresses: Addresses::new(self.config.connections_per_address),
            config: self.config,
            connections: AtomicU64::new(1),
        });
        let mut all = Drained::default();
        let mut loops = JoinSet::new();
        let spawn = |Start { socket, side }: Start, loops: &mut JoinSet<Drained>| {
            let socket = tokio::net::TcpListener::from_std(socket)?;
            loops.spawn(accept_loop(socket, side, Arc::clone(&shared)));
            io::Result::Ok(())
        };
        for start in self.listeners.take_starts() {
            spawn(start, &mut loops)?;
        }
        loop {
            tokio::select! {
                biased;
                () = closed(&mut stop) => break,
                () = self.listeners.started() => {
                    for start in self.listeners.take_starts() {
                        if let Err(error) = spawn(start, &mut loops) {
                            tracing::error!(%error, "a new listener cannot be served");
                        }
                    }
                }
                Some(ended) = loops.join_next(), if !loops.is_empty() => all.add(ended),
            }
        }
        self.listeners.close();
        // Pingora's HTTP app closes connections that wait for a request, and each of the others after the one it serves.
        app.cleanup().await;
        while let Some(ended) = loops.join_next().await {
            all.add(ended);
        }
        Ok(all)
    }
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.listeners.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_connections_is_that_of_the_settings() {
        let flags = aegis_settings::Flags {
            origins: vec!["http://127.0.0.1:1".into()],
            ..Default::default()
        };
        let validated = aegis_settings::from_flags(&flags).unwrap();
        let config = DoorConfig::from_settings(&validated.settings);
        assert_eq!(config.connections_max, CONNECTIONS_DEFAULT);
    }
}
