//! Certificates for tests.

use aegis_settings::model::{Certificate, Secret};
use boring::asn1::Asn1Time;
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::rsa::Rsa;
use boring::x509::extension::SubjectAlternativeName;
use boring::x509::{X509, X509NameBuilder};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn rsa_key(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

/// A certificate of `names` (subject alternatives) and a common name, valid from and to so many days from now.
pub(crate) fn certificate(
    common_name: Option<&str>,
    names: &[&str],
    days: (i64, i64),
    key: &PKey<Private>,
) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    if let Some(name) = common_name {
        subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    }
    let subject = subject.build();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = |days: i64| {
        Asn1Time::from_unix(i64::try_from(now.as_secs()).unwrap() + days * 86_400).unwrap()
    };
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&at(days.0)).unwrap();
    builder.set_not_after(&at(days.1)).unwrap();
    if !names.is_empty() {
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            if name.parse::<std::net::IpAddr>().is_ok() {
                alternatives.ip(name);
            } else {
                alternatives.dns(name);
            }
        }
        let extension = alternatives
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(&extension).unwrap();
    }
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

/// Writes `<name>.crt` and `<name>.key` and returns what the settings say of them.
pub(crate) fn write(folder: &Path, name: &str, chain: &[X509], key: &PKey<Private>) -> Certificate {
    use std::os::unix::fs::PermissionsExt;
    let cert = folder.join(format!("{name}.crt"));
    let key_path = folder.join(format!("{name}.key"));
    let pem: Vec<u8> = chain
        .iter()
        .flat_map(|certificate| certificate.to_pem().unwrap())
        .collect();
    std::fs::write(&cert, pem).unwrap();
    std::fs::write(&key_path, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    std::fs::set_permissions(&key_path, std::fs::Permissions::from_mode(0o600)).unwrap();
    Certificate {
        cert,
        key: Secret::File(key_path),
    }
}
