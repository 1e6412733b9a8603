//! Sites and pools in a line each.

use aegis_origin::PoolSet;
use aegis_pipeline::{Limits, NodeParts, Plugins, Snapshot, SnapshotError};
use aegis_settings::model::{self, Inspect, OnError};
use aegis_settings::resolved::{
    Action, BodyMode, Cache, Compressed, Limits as RouteLimits, OverLimit, Route, Site, Waf,
    WafMode,
};
use aegis_telemetry::access::AccessLog;
use aegis_verdicts::{Clock, Desk};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

pub fn client() -> model::Client {
    model::Client {
        hello_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_secs(3_600),
        receive_rate_min: 1024,
        send_rate_min: 1024,
        connection_age_max: Duration::from_secs(3_600),
        connections_per_address: 2_000,
        handshake_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(75),
        connections_max: 20_000,
        h2_streams_max: 128,
        trusted_proxies: vec![],
        trust_everyone: false,
        forwarded_field: model::ForwardedField::XForwardedFor,
    }
}

pub fn pool(servers: &[SocketAddr]) -> model::Pool {
    model::Pool {
        name: String::new(),
        servers: servers.iter().map(ToString::to_string).collect(),
        tls: None,
        health: None,
        connect_timeout: Duration::from_secs(3),
        read_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        keepalive: Duration::from_secs(60),
        retries: 1,
    }
}

pub fn waf_off() -> Waf {
    Waf {
        mode: WafMode::Off,
        paranoia: 1,
        inbound_threshold: 5,
        outbound_threshold: 4,
        exclude_rules: vec![],
        exclude_targets: vec![],
        seclang_before: vec![],
        seclang: vec![],
        inspect_response: Inspect::Off,
        measure_every: 0,
        text_max: 131_072,
        held_max: 16 << 20,
        body_mode: BodyMode::Hold,
        over_limit: OverLimit::Reject,
        compressed: Compressed::Reject,
        decompress_ratio_max: 20,
        response_max: 524_288,
        on_error: OnError::Deny,
    }
}

/// A route to a pool.
pub fn to(pool: &str) -> Action {
    Action::Proxy {
        pool: pool.to_owned(),
    }
}

pub fn route(path: &str, action: Action) -> Route {
    Route {
        key: format!("route {path}"),
        path: path.to_owned(),
        methods: vec![],
        allowed: vec![],
        action,
        waf: waf_off(),
        cache: Cache {
            enabled: false,
            object_max: 8 << 20,
            ttl_default: Duration::ZERO,
            status_header: true,
        },
        limits: RouteLimits {
            headers: true,
            policies: BTreeMap::new(),
        },
        plugins: vec![],
        sources: BTreeMap::new(),
    }
}

/// A desk without verdicts.
pub fn desk() -> Arc<Desk> {
    let clock = Clock::new(std::time::Instant::now(), 1_800_000_000_000);
    Arc::new(Desk::new(1000, [7; 16], clock).expect("a desk"))
}

fn or(given: u64, default: u64) -> u64 {
    if given == 0 { default } else { given }
}

/// The sites of a node.
#[derive(Default)]
pub struct Sites {
    pub sites: Vec<Arc<Site>>,
    pub pools: BTreeMap<String, Arc<model::Pool>>,
    pub plugins: Plugins,
    pub access: Option<Arc<AccessLog>>,
    /// 0 = more than any test holds.
    pub bodies_held_max: u64,
    /// 0 = more than any test keeps on disk.
    pub bodies_spooled_max: u64,
    /// A desk of its own, if the test wants to see it.
    pub verdicts: Option<Arc<Desk>>,
    /// Where every client comes from, instead of this machine.
    pub peer: Option<IpAddr>,
}

impl Sites {
    /// One site for every host, proxied to one origin.
    pub fn one(origin: SocketAddr) -> Self {
        Self::default()
            .pool("web", pool(&[origin]))
            .site(&["*"], vec![route("/*", to("web"))])
    }

    pub fn pool(mut self, name: &str, pool: model::Pool) -> Self {
        self.pools.insert(
            name.to_owned(),
            Arc::new(model::Pool {
                name: name.to_owned(),
                ..pool
            }),
        );
        self
    }

    pub fn site(mut self, hosts: &[&str], routes: Vec<Route>) -> Self {
        self.sites.push(Arc::new(Site {
            index: self.sites.len(),
            name: hosts[0].to_owned(),
            hosts: hosts.iter().map(|&h| h.to_owned()).collect(),
            connections_max: None,
            tls: Default::default(),
            routes: routes.into_iter().map(Arc::new).collect(),
        }));
        self
    }

    pub fn snapshot(&self) -> Snapshot {
        self.try_snapshot().expect("good sites")
    }

    pub fn try_snapshot(&self) -> Result<Snapshot, SnapshotError> {
        let pools = PoolSet::build(&self.pools, None, &Handle::current()).expect("good pools");
        let node = NodeParts {
            origin_connections_max: usize::MAX,
            client: client(),
            hops: Arc::default(),
            tracer: None,
            access: self.access.clone(),
            bodies_held_max: or(self.bodies_held_max, 256 << 20),
            bodies_spooled_max: or(self.bodies_spooled_max, 1 << 30),
            spool_dir: std::env::temp_dir(),
            verdicts: self.verdicts.clone().unwrap_or_else(desk),
            limits: Limits::new(1024),
        };
        Snapshot::build("test", node, &self.sites, pools, &self.plugins)
    }
}
