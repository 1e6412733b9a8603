//! What one configuration is while it serves: a value that never changes, held by each request from its start to its end.

use crate::answer::Fixed;
use crate::connections::OfSite;
use crate::gate::Gate;
use crate::inspect::plan::{Missing, Plugins, RouteInspection};
use crate::limits::Limits;
use crate::limits::plan::RouteLimits;
use crate::methods::Methods;
use crate::spans::Tracer;
use aegis_identity::Hops;
use aegis_limits::LimitError;
use aegis_origin::{PoolSet, RouteEntry, SiteEntry, Table};
use aegis_settings::{model, resolved};
use aegis_telemetry::access::AccessLog;
use aegis_telemetry::metrics::{self, PoolMetrics, SiteMetrics};
use aegis_verdicts::Desk;
use std::path::PathBuf;
use std::sync::Arc;

/// What a request needs before there are sites: while the node starts.
#[derive(Debug, Clone)]
pub struct NodeParts {
    /// `node.client`.
    pub client: model::Client,
    /// Whose word about a client is believed.
    pub hops: Arc<Hops>,
    /// Where spans go; `None` = nowhere.
    pub tracer: Option<Arc<Tracer>>,
    /// The access log; `None` = off.
    pub access: Option<Arc<AccessLog>>,
    /// `node.bodies_held_max`.
    pub bodies_held_max: u64,
    /// `node.bodies_spooled_max`.
    pub bodies_spooled_max: u64,
    /// Where bodies on disk are; made when it is needed.
    pub spool_dir: PathBuf,
    /// Connections to origins, in use and kept.
    pub origin_connections_max: usize,
    /// Bans and allows; the same for every snapshot.
    pub verdicts: Arc<Desk>,
    /// The counts of all limits; the same for every snapshot.
    pub limits: Arc<Limits>,
}

/// Why a snapshot cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A pool.
    #[error(transparent)]
    Origin(#[from] aegis_origin::Error),
    /// A plugin.
    #[error(transparent)]
    Plugin(#[from] Missing),
    /// A limit.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// One configuration, compiled.
#[derive(Debug)]
pub struct Snapshot {
    /// Id of the settings.
    pub id: String,
    /// What holds without sites too.
    pub node: NodeParts,
    /// Sites and routes.
    pub table: Table,
    /// Pools, also for the next snapshot to inherit from.
    pub pools: PoolSet,
    sites: Vec<SitePlan>,
}

/// What is worked out once for a site.
#[derive(Debug)]
pub(crate) struct SitePlan {
    pub(crate) metrics: Arc<SiteMetrics>,
    /// A bound on its clients' connections.
    pub(crate) connections: Option<OfSite>,
    pub(crate) gate: Gate,
    pub(crate) routes: Vec<RoutePlan>,
}

/// What is worked out once for a route.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    /// The answer of a route that asks nobody.
    pub(crate) fixed: Option<Fixed>,
    /// The methods it takes.
    pub(crate) methods: Methods,
    /// Counters of its pool.
    pub(crate) pool: Option<PoolMetrics>,
    /// Its limits, if it has any.
    pub(crate) limits: Option<Arc<RouteLimits>>,
    /// The plugins that look at its requests.
    pub(crate) inspection: RouteInspection,
}

/// The place of a route in a [`Snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) site: usize,
    pub(crate) route: usize,
}

/// A route as a request sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Routed<'a> {
    pub(crate) site: &'a SiteEntry,
    pub(crate) entry: &'a RouteEntry,
    pub(crate) site_plan: &'a SitePlan,
    pub(crate) plan: &'a RoutePlan,
}

impl Snapshot {
    /// Compiles the sites over the pools and plugins of the same settings.
    ///
    /// # Errors
    /// A route names a pool or a plugin that is not there.
    pub fn build(
        id: impl Into<String>,
        node: NodeParts,
        sites: &[Arc<resolved::Site>],
        pools: PoolSet,
        plugins: &Plugins,
    ) -> Result<Self, SnapshotError> {
        let table = Table::build(sites, &pools)?;
        let sites = table
            .sites()
            .iter()
            .map(|entry| SitePlan::build(entry, plugins, &node.limits))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            id: id.into(),
            node,
            table,
            pools,
            sites,
        })
    }

    /// What was worked out for the site that answers for `host`.
    pub(crate) fn site_of(&self, host: &str) -> Option<&SitePlan> {
        let site = self.table.find(host)?;
        self.sites.get(site.site.index)
    }

    /// Says by which rules handshakes ask clients of a site for certificates; a site that asks and is not told serves
    /// nobody.
    pub fn know_client_auth(&mut self, site: usize, rules: [u8; 32]) {
        if let Some(plan) = self.sites.get_mut(site) {
            plan.gate.know(rules);
        }
    }

    /// The route at `place`.
    pub(crate) fn routed(&self, place: Place) -> Option<Routed<'_>> {
        let site = self.table.sites().get(place.site)?;
        let site_plan = self.sites.get(place.site)?;
        let (entry, plan) = (
            site.routes.get(place.route)?,
            site_plan.routes.get(place.route)?,
        );
        Some(Routed {
            site,
            entry,
            site_plan,
            plan,
        })
    }
}

impl SitePlan {
    fn build(
        entry: &SiteEntry,
        plugins: &Plugins,
        limits: &Arc<Limits>,
    ) -> Result<Self, SnapshotError> {
        let name: Arc<str> = entry.site.name.as_str().into();
        // Most routes have the limits of their site.
        let mut made: Vec<(&resolved::Limits, Option<Arc<RouteLimits>>)> = Vec::new();
        let mut routes = Vec::with_capacity(entry.routes.len());
        for route in &entry.routes {
            let wanted = &route.route.limits;
            let limits = match made.iter().find(|(limits, _)| *limits == wanted) {
                Some((_, limits)) => limits.clone(),
                None => {
                    let built = RouteLimits::build(limits, &name, wanted)?;
                    made.push((wanted, built.clone()));
                    built
                }
            };
            routes.push(RoutePlan::build(&name, route, plugins, limits)?);
        }
        Ok(Self {
            metrics: metrics::site(&name),
            connections: entry
                .site
                .connections_max
                .map(|max| OfSite::new(&name, max)),
            gate: Gate::build(&entry.site.tls),
            routes,
        })
    }
}

impl RoutePlan {
    fn build(
        site: &Arc<str>,
        entry: &RouteEntry,
        plugins: &Plugins,
        limits: Option<Arc<RouteLimits>>,
    ) -> Result<Self, Missing> {
        Ok(Self {
            inspection: RouteInspection::build(site, &entry.route, plugins)?,
            limits,
            fixed: Fixed::build(&entry.route.action),
            methods: Methods::new(&entry.route.allowed),
            pool: entry.pool.as_ref().map(|pool| metrics::pool(pool.name())),
        })
    }
}
