//! What a site says about TLS needs a listener that speaks it.

use crate::context::Checker;
use crate::model::{Https, Settings, Site};
use crate::resolve::https_port;
use std::time::Duration;

/// What hstspreload.org asks for.
const PRELOAD_AGE_MIN: Duration = Duration::from_secs(365 * 86_400);

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_, '_>) {
    if checker.is_bad("listeners") {
        return;
    }
    let tls = settings.listeners.iter().any(|one| one.tls.is_some());
    let plain = settings.listeners.iter().any(|one| one.tls.is_none());
    let port = https_port(settings);
    for (index, site) in settings.sites.iter().enumerate() {
        let key = format!("sites[{index}]");
        redirect(site, &key, (tls, plain), port, checker);
        let hsts = format!("{key}.hsts");
        if site.hsts.is_some() && !tls && !checker.is_bad(&hsts) {
            checker.error(
                &hsts,
                " has no effect: no listener speaks TLS",
                "give a listener `tls: {}`, or remove it",
            );
        }
        preload(site, &hsts, checker);
        let auth = format!("{key}.client_auth");
        if site.client_auth.is_some() && !tls && !checker.is_bad(&auth) {
            let what = ": no listener speaks TLS, over which clients show their certificates";
            checker.error(&auth, what, "give a listener `tls: {}`, or remove it");
        }
        named(site, &key, checker);
        forward(site, &auth, checker);
    }
}

fn redirect(
    site: &Site,
    key: &str,
    (tls, plain): (bool, bool),
    port: Option<u16>,
    checker: &mut Checker<'_, '_>,
) {
    let key = format!("{key}.https");
    if site.https != Https::Redirect || checker.is_bad(&key) {
        return;
    }
    if !tls {
        checker.error(
            &key,
            ": no listener speaks TLS to redirect to",
            "give a listener `tls: {}`, or remove it",
        );
    } else if port.is_none() {
        let what = ": the system chooses the port of TLS, so there is none to redirect to";
        checker.error(
            &key,
            what,
            "give the listener with `tls:` a port of its own",
        );
    } else if !plain {
        checker.warn(
            &key,
            " has no effect: no listener speaks plain HTTP",
            "add one, such as `address: \"[::]:80\"`, or remove it",
        );
    }
}

fn preload(site: &Site, key: &str, checker: &mut Checker<'_, '_>) {
    let key = format!("{key}.preload");
    let Some(hsts) = &site.hsts else { return };
    let enough = hsts.include_subdomains && hsts.max_age >= PRELOAD_AGE_MIN;
    if hsts.preload && !enough && !checker.is_bad(&key) {
        let what = ": browsers take nobody in without `include_subdomains: true` and a `max_age` of at least 365d";
        checker.error(&key, what, "set both, or remove `preload`");
    }
}

/// A client that goes to an address sends no name in TLS (RFC 6066 §3), by which it could be asked.
fn named(site: &Site, key: &str, checker: &mut Checker<'_, '_>) {
    if site.client_auth.is_none() || site.hosts.iter().any(|host| host == "*") {
        return;
    }
    for (at, host) in site.hosts.iter().enumerate() {
        let key = format!("{key}.hosts[{at}]");
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        if address.is_ok() && !checker.is_bad(&key) {
            let what = format!(
                " {host}: clients name no address in TLS, so nobody is asked for the certificate that `client_auth` wants"
            );
            checker.error(&key, &what, "give the site a name, or `*` to ask everybody");
        }
    }
}

fn forward(site: &Site, key: &str, checker: &mut Checker<'_, '_>) {
    let fields = site
        .client_auth
        .iter()
        .flat_map(|auth| auth.forward.iter().enumerate().map(move |at| (auth, at)));
    for (auth, (at, field)) in fields {
        let key = format!("{key}.forward[{at}]");
        if auth.forward.iter().take(at).any(|before| before == field) && !checker.is_bad(&key) {
            checker.error(&key, &format!(" `{field}` stands here twice"), "remove one");
        }
    }
}
