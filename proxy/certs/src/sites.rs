//! Which site's clients are asked for certificates: by the name they ask for, as requests find their site by host.

use crate::client_auth::ClientAuth;
use crate::error::{CertProblem, Times};
use aegis_settings::resolved::Site;
use std::collections::HashMap;
use std::sync::Arc;

/// The rules of all sites, by name. Sites that ask nobody are in it too: theirs may be a name below another's wildcard.
#[derive(Debug, Default)]
pub(crate) struct SiteAuths {
    exact: HashMap<Box<str>, usize>,
    /// `*.example.com` is kept as `example.com`.
    wildcard: HashMap<Box<str>, usize>,
    any: Option<usize>,
    /// By the sites' places; none asks nobody.
    auths: Vec<Option<Arc<ClientAuth>>>,
}

impl SiteAuths {
    /// Reads what the sites name; `None` if no site asks anybody.
    pub(crate) fn read(
        sites: &[Arc<Site>],
        times: Times<'_>,
        problems: &mut Vec<CertProblem>,
    ) -> Option<Self> {
        if sites.iter().all(|site| site.tls.client_auth.is_none()) {
            return None;
        }
        let mut found = Self::default();
        for (place, site) in sites.iter().enumerate() {
            for pattern in &site.hosts {
                if pattern == "*" {
                    found.any.get_or_insert(place);
                } else if let Some(rest) = pattern.strip_prefix("*.") {
                    found.wildcard.entry(rest.into()).or_insert(place);
                } else {
                    found.exact.entry(pattern.as_str().into()).or_insert(place);
                }
            }
            let written = site.tls.client_auth.as_ref();
            let key = |name: &str| format!("sites[{}].client_auth.{name}", site.index);
            let auth = written.and_then(|written| match ClientAuth::read(&site.name, written) {
                Ok((auth, late)) => {
                    let known = times.knows_auth(&auth);
                    let late = late.into_iter();
                    problems.extend(
                        late.map(|(name, what)| CertProblem::of_time(key(name), what, known)),
                    );
                    Some(Arc::new(auth))
                }
                Err((name, what)) => {
                    problems.push(CertProblem::new(key(name), what));
                    None
                }
            });
            found.auths.push(auth);
        }
        Some(found)
    }

    /// The rules for who asks for this name, as the client wrote it.
    pub(crate) fn find(&self, server_name: Option<&str>) -> Option<&Arc<ClientAuth>> {
        let name =
            server_name.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let place = name.and_then(|name| self.place(&name)).or(self.any)?;
        self.auths.get(place)?.as_ref()
    }

    fn place(&self, name: &str) -> Option<usize> {
        if let Some(&place) = self.exact.get(name) {
            return Some(place);
        }
        let (label, rest) = name.split_once('.')?;
        self.wildcard
            .get(rest)
            .copied()
            .filter(|_| !label.is_empty())
    }

    /// Each with its site's place.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &Arc<ClientAuth>)> {
        let places = self.auths.iter().enumerate();
        places.filter_map(|(place, auth)| Some((place, auth.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CertError;
    use crate::testing::{certificate, ec_key};
    use aegis_settings::model::{self, ClientAuthMode};
    use aegis_settings::resolved::SiteTls;
    use std::path::Path;
    use tempfile::TempDir;

    fn site(index: usize, hosts: &[&str], ca: Option<&Path>) -> Arc<Site> {
        let auth = |ca: &Path| model::ClientAuth {
            mode: ClientAuthMode::Required,
            ca: ca.to_owned(),
            crl: None,
            forward: Vec::new(),
        };
        Arc::new(Site {
            index,
            name: hosts[0].into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            tls: SiteTls {
                client_auth: ca.map(auth),
                ..SiteTls::default()
            },
            connections_max: None,
            routes: Vec::new(),
        })
    }

    fn authority(folder: &Path, days: (i64, i64)) -> std::path::PathBuf {
        let path = folder.join("ca.pem");
        let key = ec_key();
        std::fs::write(
            &path,
            certificate(Some("CA"), &[], days, &key).to_pem().unwrap(),
        )
        .unwrap();
        path
    }

    #[test]
    fn a_name_finds_its_sites_rules_as_a_host_finds_its_site() {
        let folder = TempDir::new().unwrap();
        let ca = authority(folder.path(), (-1, 9));
        let mut problems = Vec::new();
        let sites = [
            site(0, &["*.corp.example"], Some(&ca)),
            site(1, &["open.corp.example"], None),
            site(2, &["*"], Some(&ca)),
        ];
        let auths = SiteAuths::read(&sites, Times::Refuse, &mut problems).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let ids: Vec<_> = auths
            .all()
            .map(|(place, auth)| (place, *auth.id()))
            .collect();
        assert_eq!([ids[0].0, ids[1].0], [0, 2]);
        assert_ne!(
            ids[0].1, ids[1].1,
            "the same authority at another site is another thing"
        );
        let place = |name: Option<&str>| {
            let found = auths.find(name)?;
            ids.iter()
                .find(|(_, id)| id == found.id())
                .map(|(place, _)| *place)
        };
        for (name, expected) in [
            (Some("a.corp.example"), Some(0)),
            (Some("A.Corp.Example."), Some(0)),
            (Some("open.corp.example"), None),
            (Some("a.b.corp.example"), Some(2)),
            (Some("elsewhere.example"), Some(2)),
            (None, Some(2)),
        ] {
            assert_eq!(place(name), expected, "{name:?}");
        }
        assert!(SiteAuths::read(&sites[1..2], Times::Refuse, &mut problems).is_none());
    }

    #[test]
    fn an_authority_that_has_ended_is_believed_on_and_not_newly_taken() {
        let folder = TempDir::new().unwrap();
        let sites = [site(
            3,
            &["a.example"],
            Some(&authority(folder.path(), (-9, -1))),
        )];
        for (times, served) in [(Times::Refuse, false), (Times::Serve, true)] {
            let mut problems = Vec::new();
            SiteAuths::read(&sites, times, &mut problems);
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].key, "sites[3].client_auth.ca");
            assert!(matches!(problems[0].what, CertError::Expired { .. }));
            assert_eq!(problems[0].is_served_out_of_time(), served);
        }
    }
}
