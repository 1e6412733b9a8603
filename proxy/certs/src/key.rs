//! A certificate with its key, ready for handshakes.

use crate::error::CertError;
use crate::name::{CertName, names};
use crate::policy::{Protocols, apply_policy};
use crate::read;
use aegis_settings::model::Certificate;
use boring::asn1::{Asn1Time, Asn1TimeRef};
use boring::error::ErrorStack;
use boring::pkey::{Id, PKey, PKeyRef, Private};
use boring::ssl::{SslContext, SslContextBuilder, SslContextRef, SslMethod};
use boring::x509::X509;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest chain; the public ones have two to four.
const CHAIN_MAX: usize = 10;

/// Kinds of keys, the preferred first: an ECDSA signature costs a server a tenth of an RSA one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /** ECDSA on P-256. */
    EcdsaP256,
    /** ECDSA on another curve. */
    Ecdsa,
    /** RSA. */
    Rsa,
    /** Ed25519, which few clients take. */
    Ed25519,
}

impl KeyKind {
    fn of(key: &PKeyRef<Private>) -> Option<Self> {
        match key.id() {
            Id::EC if key.bits() == 256 => Some(Self::EcdsaP256),
            Id::EC => Some(Self::Ecdsa),
            Id::RSA => Some(Self::Rsa),
            Id::ED25519 => Some(Self::Ed25519),
            _ => None,
        }
    }

    /// Whether a client with these `signature_algorithms` (RFC 8446 §4.2.3, the extension's bytes) takes such a key.
    pub(crate) fn taken_by(self, signature_algorithms: &[u8]) -> bool {
        let (pairs, _) = signature_algorithms
            .get(2..)
            .unwrap_or_default()
            .as_chunks::<2>();
        pairs.iter().any(|&pair| {
            matches!(
                (self, u16::from_be_bytes(pair)),
                (Self::EcdsaP256, 0x0403)
                    | (Self::Ecdsa, 0x0503 | 0x0603)
                    | (Self::Rsa, 0x0401 | 0x0501 | 0x0601 | 0x0804..=0x0806)
                    | (Self::Ed25519, 0x0807)
            )
        })
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ECDSA P-256",
            Self::Ecdsa => "ECDSA",
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// A certificate with its chain and key, built into contexts that a handshake takes by reference.
pub struct CertifiedKey {
    contexts: [SslContext; 2],
    fingerprint: [u8; 32],
    names: Vec<CertName>,
    kind: KeyKind,
    not_before: SystemTime,
    not_after: SystemTime,
    source: String,
}

impl CertifiedKey {
    /// Reads and checks what the settings name. `warn` takes what does not keep it from being served.
    ///
    /// # Errors
    /// As [`CertError`] says; validity is judged by [`Self::check_validity`].
    pub(crate) fn read(
        certificate: &Certificate,
        mut warn: impl FnMut(CertError),
    ) -> Result<Self, CertError> {
        let path = &certificate.cert;
        let chain = parse_chain(path, &read::file(path)?)?;
        let place = read::place(&certificate.key);
        let key = parse_key(&place, &read::secret(&certificate.key)?)?;
        let ready = Self::new(&chain, &key, path, &place)?;
        if let aegis_settings::model::Secret::File(path) = &certificate.key
            && read::readable_by_all(path)
        {
            warn(CertError::KeyReadable { path: path.clone() });
        }
        for (position, pair) in chain.windows(2).enumerate() {
            if let [issued, issuer] = pair
                && issuer.issued(issued).is_err()
            {
                warn(CertError::ChainGap {
                    path: path.clone(),
                    position: position + 2,
                });
            }
        }
        Ok(ready)
    }

    /// Builds the contexts of a chain (leaf first) and its key.
    ///
    /// # Errors
    /// If they are no pair, or the TLS library does not take them.
    pub(crate) fn new(
        chain: &[X509],
        key: &PKeyRef<Private>,
        path: &Path,
        place: &str,
    ) -> Result<Self, CertError> {
        let Some((leaf, issuers)) = chain.split_first() else {
            return Err(CertError::NoCertificate {
                path: path.to_owned(),
            });
        };
        if !belongs(leaf, key) {
            let path = path.to_owned();
            return Err(if issuers.iter().any(|other| belongs(other, key)) {
                CertError::LeafNotFirst { path }
            } else {
                CertError::Mismatch {
                    path,
                    place: place.to_owned(),
                }
            });
        }
        let unusable = |kind: String, reason: String| CertError::UnusableKey {
            path: path.to_owned(),
            kind,
            reason,
        };
        let kind = KeyKind::of(key)
            .ok_or_else(|| unusable("of another kind".into(), "no client knows it".into()))?;
        if kind == KeyKind::Rsa && key.bits() < 2048 {
            return Err(unusable(
                format!("RSA of {} bits", key.bits()),
                "clients refuse it as too short".into(),
            ));
        }
        let build = |protocols| {
            context(leaf, issuers, key, protocols)
                .map_err(|error| unusable(kind.to_string(), error.to_string()))
        };
        Ok(Self {
            fingerprint: boring::sha::sha256(&leaf.to_der()?),
            contexts: [build(Protocols::H2AndHttp1)?, build(Protocols::Http1)?],
            names: names(leaf),
            kind,
            not_before: system_time(leaf.not_before())?,
            not_after: system_time(leaf.not_after())?,
            source: path.display().to_string(),
        })
    }

    /// Whether clients take it at `now`.
    ///
    /// # Errors
    /// [`CertError::Expired`], [`CertError::NotYetValid`].
    pub(crate) fn check_validity(&self, now: SystemTime) -> Result<(), CertError> {
        let path = || self.source.clone().into();
        if now < self.not_before {
            return Err(CertError::NotYetValid {
                path: path(),
                when: date(self.not_before),
            });
        }
        if now > self.not_after {
            return Err(CertError::Expired {
                path: path(),
                when: date(self.not_after),
            });
        }
        Ok(())
    }

    /// What a handshake of a listener with these protocols switches to.
    #[must_use]
    pub fn context(&self, protocols: Protocols) -> &SslContextRef {
        let [h2, http1] = &self.contexts;
        match protocols {
            Protocols::H2AndHttp1 => h2,
            Protocols::Http1 => http1,
        }
    }

    /// Hosts and addresses it is for.
    #[must_use]
    pub fn names(&self) -> &[CertName] {
        &self.names
    }

    /// Kind of its key.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Its first moment.
    #[must_use]
    pub const fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Its last moment.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Time left at `now`; nothing once it is over.
    #[must_use]
    pub fn time_left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The file it came from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What people call it: its first name, or its file.
    #[must_use]
    pub fn title(&self) -> String {
        self.names
            .first()
            .map_or_else(|| self.source.clone(), ToString::to_string)
    }
}

impl fmt::Debug for CertifiedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertifiedKey")
            .field("names", &self.names)
            .field("kind", &self.kind)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

fn context(
    leaf: &X509,
    issuers: &[X509],
    key: &PKeyRef<Private>,
    protocols: Protocols,
) -> Result<SslContext, ErrorStack> {
    let mut context = SslContextBuilder::new(SslMethod::tls())?;
    apply_policy(&mut context, protocols)?;
    context.set_certificate(leaf)?;
    for issuer in issuers {
        context.add_extra_chain_cert(issuer.clone())?;
    }
    context.set_private_key(key)?;
    context.check_private_key()?;
    Ok(context.build())
}

fn belongs(certificate: &X509, key: &PKeyRef<Private>) -> bool {
    certificate
        .public_key()
        .is_ok_and(|public| public.public_eq(key))
}

/// The certificates of a PEM file.
pub(crate) fn parse_chain(path: &Path, pem: &[u8]) -> Result<Vec<X509>, CertError> {
    let chain = X509::stack_from_pem(pem).map_err(|error| CertError::BadCertificate {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    if chain.is_empty() {
        return Err(CertError::NoCertificate {
            path: path.to_owned(),
        });
    }
    if chain.len() > CHAIN_MAX {
        return Err(CertError::ChainTooLong {
            path: path.to_owned(),
            count: chain.len(),
            max: CHAIN_MAX,
        });
    }
    Ok(chain)
}

/// The private key of a PEM text. What is wrong with one is not told in detail: it could tell of the key.
pub(crate) fn parse_key(place: &str, pem: &[u8]) -> Result<PKey<Private>, CertError> {
    // Without a callback the library would ask on the terminal.
    let asked = std::cell::Cell::new(false);
    PKey::private_key_from_pem_callback(pem, |_| {
        asked.set(true);
        Ok(0)
    })
    .map_err(|_| {
        let place = place.to_owned();
        if asked.get() {
            CertError::EncryptedKey { place }
        } else {
            CertError::BadKey { place }
        }
    })
}

pub(crate) fn system_time(time: &Asn1TimeRef) -> Result<SystemTime, ErrorStack> {
    let epoch = Asn1Time::from_unix(0)?;
    let since = epoch.diff(time)?;
    let seconds = i64::from(since.days) * 86_400 + i64::from(since.secs);
    Ok(u64::try_from(seconds).map_or(UNIX_EPOCH, |seconds| {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }))
}

/// A moment as certificates print it.
pub(crate) fn date(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Asn1Time::from_unix(seconds).ok())
        .map_or_else(|| "an unknown date".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_asked_which_signatures_it_takes() {
        let rsa_only = [0, 4, 0x08, 0x04, 0x04, 0x01];
        let modern = [0, 4, 0x04, 0x03, 0x08, 0x04];
        assert!(KeyKind::Rsa.taken_by(&rsa_only));
        assert!(!KeyKind::EcdsaP256.taken_by(&rsa_only));
        assert!(KeyKind::EcdsaP256.taken_by(&modern));
        assert!(KeyKind::Rsa.taken_by(&modern));
        assert!(!KeyKind::EcdsaP256.taken_by(&[]));
        assert!(!KeyKind::EcdsaP256.taken_by(&[0, 1, 4]));
    }

    #[test]
    fn a_date_is_written_as_certificates_write_it() {
        assert_eq!(date(UNIX_EPOCH), "Jan  1 00:00:00 1970 GMT");
    }
}
