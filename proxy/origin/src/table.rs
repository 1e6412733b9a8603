//! Host → site, path and method → route.
//!
//! Hosts: exact name, then `*.rest` for one label, then `*`. Routes: in order of the file; the last one of a site is its
//! own and matches every path and method.

use crate::{Error, Pool, PoolSet, host, path};
use aegis_settings::resolved::{Action, Route, Site};
use std::collections::HashMap;
use std::sync::Arc;

/// All sites of one configuration.
#[derive(Debug, Default)]
pub struct Table {
    sites: Vec<SiteEntry>,
    exact: HashMap<Box<str>, usize>,
    /// `*.example.com` is kept as `example.com`.
    wildcard: HashMap<Box<str>, usize>,
    any: Option<usize>,
}

/// One site and its routes.
#[derive(Debug)]
pub struct SiteEntry {
    /// The site as configured.
    pub site: Arc<Site>,
    /// Its routes in order; never empty.
    pub routes: Vec<RouteEntry>,
}

/// One route with its pool.
#[derive(Debug)]
pub struct RouteEntry {
    /// Place in [`SiteEntry::routes`].
    pub index: usize,
    /// The route as configured.
    pub route: Arc<Route>,
    /// The pool, if the route proxies.
    pub pool: Option<Arc<Pool>>,
    path: PathMatch,
}

#[derive(Debug)]
enum PathMatch {
    Exact(Box<str>),
    Prefix(Box<str>),
}

impl Table {
    /// Builds the table of `sites`, in order of the file, over the pools of the same configuration.
    ///
    /// # Errors
    /// [`Error::NoSuchPool`] when a route names a pool that `pools` lacks.
    pub fn build(sites: &[Arc<Site>], pools: &PoolSet) -> Result<Self, Error> {
        let mut table = Self::default();
        for site in sites {
            table.add(site, pools)?;
        }
        Ok(table)
    }

    fn add(&mut self, site: &Arc<Site>, pools: &PoolSet) -> Result<(), Error> {
        let place = self.sites.len();
        for pattern in &site.hosts {
            if pattern == "*" {
                self.any.get_or_insert(place);
            } else if let Some(rest) = pattern.strip_prefix("*.") {
                self.wildcard.entry(rest.into()).or_insert(place);
            } else {
                self.exact.entry(pattern.as_str().into()).or_insert(place);
            }
        }
        let routes = site
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| RouteEntry::build(index, route, pools));
        self.sites.push(SiteEntry {
            site: Arc::clone(site),
            routes: routes.collect::<Result<_, _>>()?,
        });
        Ok(())
    }

    /// The site that answers for a `Host` value as received.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&SiteEntry> {
        let place = match host::normalize(host) {
            Some(name) => self.place(&name),
            None => None,
        };
        self.sites.get(place?)
    }

    /// The site that answers when a request names no host (HTTP/1.0): the one for `*`.
    #[must_use]
    pub fn find_without_host(&self) -> Option<&SiteEntry> {
        self.sites.get(self.any?)
    }

    /// Sites in order of the file.
    #[must_use]
    pub fn sites(&self) -> &[SiteEntry] {
        &self.sites
    }

    fn place(&self, name: &str) -> Option<usize> {
        if let Some(&place) = self.exact.get(name) {
            return Some(place);
        }
        if let Some((label, rest)) = name.split_once('.')
            && !label.is_empty()
            && let Some(&place) = self.wildcard.get(rest)
        {
            return Some(place);
        }
        self.any
    }
}

impl SiteEntry {
    /// The first route for this path (without query) and method.
    ///
    /// `None` when the path can be read in ways (encoded slashes, dot segments) that lead to different routes: then
    /// nobody can say which rules hold, and the request is refused.
    #[must_use]
    pub fn route(&self, path: &str, method: &str) -> Option<&RouteEntry> {
        let [only] = self.routes.as_slice() else {
            let route = self.first(path, method)?;
            let same = |reading: &str| {
                let other = self.first(reading, method);
                other.is_some_and(|other| other.index == route.index)
            };
            return path::all_readings(path, same).then_some(route);
        };
        Some(only)
    }

    fn first(&self, path: &str, method: &str) -> Option<&RouteEntry> {
        self.routes
            .iter()
            .find(|entry| entry.matches(path, method))
            .or_else(|| self.routes.last())
    }
}

impl RouteEntry {
    fn build(index: usize, route: &Arc<Route>, pools: &PoolSet) -> Result<Self, Error> {
        let pool = match &route.action {
            Action::Proxy { pool } => Some(pools.get(pool).ok_or_else(|| Error::NoSuchPool {
                route: route.key.clone(),
                pool: pool.clone(),
            })?),
            Action::Redirect { .. } | Action::Respond { .. } => None,
        };
        let path = match route.path.strip_suffix('*') {
            Some(prefix) => PathMatch::Prefix(prefix.into()),
            None => PathMatch::Exact(route.path.as_str().into()),
        };
        Ok(Self {
            index,
            route: Arc::clone(route),
            pool,
            path,
        })
    }

    fn matches(&self, path: &str, method: &str) -> bool {
        let path_matches = match &self.path {
            PathMatch::Exact(exact) => path == &**exact,
            PathMatch::Prefix(prefix) => path.starts_with(&**prefix),
        };
        path_matches
            && (self.route.methods.is_empty() || self.route.methods.iter().any(|m| m == method))
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
