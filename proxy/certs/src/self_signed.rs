//! The certificate of a node that has none: made once, kept, renewed before it ends.

use crate::error::CertError;
use crate::key::{CertifiedKey, parse_chain, parse_key};
use crate::name::CertName;
use crate::read;
use aegis_settings::resolved::Site;
use boring::asn1::Asn1Time;
use boring::bn::{BigNum, MsbOption};
use boring::ec::{EcGroup, EcKey};
use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use boring::x509::{X509, X509NameBuilder};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LIFE_DAYS: u64 = 365;
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// More names would make handshakes long.
const NAMES_MAX: usize = 100;
const DAY: Duration = Duration::from_secs(86_400);

/// Whether it is time for a new one.
pub(crate) fn is_due(key: &CertifiedKey, now: SystemTime) -> bool {
    key.time_left(now) < RENEW_BEFORE
}

/// The certificate kept in `state_dir`, or a new one if there is none that will do. Also a warning if the sites have
/// more hosts than it takes.
pub(crate) fn load_or_make(
    state_dir: &Path,
    sites: &[Arc<Site>],
    now: SystemTime,
) -> Result<(CertifiedKey, Option<CertError>), CertError> {
    let folder = state_dir.join("self-signed");
    let (names, warning) = wanted(sites);
    if let Ok(kept) = load(&folder)
        && kept.check_validity(now).is_ok()
        && !is_due(&kept, now)
        && names.iter().all(|name| kept.names().contains(name))
    {
        return Ok((kept, warning));
    }
    let (certificate, key) = make(&names, now)?;
    keep(&folder, &certificate, &key)?;
    Ok((load(&folder)?, warning))
}

fn wanted(sites: &[Arc<Site>]) -> (Vec<CertName>, Option<CertError>) {
    let mut names = vec![
        CertName::Host("localhost".into()),
        CertName::Address(Ipv4Addr::LOCALHOST.into()),
        CertName::Address(Ipv6Addr::LOCALHOST.into()),
    ];
    for host in sites.iter().flat_map(|site| &site.hosts) {
        let Some(name) = CertName::parse(host).filter(|name| !names.contains(name)) else {
            continue;
        };
        if names.len() >= NAMES_MAX {
            return (names, Some(CertError::TooManyHosts { max: NAMES_MAX }));
        }
        names.push(name);
    }
    (names, None)
}

fn load(folder: &Path) -> Result<CertifiedKey, CertError> {
    let cert_path = folder.join("cert.pem");
    let key_path = folder.join("key.pem");
    let chain = parse_chain(&cert_path, &read::file(&cert_path)?)?;
    let place = key_path.display().to_string();
    let key = parse_key(&place, &read::file(&key_path)?)?;
    CertifiedKey::new(&chain, &key, &cert_path, &place)
}

fn make(names: &[CertName], now: SystemTime) -> Result<(X509, PKey<Private>), ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;

    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, "Aegis, self-signed")?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;

    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_serial_number(&*serial.to_asn1_integer()?)?;
    certificate.set_subject_name(&subject)?;
    certificate.set_issuer_name(&subject)?;
    certificate.set_pubkey(&key)?;
    // A client's clock may be a little behind.
    certificate.set_not_before(&*asn1(now - DAY)?)?;
    certificate.set_not_after(&*asn1(now + DAY * u32::try_from(LIFE_DAYS).unwrap_or(365))?)?;
    certificate.append_extension(&*BasicConstraints::new().critical().build()?)?;
    certificate.append_extension(&*KeyUsage::new().critical().digital_signature().build()?)?;
    certificate.append_extension(&*ExtendedKeyUsage::new().server_auth().build()?)?;
    let identifier = SubjectKeyIdentifier::new().build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(&identifier)?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        match name {
            CertName::Host(_) | CertName::Wildcard(_) => alternatives.dns(&name.to_string()),
            CertName::Address(_) => alternatives.ip(&name.to_string()),
        };
    }
    let alternatives = alternatives.build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(&alternatives)?;
    certificate.sign(&key, MessageDigest::sha256())?;
    Ok((certificate.build(), key))
}

fn asn1(time: SystemTime) -> Result<Asn1Time, ErrorStack> {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Asn1Time::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn keep(folder: &Path, certificate: &X509, key: &PKey<Private>) -> Result<(), CertError> {
    let certificate = certificate.to_pem()?;
    let key = key.private_key_to_pem_pkcs8()?;
    let unkept = |path: &Path, reason| CertError::Unkept {
        path: path.to_owned(),
        reason,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|reason| unkept(folder, reason))?;
    // Were the process to stop between the two, the pair does not match and is made anew.
    for (name, bytes) in [("key.pem", key), ("cert.pem", certificate)] {
        let path = folder.join(name);
        write_private(&path, &bytes).map_err(|reason| unkept(&path, reason))?;
    }
    Ok(())
}

/// Replaces a file by one that only its owner reads, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("pem.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    // The mode above counts for a file that was not there.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests;
