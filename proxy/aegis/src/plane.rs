//! The data plane as control sees it: checked settings become certificates, pools and a snapshot, which are then swapped
//! in together.

use crate::bans::Bans;
use crate::explain;
use crate::modules;
use crate::sandbox::{self, Sandbox};
use aegis_certs::{
    CertProblem, CertStore, Certificates, Times, rotate_tickets_every, turn_tickets,
};
use aegis_control::{Copies, DataPlane, Progress, Questions, Rejection, Tokens};
use aegis_front::{Change, Listeners};
use aegis_identity::Hops;
use aegis_origin::PoolSet;
use aegis_pipeline::{Limits, LimitsUse, Live, NodeParts, Snapshot};
use aegis_settings::model::Level;
use aegis_settings::resolved::Validated;
use aegis_telemetry::metrics::CERTIFICATES_OUT_OF_TIME;
use aegis_telemetry::{events, log, mask, metrics};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// Longest wait for the first look-up of the origins' names.
const NAMES: Duration = Duration::from_millis(400);

/// The part of a node that serves.
pub(crate) struct Plane {
    workers: Handle,
    live: Arc<Live>,
    certificates: Arc<Certificates>,
    listeners: Listeners,
    node: NodeParts,
    state_dir: PathBuf,
    sandbox: Sandbox,
    bans: Arc<Bans>,
    current: Mutex<Current>,
}

/// The settings in force, or those the node starts with.
struct Current {
    validated: Arc<Validated>,
    snapshot: Option<Arc<Snapshot>>,
    running: Arc<sandbox::Prepared>,
    tokens: Arc<Tokens>,
}

/// Everything compiled from one settings file.
pub(crate) struct Prepared {
    validated: Arc<Validated>,
    store: CertStore,
    /// Of certificates that are served though their time is over.
    out_of_time: i64,
    snapshot: Arc<Snapshot>,
    running: sandbox::Prepared,
    tokens: Tokens,
    /// Addresses are taken at the last moment.
    listeners: Option<Change>,
}

impl Plane {
    pub(crate) fn new(
        workers: Handle,
        live: Arc<Live>,
        certificates: Arc<Certificates>,
        listeners: Listeners,
        node: NodeParts,
        bans: Arc<Bans>,
        boot: &Arc<Validated>,
    ) -> anyhow::Result<Self> {
        let tokens = load_tokens(boot)
            .map_err(|refused| anyhow::anyhow!(refused.problems.join("\n       ")))?;
        let current = Current {
            validated: Arc::clone(boot),
            snapshot: None,
            running: Arc::default(),
            tokens: Arc::new(tokens),
        };
        let state_dir = boot.settings.node.state_dir.clone();
        let sandbox = Sandbox::new(workers.clone(), boot.settings.node.clone(), &live);
        Ok(Self {
            workers,
            live,
            certificates,
            listeners,
            node,
            state_dir,
            sandbox,
            bans,
            current: Mutex::new(current),
        })
    }

    /// What is being made ready, for people.
    pub(crate) fn preparing(&self) -> Vec<String> {
        self.sandbox.preparing()
    }

    /// `node.shutdown.grace` in force.
    pub(crate) fn grace(&self) -> Duration {
        self.current.lock().validated.settings.node.shutdown.grace
    }

    /// Moves on what time alone moves: the metrics of what only counts inside, and the keys of session tickets.
    pub(crate) fn tick(&self) {
        self.node.limits.publish();
        turn_tickets();
    }

    /// Makes a new self-signed certificate when the one in force ends soon, and says again which others have ended.
    pub(crate) fn look_at_certificates(&self) {
        let validated = Arc::clone(&self.current.lock().validated);
        let is_due = self
            .certificates
            .current()
            .is_renewal_due(SystemTime::now());
        match CertStore::load(&validated, &self.state_dir, Times::Serve) {
            Ok((store, problems)) => {
                problems
                    .iter()
                    .filter(|problem| problem.is_served_out_of_time())
                    .for_each(report);
                CERTIFICATES_OUT_OF_TIME.set(out_of_time(&problems));
                if is_due {
                    self.certificates.swap(store);
                }
            }
            Err(problems) if is_due => problems.iter().for_each(report),
            // Files that are being changed: a reload will say it.
            Err(_) => {}
        }
    }

    /// Also says how many are served though their time is over.
    fn load_certificates(&self, validated: &Validated) -> Result<(CertStore, i64), Rejection> {
        let in_force = self.certificates.current();
        let times = if self.current.lock().snapshot.is_none() {
            Times::Serve
        } else {
            Times::ServeIfIn(&in_force)
        };
        match CertStore::load(validated, &self.state_dir, times) {
            Ok((store, warnings)) => {
                warnings.iter().for_each(report);
                Ok((store, out_of_time(&warnings)))
            }
            Err(problems) => {
                let problems = problems
                    .iter()
                    .map(|p| format!("{p}; {}", p.help()))
                    .collect();
                Err(Rejection { problems })
            }
        }
    }
}

fn load_tokens(validated: &Validated) -> Result<Tokens, Rejection> {
    Tokens::load(&validated.settings.node.admin).map_err(|problems| {
        let problems = problems
            .iter()
            .map(|p| format!("{p}; {}", p.help()))
            .collect();
        Rejection { problems }
    })
}

fn out_of_time(problems: &[CertProblem]) -> i64 {
    let served = problems
        .iter()
        .filter(|problem| problem.is_served_out_of_time());
    i64::try_from(served.count()).unwrap_or(i64::MAX)
}

fn report(problem: &CertProblem) {
    let text = format!("{}; {}", problem.what, problem.help());
    let (name, problem_text) = (&problem.key, &text);
    if problem.is_served_out_of_time() {
        events::CertificateOutOfTime {
            name,
            problem: problem_text,
        }
        .emit();
    } else {
        events::CertificateProblem {
            name,
            problem: problem_text,
        }
        .emit();
    }
}

impl DataPlane for Plane {
    type Prepared = Prepared;

    fn extra_files(&self, validated: &Validated) -> Vec<PathBuf> {
        if sandbox::wants_waf(validated) {
            modules::coraza_places()
        } else {
            Vec::new()
        }
    }

    fn needs_background(&self, validated: &Validated) -> bool {
        let running = Arc::clone(&self.current.lock().running);
        !self.sandbox.has_all(validated, &running)
    }

    fn prepare(
        &self,
        validated: &Arc<Validated>,
        copies: &Copies,
        progress: &Progress,
    ) -> Result<Prepared, Rejection> {
        let (store, out_of_time) = self.load_certificates(validated)?;
        let tokens = load_tokens(validated)?;
        let running = self
            .sandbox
            .prepare(validated, copies, progress, &self.live)?;
        let before = self.current.lock().snapshot.clone();
        let previous = before.as_ref().map(|snapshot| &snapshot.pools);
        let pools = PoolSet::build(&validated.pools, previous, &self.workers)
            .map_err(|error| Rejection::new(error.to_string()))?;
        progress.say("looking up the origins");
        self.workers.block_on(pools.settle(NAMES));
        let node = NodeParts {
            hops: Arc::new(Hops::of(&validated.settings.node.client)),
            ..self.node.clone()
        };
        let mut snapshot = Snapshot::build(
            &validated.id,
            node,
            &validated.sites,
            pools,
            &running.plugins,
        )
        .map_err(|error| Rejection::new(error.to_string()))?;
        for (site, rules) in store.client_auths() {
            snapshot.know_client_auth(site, *rules.id());
        }
        Ok(Prepared {
            validated: Arc::clone(validated),
            store,
            out_of_time,
            snapshot: Arc::new(snapshot),
            running,
            tokens,
            listeners: None,
        })
    }

    fn probe(&self, prepared: &mut Prepared) -> Result<(), Rejection> {
        self.sandbox.probe(&prepared.running.plugins)?;
        let planned = self.listeners.plan(&prepared.validated.settings.listeners);
        prepared.listeners = Some(planned.map_err(|error| Rejection::new(error.to_string()))?);
        Ok(())
    }

    fn swap(&self, prepared: Prepared) {
        let Prepared {
            validated,
            store,
            out_of_time,
            snapshot,
            running,
            tokens,
            listeners,
        } = prepared;
        let node = &validated.settings.node;
        log::set_level(level(node.log.level));
        mask::set(&node.log.mask);
        rotate_tickets_every(node.tls.ticket_rotation);
        self.certificates.swap(store);
        self.bans.apply(&validated, Some(&snapshot));
        CERTIFICATES_OUT_OF_TIME.set(out_of_time);
        self.live.ready(Arc::clone(&snapshot));
        // Last: who comes over a new listener finds what was written for it.
        if let Some(change) = listeners {
            self.listeners.apply(change, node.shutdown.grace);
        }
        *self.current.lock() = Current {
            validated,
            snapshot: Some(snapshot),
            running: Arc::new(running),
            tokens: Arc::new(tokens),
        };
    }
}

impl Questions for Plane {
    fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.current.lock().tokens)
    }

    fn status(&self) -> Value {
        let (validated, snapshot) = {
            let current = self.current.lock();
            (Arc::clone(&current.validated), current.snapshot.clone())
        };
        json!({
            "sites": validated.sites.len(),
            "listeners": self.listeners.addresses(),
            "requests": requests(),
            "connections": metrics::CONNECTIONS_OPEN.get(),
            "cache": cache(validated.settings.node.cache.memory),
            "waf": waf_verdicts(),
            "plugins": self.sandbox.standing(),
            "verdicts": {
                "entries": self.bans.desk.table().stats().entries,
                "requests_refused": metrics::REQUESTS_BANNED.get(),
                "connections_refused": metrics::total("aegis_connections_refused_total", &[("reason", "banned")]),
            },
            "limits": limits(&self.node.limits),
            "pools": snapshot.map(|snapshot| pools(&snapshot)),
            "certificates": self.certificates.current().keys().iter().map(|key| json!({
                "name": key.title(),
                "kind": key.kind().to_string(),
                "source": key.source(),
                "days_left": key.time_left(SystemTime::now()).as_secs() / 86_400,
            })).collect::<Vec<_>>(),
        })
    }

    fn explain(&self, url: &str, method: &str) -> Result<Value, String> {
        let current = self.current.lock();
        let snapshot = current
            .snapshot
            .as_ref()
            .ok_or("the node is starting; no settings are in force yet")?;
        explain::explain(&current.validated, &snapshot.table, url, method)
    }
}

fn requests() -> Value {
    let of = |labels: &[(&str, &str)]| metrics::total("aegis_requests_total", labels);
    json!({
        "total": of(&[]),
        "4xx": of(&[("class", "4xx")]),
        "5xx": of(&[("class", "5xx")]),
        "p50_seconds": metrics::request_seconds(0.5),
        "p99_seconds": metrics::request_seconds(0.99),
    })
}

fn cache(bytes_max: u64) -> Value {
    let of = |result| metrics::total("aegis_cache_requests_total", &[("result", result)]);
    json!({
        "requests": metrics::total("aegis_cache_requests_total", &[]),
        "hits": of("hit") + of("stale") + of("revalidated"),
        "objects": metrics::CACHE_OBJECTS.get(),
        "bytes": metrics::CACHE_BYTES.get(),
        "bytes_max": bytes_max,
    })
}

fn waf_verdicts() -> Value {
    let of = |verdict| metrics::total("aegis_waf_verdicts_total", &[("verdict", verdict)]);
    json!({
        "clean": of("clean"), "detect": of("detect"), "block": of("block"), "limit": of("limit"), "fault": of("fault"),
    })
}

fn limits(limits: &Limits) -> Value {
    let LimitsUse {
        entries,
        used,
        evicted,
    } = limits.look();
    json!({
        "entries": entries,
        "used": used,
        "evicted": evicted,
        "refused": metrics::total("aegis_limits_refused_total", &[]),
        "would_refuse": metrics::total("aegis_limits_would_refuse_total", &[]),
    })
}

fn pools(snapshot: &Snapshot) -> Value {
    let pool = |pool: &Arc<aegis_origin::Pool>| {
        let servers: Vec<_> = pool
            .view()
            .into_iter()
            .map(|server| json!({ "server": server.server, "address": server.address.to_string(), "up": server.up }))
            .collect();
        json!({ "name": pool.name(), "servers": servers })
    };
    snapshot.pools.iter().map(pool).collect()
}

/// The process log's word for the settings' one.
pub(crate) const fn level(level: Level) -> log::Level {
    match level {
        Level::Error => log::Level::Error,
        Level::Warn => log::Level::Warn,
        Level::Info => log::Level::Info,
        Level::Debug => log::Level::Debug,
    }
}
