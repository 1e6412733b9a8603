//! What one key alone cannot tell: names that must exist, addresses that overlap, routes nobody reaches.
//!
//! A check says nothing about a key that has an error already.

mod layers;
mod limits;
mod listeners;
mod names;
mod node;
mod routes;
mod site_tls;
mod verdicts;

use crate::context::Checker;
use crate::model::{Settings, Site as WrittenSite, SiteRoute};
use crate::overlay::Layer;
use crate::resolved::Site;
use std::sync::Arc;

/// Runs every check.
pub(crate) fn run(settings: &Settings, sites: &[Arc<Site>], checker: &mut Checker<'_, '_>) {
    node::check(settings, checker);
    verdicts::check(settings, checker);
    listeners::check(settings, checker);
    site_tls::check(settings, checker);
    names::check(settings, checker);
    routes::check(settings, checker);
    layers::check(settings, sites, checker);
    limits::check(settings, sites, checker);
}

/// What every site and every route sets of one section, with its key.
fn layers<'a, L: Layer + 'a>(
    settings: &'a Settings,
    of_site: fn(&'a WrittenSite) -> Option<&'a L>,
    of_route: fn(&'a SiteRoute) -> Option<&'a L>,
) -> impl Iterator<Item = (String, Option<&'a L>)> {
    let sites = settings.sites.iter().enumerate();
    sites.flat_map(move |(index, site)| {
        let key = format!("sites[{index}]");
        let routes = site.routes.iter().enumerate();
        let own = (format!("{key}.{}", L::NAME), of_site(site));
        std::iter::once(own).chain(
            routes.map(move |(at, route)| {
                (format!("{key}.routes[{at}].{}", L::NAME), of_route(route))
            }),
        )
    })
}
