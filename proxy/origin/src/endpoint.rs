//! One address of one origin server, with its health and its ready-made peer.

use crate::health::{Change, Health, Thresholds};
use aegis_telemetry::{events, metrics};
use pingora_core::upstreams::peer::HttpPeer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// One address a pool sends requests to.
#[derive(Debug)]
pub struct Endpoint {
    /// Name of its pool.
    pub pool: Arc<str>,
    /// The server as configured, `host:port`.
    pub server: Arc<str>,
    /// The address behind it.
    pub address: SocketAddr,
    /// `address` as text, for the access log.
    pub label: Box<str>,
    pub(crate) peer: HttpPeer,
    pub(crate) health: Health,
    pub(crate) thresholds: Thresholds,
    pub(crate) started: Instant,
}

impl Endpoint {
    /// Requests may go there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.health.is_up()
    }

    /// A request could not connect.
    pub fn connect_failed(&self) {
        self.record(false, "requests cannot connect");
    }

    /// A request has a connection. Costs one load unless something had gone wrong before.
    pub fn connected(&self) {
        if !self.thresholds.active && !self.health.is_clean() {
            self.record(true, "");
        }
    }

    /// Records a result and tells telemetry when the state changed.
    pub(crate) fn record(&self, ok: bool, reason: &str) {
        match self.health.record(ok, self.now_ms(), self.thresholds) {
            Change::None => {}
            Change::Up => events::OriginUp {
                pool: &self.pool,
                server: &self.label,
            }
            .emit(),
            Change::Down => events::OriginDown {
                pool: &self.pool,
                server: &self.label,
                reason,
            }
            .emit(),
        }
    }

    /// Shows the server in the metrics from its start, not only from its first change.
    pub(crate) fn show(&self) {
        metrics::ORIGIN_HEALTHY
            .with(&[&self.pool, &self.label])
            .set(i64::from(self.is_up()));
    }

    /// Takes it out of the metrics: its pool no longer has it.
    pub(crate) fn hide(&self) {
        metrics::ORIGIN_HEALTHY.forget(&[&self.pool, &self.label]);
    }

    pub(crate) fn usable(&self) -> bool {
        self.health.usable(|| self.now_ms(), self.thresholds)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
