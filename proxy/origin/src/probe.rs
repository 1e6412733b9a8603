//! Active health checks: `GET` on a new connection to every address of a pool; 2xx and 3xx are healthy.

use crate::{Endpoint, Pool};
use aegis_settings::model;
use pingora_core::connectors::http::v1::Connector;
use pingora_http::RequestHeader;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::task::JoinSet;

/// Health checks of one pool at the same time.
pub const PROBES_MAX: usize = 16;

/// Makes the connections of probes; built at the first one, because it reads the system's authorities.
#[derive(Default)]
pub(crate) struct Prober(OnceLock<Connector>);

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prober")
    }
}

impl Prober {
    /// One probe, within `check.timeout`.
    async fn probe(&self, endpoint: &Endpoint, check: &model::Health) -> bool {
        let attempt = async {
            let (mut session, _) = self
                .0
                .get_or_init(|| Connector::new(None))
                .get_http_session(&endpoint.peer)
                .await?;
            let mut request = RequestHeader::build("GET", check.path.as_bytes(), Some(4))?;
            request.insert_header("Host", check.host.as_deref().unwrap_or(&endpoint.server))?;
            request.insert_header("User-Agent", "aegis-health")?;
            request.insert_header("Connection", "close")?;
            session.write_request_header(Box::new(request)).await?;
            session.read_response().await?;
            let status = session.get_status();
            session.shutdown().await;
            Ok::<_, Box<pingora_error::Error>>(status)
        };
        matches!(
            tokio::time::timeout(check.timeout, attempt).await,
            Ok(Ok(Some(status))) if status.is_success() || status.is_redirection()
        )
    }
}

/// Checks the servers of `pool` until it is dropped.
pub(crate) async fn run(pool: Weak<Pool>, check: model::Health, prober: Arc<Prober>) {
    let check = Arc::new(check);
    loop {
        let Some(endpoints) = pool.upgrade().map(|pool| pool.endpoints()) else {
            return;
        };
        let mut probes = JoinSet::new();
        for endpoint in endpoints.iter().map(Arc::clone) {
            if probes.len() >= PROBES_MAX {
                let _finished = probes.join_next().await;
            }
            let (check, prober) = (Arc::clone(&check), Arc::clone(&prober));
            probes.spawn(async move {
                let ok = prober.probe(&endpoint, &check).await;
                endpoint.record(ok, "health checks fail");
            });
        }
        // Ended with this task, should it be aborted.
        while probes.join_next().await.is_some() {}
        tokio::time::sleep(jittered(check.interval)).await;
    }
}

/// Between 90 and 110 % of `interval`, so that nodes do not probe in step.
fn jittered(interval: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let percent = 90 + RandomState::new().hash_one(()) % 21;
    interval.mul_f64(percent as f64 / 100.0)
}
