//! What one key alone cannot tell: names that must exist, addresses that overlap, routes nobody reaches.
//!
//! A check says nothing about a key that has an error already.

mod layers;
mod listeners;
mod names;
mod node;
mod routes;
mod verdicts;

use crate::context::Checker;
use crate::model::Settings;
use crate::resolved::Site;
use std::sync::Arc;

/// Runs every check.
pub(crate) fn run(settings: &Settings, sites: &[Arc<Site>], checker: &mut Checker<'_, '_>) {
    node::check(settings, checker);
    verdicts::check(settings, checker);
    listeners::check(settings, checker);
    names::check(settings, checker);
    routes::check(settings, checker);
    layers::check(settings, sites, checker);
}
