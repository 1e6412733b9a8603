//! Certificates of clients: whom a site believes, and how they are asked (RFC 8446 §4.3.2, RFC 5280 §6).
//!
//! The name a client asks for decides by which site's rules it is asked; which of its requests may be served is decided
//! by the site of each request, which compares [`ClientAuth::id`] with that of the handshake. The id is made of the site
//! and of the content of its files, so a changed authority or list makes every connection from before stale, and a
//! session is resumed under the very rules it was made by.
//!
//! Lists: with any, the issuer of a client's certificate needs one; authorities above it are checked where they have one.
//! A list whose time ends while it is in force goes on counting: who is revoked stays revoked, nobody else is shut out
//! because a file came late.

use crate::error::CertError;
use crate::key::{date, system_time};
use crate::library::{self, Crl};
use crate::read;
use aegis_settings::model::{self, ClientAuthMode};
use boring::asn1::Asn1TimeRef;
use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::sha::Sha256;
use boring::ssl::{Ssl, SslRef, SslVerifyMode};
use boring::x509::store::{X509Store, X509StoreBuilder};
use boring::x509::verify::X509VerifyFlags;
use boring::x509::{X509, X509StoreContextRef, X509VerifyError};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

/// Authorities of one site; each is named in every handshake.
const AUTHORITIES_MAX: usize = 64;
/// Their revocation lists.
const LISTS_MAX: usize = 64;
/// Bytes of a file of lists: some have a hundred thousand entries.
const LISTS_BYTES_MAX: u64 = 32 << 20;
/// Certificates between a client's and an authority that is believed.
const DEPTH_MAX: u32 = 8;

static ASKED: LazyLock<Option<Index<Ssl, Arc<ClientAuth>>>> =
    LazyLock::new(|| Ssl::new_ex_index().ok());

/// What is wrong, and the key of `client_auth:` it belongs to: `ca` or `crl`.
pub(crate) type InKey = (&'static str, CertError);

/// By whom a site's clients must be known.
pub struct ClientAuth {
    id: [u8; 32],
    required: bool,
    authorities: Vec<X509>,
    store: X509Store,
}

impl ClientAuth {
    /// Reads and checks the files of a site's `client_auth:`.
    ///
    /// # Errors
    /// The first thing that is wrong. What is out of its time comes beside the rules.
    pub(crate) fn read(
        site: &str,
        written: &model::ClientAuth,
    ) -> Result<(Self, Vec<InKey>), InKey> {
        let in_ca = |what| ("ca", what);
        let ca = read::file(&written.ca).map_err(in_ca)?;
        let authorities = authorities(&written.ca, &ca).map_err(in_ca)?;
        let mut late = Vec::new();
        let now = SystemTime::now();
        for authority in &authorities {
            let (begin, end) = (authority.not_before(), Some(authority.not_after()));
            if let Some(what) = check_time(now, begin, end, &written.ca, false).map_err(in_ca)? {
                late.push(("ca", what));
            }
        }
        let mut digest = Sha256::new();
        // Each with its length, so that no two sets of parts read alike.
        let mut digest_part = |part: &[u8]| {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        for part in [site.as_bytes(), written.mode.as_str().as_bytes(), &ca] {
            digest_part(part);
        }
        let mut builder = X509StoreBuilder::new().map_err(|error| in_ca(error.into()))?;
        // Whoever is in the file is believed, an authority in the middle too.
        let mut flags = X509VerifyFlags::PARTIAL_CHAIN;
        for authority in &authorities {
            builder
                .add_cert(authority)
                .map_err(|error| in_ca(error.into()))?;
        }
        if let Some(path) = &written.crl {
            let in_crl = |what| ("crl", what);
            let text = read::bounded(path, LISTS_BYTES_MAX).map_err(in_crl)?;
            digest_part(&text);
            for list in lists(path, &text).map_err(in_crl)? {
                is_of_one_of(&list, &authorities, path, &written.ca).map_err(in_crl)?;
                let (begin, end) = (list.this_update(), list.next_update());
                if let Some(what) = check_time(now, begin, end, path, true).map_err(in_crl)? {
                    late.push(("crl", what));
                }
                list.add_to(&mut builder)
                    .map_err(|error| in_crl(error.into()))?;
            }
            flags |= X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL;
        }
        builder
            .try_set_flags(flags)
            .map_err(|error| in_ca(error.into()))?;
        let auth = Self {
            id: digest.finish(),
            required: written.mode == ClientAuthMode::Required,
            authorities,
            store: builder.build(),
        };
        Ok((auth, late))
    }

    /// Tells these rules from all others.
    #[must_use]
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Whether there is no connection without a certificate.
    #[must_use]
    pub const fn is_required(&self) -> bool {
        self.required
    }

    /// Has the client of a handshake that has just begun asked for its certificate.
    ///
    /// # Errors
    /// The library has no memory; the handshake must not go on.
    pub fn ask(self: &Arc<Self>, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        let index = (*ASKED).ok_or_else(ErrorStack::get)?;
        ssl.set_verify_cert_store(self.store.clone())?;
        ssl.set_verify_depth(DEPTH_MAX);
        for authority in &self.authorities {
            library::name_authority(ssl, authority)?;
        }
        library::bind_session(ssl, &self.id)?;
        let mut mode = SslVerifyMode::PEER;
        if self.required {
            mode |= SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        }
        ssl.set_verify_callback(mode, judge);
        ssl.set_ex_data(index, Arc::clone(self));
        Ok(())
    }

    /// The rules by which the client of this handshake was asked, if it was.
    #[must_use]
    pub fn of(ssl: &SslRef) -> Option<&Arc<Self>> {
        ssl.ex_data((*ASKED)?)
    }
}

impl std::fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientAuth")
            .field("required", &self.required)
            .field("authorities", &self.authorities.len())
            .finish_non_exhaustive()
    }
}

/// Takes what the library finds wrong, but for what the module's text says of lists.
fn judge(good: bool, chain: &mut X509StoreContextRef) -> bool {
    if good {
        return true;
    }
    let forgiven = match chain.verify_result() {
        Err(X509VerifyError::CRL_HAS_EXPIRED | X509VerifyError::CRL_NOT_YET_VALID) => true,
        Err(X509VerifyError::UNABLE_TO_GET_CRL | X509VerifyError::UNABLE_TO_GET_CRL_ISSUER) => {
            chain.error_depth() > 0
        }
        _ => false,
    };
    if forgiven {
        chain.set_error(Ok(()));
    }
    forgiven
}

fn authorities(path: &Path, pem: &[u8]) -> Result<Vec<X509>, CertError> {
    let path = path.to_owned();
    let found = X509::stack_from_pem(pem).map_err(|error| CertError::BadCertificate {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    match found.len() {
        0 => Err(CertError::NoCertificate { path }),
        count if count > AUTHORITIES_MAX => Err(CertError::TooMany {
            path,
            count,
            what: "authorities",
            max: AUTHORITIES_MAX,
        }),
        _ => Ok(found),
    }
}

/// The lists of a PEM text.
fn lists(path: &Path, text: &[u8]) -> Result<Vec<Crl>, CertError> {
    let bad = |reason: String| CertError::BadList {
        path: path.to_owned(),
        reason,
    };
    let text = std::str::from_utf8(text).map_err(|_| bad("it is no text".into()))?;
    let mut found = Vec::new();
    for block in text.split("-----BEGIN X509 CRL-----").skip(1) {
        if found.len() == LISTS_MAX {
            return Err(CertError::TooMany {
                path: path.to_owned(),
                count: text.matches("-----BEGIN X509 CRL-----").count(),
                what: "revocation lists",
                max: LISTS_MAX,
            });
        }
        let (body, _) = block
            .split_once("-----END X509 CRL-----")
            .ok_or_else(|| bad("its last line is missing".into()))?;
        let body: String = body.split_ascii_whitespace().collect();
        let der = boring::base64::decode_block(&body).map_err(|_| bad("it is no base64".into()))?;
        found.push(
            Crl::from_der(&der).map_err(|_| bad("what it holds is no revocation list".into()))?,
        );
    }
    if found.is_empty() {
        return Err(CertError::NoList {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn is_of_one_of(list: &Crl, authorities: &[X509], path: &Path, ca: &Path) -> Result<(), CertError> {
    let same = |authority: &&X509| {
        let subject = authority.subject_name();
        list.issuer()
            .try_cmp(subject)
            .is_ok_and(std::cmp::Ordering::is_eq)
    };
    let signed = |authority: &X509| {
        authority
            .public_key()
            .is_ok_and(|key| list.is_signed_by(&key))
    };
    if authorities.iter().filter(same).any(signed) {
        return Ok(());
    }
    Err(CertError::ForeignList {
        path: path.to_owned(),
        issuer: crate::subject(list.issuer()),
        ca: ca.to_owned(),
    })
}

/// What is late or early; an error only if the library cannot tell.
fn check_time(
    now: SystemTime,
    begin: &Asn1TimeRef,
    end: Option<&Asn1TimeRef>,
    path: &Path,
    is_list: bool,
) -> Result<Option<CertError>, CertError> {
    let (begin, path) = (system_time(begin)?, path.to_owned());
    if now < begin {
        let when = date(begin);
        return Ok(Some(if is_list {
            CertError::ListNotYetValid { path, when }
        } else {
            CertError::NotYetValid { path, when }
        }));
    }
    let Some(end) = end.map(system_time).transpose()?.filter(|end| now > *end) else {
        return Ok(None);
    };
    let when = date(end);
    Ok(Some(if is_list {
        CertError::ListExpired { path, when }
    } else {
        CertError::Expired { path, when }
    }))
}
