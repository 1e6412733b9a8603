//! The certificates of one set of settings, indexed by the names they are for.

use crate::client_auth::ClientAuth;
use crate::error::{CertError, CertProblem, Severity, Times};
use crate::key::{CertifiedKey, date};
use crate::name::CertName;
use crate::self_signed;
use crate::sites::SiteAuths;
use aegis_settings::model::Certificate;
use aegis_settings::resolved::{Site, Validated};
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Less than this, or than a third of its life, is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// The certificates for one name, at most one of each kind of key, the preferred first.
#[derive(Debug, Clone)]
pub struct Offer {
    first: Arc<CertifiedKey>,
    others: Vec<Arc<CertifiedKey>>,
}

impl Offer {
    fn new(key: Arc<CertifiedKey>) -> Self {
        Self {
            first: key,
            others: Vec::new(),
        }
    }

    /// Whether it took the key: the first of its kind stays.
    fn add(&mut self, key: &Arc<CertifiedKey>) -> bool {
        if self.keys().any(|known| known.kind() == key.kind()) {
            return false;
        }
        self.others.push(Arc::clone(key));
        if key.kind() < self.first.kind()
            && let Some(last) = self.others.last_mut()
        {
            std::mem::swap(&mut self.first, last);
        }
        self.others.sort_by_key(|key| key.kind());
        true
    }

    /// All of them, the preferred first.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The preferred one.
    #[must_use]
    pub const fn preferred(&self) -> &Arc<CertifiedKey> {
        &self.first
    }

    /// The first that a client takes, judged by the bytes of its `signature_algorithms`, which are only asked for
    /// where there is a choice. A client that takes none gets the preferred one and says so itself.
    pub fn for_client<'a>(
        &self,
        signature_algorithms: impl FnOnce() -> Option<&'a [u8]>,
    ) -> &Arc<CertifiedKey> {
        if self.others.is_empty() {
            return &self.first;
        }
        let algorithms = signature_algorithms().unwrap_or_default();
        self.keys()
            .find(|key| key.kind().taken_by(algorithms))
            .unwrap_or(&self.first)
    }
}

/// All certificates of one set of settings.
#[derive(Debug, Default)]
pub struct CertStore {
    keys: Vec<Arc<CertifiedKey>>,
    hosts: HashMap<Box<str>, Offer>,
    wildcards: HashMap<Box<str>, Offer>,
    addresses: HashMap<IpAddr, Offer>,
    default: Option<Offer>,
    self_signed: bool,
    /// None if no site asks clients for certificates.
    auths: Option<SiteAuths>,
}

impl CertStore {
    /// Reads the certificates of the settings; if there are none and a listener wants TLS, the self-signed one kept in
    /// `state_dir`, which is made when there is none.
    ///
    /// # Errors
    /// Every problem at once, warnings too, if one of them keeps the settings from going live.
    pub fn load(
        validated: &Validated,
        state_dir: &Path,
        times: Times<'_>,
    ) -> Result<(Self, Vec<CertProblem>), Vec<CertProblem>> {
        let (store, mut problems) = Self::configured(validated, times)?;
        let wanted = validated.settings.listeners.iter().any(|l| l.tls.is_some());
        if !store.keys.is_empty() || !wanted {
            return Ok((store, problems));
        }
        let (mut made, warnings) = Self::self_signed(state_dir, &validated.sites)?;
        made.auths = store.auths;
        problems.extend(warnings);
        Ok((made, problems))
    }

    /// The self-signed certificate kept in `state_dir` for these sites.
    pub(crate) fn self_signed(
        state_dir: &Path,
        sites: &[Arc<Site>],
    ) -> Result<(Self, Vec<CertProblem>), Vec<CertProblem>> {
        match self_signed::load_or_make(state_dir, sites, SystemTime::now()) {
            Ok((key, warning)) => {
                let (mut store, _) = Self::index(vec![Arc::new(key)]);
                store.self_signed = true;
                let warnings = warning.map(|what| CertProblem::new("certificates", what));
                Ok((store, warnings.into_iter().collect()))
            }
            Err(what) => Err(vec![CertProblem::new("certificates", what)]),
        }
    }

    /// Reads the certificates that the settings name, those of authorities too, and writes nothing. Without any the store
    /// is empty.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn configured(
        validated: &Validated,
        times: Times<'_>,
    ) -> Result<(Self, Vec<CertProblem>), Vec<CertProblem>> {
        let mut of_clients = Vec::new();
        let auths = SiteAuths::read(&validated.sites, times, &mut of_clients);
        let certificates = &validated.settings.certificates;
        let (mut store, mut problems) =
            match Self::from_certificates(certificates, SystemTime::now(), times) {
                Ok(read) => read,
                Err(problems) => (Self::default(), problems),
            };
        store.auths = auths;
        problems.extend(of_clients);
        if problems.iter().any(|p| p.severity() == Severity::Error) {
            return Err(problems);
        }
        Ok((store, problems))
    }

    /// Reads these certificates, whose validity is judged at `now`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_certificates(
        certificates: &[Certificate],
        now: SystemTime,
        times: Times<'_>,
    ) -> Result<(Self, Vec<CertProblem>), Vec<CertProblem>> {
        let mut problems = Vec::new();
        let mut keys = Vec::new();
        for (index, certificate) in certificates.iter().enumerate() {
            let field = |what: &CertError| match what {
                CertError::NoVariable { .. }
                | CertError::BadKey { .. }
                | CertError::EncryptedKey { .. }
                | CertError::Mismatch { .. }
                | CertError::KeyReadable { .. } => format!("certificates[{index}].key"),
                _ => format!("certificates[{index}].cert"),
            };
            let read = CertifiedKey::read(certificate, |what| {
                problems.push(CertProblem::new(field(&what), what));
            });
            match read {
                Ok(key) => {
                    let warnings: Vec<_> = match key.check_validity(now) {
                        Ok(()) => warnings(&key, now)
                            .map(|what| CertProblem::new(field(&what), what))
                            .collect(),
                        Err(what) => vec![CertProblem::of_time(
                            field(&what),
                            what,
                            times.knows_key(&key),
                        )],
                    };
                    problems.extend(warnings);
                    keys.push(Arc::new(key));
                }
                Err(what) => problems.push(CertProblem::new(field(&what), what)),
            }
        }
        if problems.iter().any(|p| p.severity() == Severity::Error) {
            return Err(problems);
        }
        let (store, unused) = Self::index(keys);
        for index in unused {
            if let Some(key) = store.keys.get(index) {
                let what = CertError::NeverUsed {
                    path: key.source().into(),
                };
                problems.push(CertProblem::new(
                    format!("certificates[{index}].cert"),
                    what,
                ));
            }
        }
        Ok((store, problems))
    }

    /// Also returns the places of the certificates that no client will see.
    fn index(keys: Vec<Arc<CertifiedKey>>) -> (Self, Vec<usize>) {
        let mut store = Self::default();
        let mut unused = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let mut used = index == 0;
            for name in key.names() {
                used |= match name {
                    CertName::Host(host) => add(&mut store.hosts, host, key),
                    CertName::Wildcard(parent) => add(&mut store.wildcards, parent, key),
                    CertName::Address(address) => add(&mut store.addresses, address, key),
                };
            }
            if !used {
                unused.push(index);
            }
        }
        store.default = keys.first().map(|key| {
            let same_name = key.names().first().and_then(|name| match name {
                CertName::Host(host) => store.hosts.get(host),
                CertName::Wildcard(parent) => store.wildcards.get(parent),
                CertName::Address(address) => store.addresses.get(address),
            });
            same_name
                .cloned()
                .unwrap_or_else(|| Offer::new(Arc::clone(key)))
        });
        store.keys = keys;
        (store, unused)
    }

    /// The certificates for a handshake: of the name itself, else of the wildcard above it, else those of the first
    /// certificate in the settings. `None` only if there is no certificate at all.
    #[must_use]
    pub fn choose(&self, server_name: Option<&str>) -> Option<&Offer> {
        server_name
            .and_then(|name| self.find(name))
            .or(self.default.as_ref())
    }

    /// The certificates that cover `host`: a name, an address, or a wildcard as sites have them.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&Offer> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        if let Some(offer) = self.hosts.get(&*host) {
            return Some(offer);
        }
        if let Some((label, parent)) = host.split_once('.')
            && !label.is_empty()
            && let Some(offer) = self.wildcards.get(parent)
        {
            return Some(offer);
        }
        if self.addresses.is_empty() {
            return None;
        }
        let address: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
        self.addresses.get(&address.to_canonical())
    }

    /// By which rules a client is asked for a certificate that asks for this name; `None` if it is not.
    #[must_use]
    pub fn client_auth(&self, server_name: Option<&str>) -> Option<&Arc<ClientAuth>> {
        self.auths.as_ref()?.find(server_name)
    }

    /// The rules of the sites that ask for certificates, each with the site's place.
    pub fn client_auths(&self) -> impl Iterator<Item = (usize, &Arc<ClientAuth>)> {
        self.auths.iter().flat_map(SiteAuths::all)
    }

    /// All certificates, in the order of the settings.
    #[must_use]
    pub fn keys(&self) -> &[Arc<CertifiedKey>] {
        &self.keys
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the one certificate is ours.
    #[must_use]
    pub const fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    /// Whether loading again would make a new self-signed certificate.
    #[must_use]
    pub fn is_renewal_due(&self, now: SystemTime) -> bool {
        self.self_signed && self.keys.iter().any(|key| self_signed::is_due(key, now))
    }
}

fn add<K: Clone + Eq + Hash>(
    index: &mut HashMap<K, Offer>,
    name: &K,
    key: &Arc<CertifiedKey>,
) -> bool {
    if let Some(offer) = index.get_mut(name) {
        return offer.add(key);
    }
    index.insert(name.clone(), Offer::new(Arc::clone(key)));
    true
}

fn warnings(key: &CertifiedKey, now: SystemTime) -> impl Iterator<Item = CertError> {
    let path = || key.source().into();
    let left = key.time_left(now);
    let life = key
        .not_after()
        .duration_since(key.not_before())
        .unwrap_or_default();
    let soon = (left < SOON.min(life / 3)).then(|| CertError::ExpiresSoon {
        path: path(),
        when: date(key.not_after()),
        days: left.as_secs() / 86_400,
    });
    let nameless = key
        .names()
        .is_empty()
        .then(|| CertError::NoName { path: path() });
    soon.into_iter().chain(nameless)
}

#[cfg(test)]
mod tests;
