//! Every key acts: for each key of the settings a row runs the real binary with two values and sees a difference,
//! on the wire, in a log, in a metric or in the process. A key without a row fails.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

/// Declares rows: the path of a key as the schema has it, and the test that probes it.
macro_rules! rows {
    ($($path:literal $name:ident $body:block)*) => {
        pub(crate) const ROWS: &[&str] = &[$($path),*];
        $(#[test] fn $name() $body)*
    };
}

mod cache;
mod limits;
mod listeners;
mod node;
mod plugins;
mod pools;
mod site_tls;
mod sites;
mod verdicts;
mod waf;

use std::collections::BTreeSet;

/// Where `waf:`, `cache:` and `limits:` may stand; nearer ones are laid over farther ones.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Profile,
    Site,
    Route,
}

pub(crate) const PLACES: [Place; 3] = [Place::Profile, Place::Site, Place::Route];

impl Place {
    /// Schema path of a key of `section` here.
    pub(crate) fn path(self, section: &str, key: &str) -> String {
        match self {
            Self::Profile => format!("profiles.{section}.*.{key}"),
            Self::Site => format!("sites[].{section}.{key}"),
            Self::Route => format!("sites[].routes[].{section}.{key}"),
        }
    }

    /// A site for `host` before `origin` with `values` in force by this place; `name` is the profile's.
    pub(crate) fn site(
        self,
        section: &str,
        values: &serde_json::Value,
        host: &str,
        origin: &str,
        name: &str,
    ) -> serde_json::Value {
        let mut site = serde_json::json!({ "hosts": [host], "origin": origin, "waf": "off" });
        match self {
            Self::Profile => site[section] = name.into(),
            Self::Site => site[section] = values.clone(),
            Self::Route => {
                let mut route = serde_json::json!({ "match": { "path": "/*" }, "origin": origin });
                route[section] = values.clone();
                // The site's `off` would be inherited.
                if section == "waf" && values["mode"].is_null() && values["profile"].is_null() {
                    route[section]["mode"] = "block".into();
                }
                site["routes"] = vec![route].into();
            }
        }
        site
    }
}

#[test]
fn every_key_has_a_row_and_every_row_a_key() {
    let keys: BTreeSet<String> = aegis_settings::keys().into_iter().map(|k| k.path).collect();
    let tables = [
        listeners::ROWS,
        node::ROWS,
        plugins::ROWS,
        pools::ROWS,
        site_tls::ROWS,
        sites::ROWS,
        verdicts::ROWS,
    ];
    let mut rows: BTreeSet<String> = tables.concat().into_iter().map(str::to_owned).collect();
    rows.extend(waf::rows());
    rows.extend(cache::rows());
    rows.extend(limits::rows());
    let without: Vec<_> = keys.difference(&rows).collect();
    let gone: Vec<_> = rows.difference(&keys).collect();
    assert!(
        without.is_empty(),
        "keys that nothing shows to act: {without:#?}"
    );
    assert!(
        gone.is_empty(),
        "rows for keys that do not exist: {gone:#?}"
    );
}
