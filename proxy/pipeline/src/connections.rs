//! The connections of a site.
//!
//! A connection is its site's from the server name of its handshake on, or without one from its first request on, and
//! stays that one's until it ends, whatever else is asked for on it. A site without a bound counts none.

use crate::ctx::Ctx;
use crate::fault::Fault;
use crate::snapshot::Snapshot;
use aegis_identity::{Connection, Places};
use aegis_telemetry::events::LimitHit;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

/// By the site's name, so that a change of the settings forgets no connection.
static SITES: LazyLock<Mutex<HashMap<Arc<str>, Weak<Places>>>> = LazyLock::new(Mutex::default);

/// A site's bound, and who counts against it.
#[derive(Debug)]
pub(crate) struct OfSite {
    places: Arc<Places>,
    max: usize,
}

impl OfSite {
    /// `max` connections for the site of this name.
    pub(crate) fn new(name: &Arc<str>, max: usize) -> Self {
        let mut sites = SITES.lock();
        let places = sites.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            sites.retain(|_, places| places.strong_count() > 0);
            let places = Arc::default();
            sites.insert(Arc::clone(name), Arc::downgrade(&places));
            places
        });
        Self { places, max }
    }

    /// Counts the connection, if it is not counted yet; false if there is no place for it.
    fn count(&self, connection: &Connection) -> bool {
        if connection.site.get().is_some() {
            return true;
        }
        let Some(place) = self.places.take(self.max) else {
            return false;
        };
        // Another request of the same connection may have been quicker; then this place is given back.
        drop(connection.site.set(place));
        true
    }
}

/// Whether a connection whose handshake named a server has a place.
pub(crate) fn admits(snapshot: Option<&Snapshot>, connection: &Connection) -> bool {
    let site = snapshot.zip(connection.sni());
    let site = site.and_then(|(snapshot, name)| snapshot.site_of(name));
    match site.and_then(|site| site.connections.as_ref()) {
        Some(connections) => connections.count(connection),
        None => true,
    }
}

/// Whether the connection of a request has a place.
pub(crate) fn of_request(ctx: &Ctx) -> Result<(), Fault> {
    let Some(routed) = ctx.routed() else {
        return Ok(());
    };
    let (Some(connections), Some(connection)) = (&routed.site_plan.connections, ctx.connection())
    else {
        return Ok(());
    };
    if connections.count(connection) {
        return Ok(());
    }
    LimitHit {
        what: "sites.connections_max",
    }
    .emit();
    Err(Fault::SiteFull)
}
