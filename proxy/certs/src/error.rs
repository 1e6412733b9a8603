//! What can be wrong with a certificate, and the remedy.

use crate::client_auth::ClientAuth;
use crate::key::CertifiedKey;
use crate::store::CertStore;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Something is wrong with the certificate of this key of the settings.
#[derive(Debug)]
pub struct CertProblem {
    /// `certificates[0].cert`.
    pub key: String,
    /// What it is.
    pub what: CertError,
    /// It has ended, or has not begun, and is served all the same.
    served: bool,
}

/// What becomes of a certificate whose time is over, or has not come. Nobody shall be without a site because a file that
/// was good at the last start has aged; and nobody shall bring an old one in by mistake.
#[derive(Debug, Clone, Copy)]
pub enum Times<'a> {
    /** It is refused: an edit of the settings, seen by itself. */
    Refuse,
    /** It is served, loudly: a start. */
    Serve,
    /** It is served, loudly, if these have it already: a reload. */
    ServeIfIn(&'a CertStore),
}

impl Times<'_> {
    pub(crate) fn knows_key(self, key: &CertifiedKey) -> bool {
        match self {
            Self::Refuse => false,
            Self::Serve => true,
            Self::ServeIfIn(store) => store
                .keys()
                .iter()
                .any(|known| known.fingerprint() == key.fingerprint()),
        }
    }

    pub(crate) fn knows_auth(self, auth: &ClientAuth) -> bool {
        match self {
            Self::Refuse => false,
            Self::Serve => true,
            Self::ServeIfIn(store) => store
                .client_auths()
                .any(|(_, known)| known.id() == auth.id()),
        }
    }
}

/// Whether settings with such a problem can go live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /** They cannot. */
    Error,
    /** They can. */
    Warning,
}

impl CertProblem {
    pub(crate) fn new(key: impl Into<String>, what: CertError) -> Self {
        Self {
            key: key.into(),
            what,
            served: false,
        }
    }

    /// Something that has ended or has not begun, `served` all the same or not.
    pub(crate) fn of_time(key: impl Into<String>, what: CertError, served: bool) -> Self {
        Self {
            served,
            ..Self::new(key, what)
        }
    }

    /// Whether it is in force though its time is not now.
    #[must_use]
    pub const fn is_served_out_of_time(&self) -> bool {
        self.served
    }

    /// Whether settings with it can go live.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        if self.served {
            return Severity::Warning;
        }
        self.what.severity()
    }

    /// What to do.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        self.what.help()
    }
}

impl std::fmt::Display for CertProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// What can be wrong. The text says what happened and where, [`help`](Self::help) what to do.
#[derive(Debug, Error)]
pub enum CertError {
    /** The file cannot be read. */
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /** The file. */
        path: PathBuf,
        /** The system's word. */
        reason: io::Error,
    },
    /** The file is past the bound. */
    #[error("{} is larger than {max} bytes", path.display())]
    TooLarge {
        /** The file. */
        path: PathBuf,
        /** The bound. */
        max: u64,
    },
    /** No PEM block of a certificate. */
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /** The file. */
        path: PathBuf,
    },
    /** A PEM block is broken. */
    #[error("{} holds a certificate that cannot be read: {reason}", path.display())]
    BadCertificate {
        /** The file. */
        path: PathBuf,
        /** The TLS library's word. */
        reason: String,
    },
    /** More certificates than any chain has. */
    #[error("{} holds {count} certificates, more than the {max} a chain may have", path.display())]
    ChainTooLong {
        /** The file. */
        path: PathBuf,
        /** How many. */
        count: usize,
        /** The bound. */
        max: usize,
    },
    /** The variable is not set. */
    #[error("the environment variable {name} is not set")]
    NoVariable {
        /** The variable. */
        name: String,
    },
    /** No private key, or a broken one. */
    #[error("{place} holds no private key that can be read")]
    BadKey {
        /** The file or the variable. */
        place: String,
    },
    /** The key needs a passphrase. */
    #[error("the private key in {place} is encrypted")]
    EncryptedKey {
        /** The file or the variable. */
        place: String,
    },
    /** Certificate and key are not a pair. */
    #[error("the private key in {place} does not belong to the certificate in {}", path.display())]
    Mismatch {
        /** The certificate's file. */
        path: PathBuf,
        /** The key's file or variable. */
        place: String,
    },
    /** The chain begins with another certificate than the key's. */
    #[error("{} does not begin with the certificate of the private key", path.display())]
    LeafNotFirst {
        /** The file. */
        path: PathBuf,
    },
    /** Its time is over. */
    #[error("the certificate in {} expired on {when}", path.display())]
    Expired {
        /** The file. */
        path: PathBuf,
        /** The last moment. */
        when: String,
    },
    /** Its time has not begun. */
    #[error("the certificate in {} is not valid before {when}", path.display())]
    NotYetValid {
        /** The file. */
        path: PathBuf,
        /** The first moment. */
        when: String,
    },
    /** Too many in one file. */
    #[error("{} holds {count} {what}, more than the {max} there may be", path.display())]
    TooMany {
        /** The file. */
        path: PathBuf,
        /** How many. */
        count: usize,
        /** Of what. */
        what: &'static str,
        /** The bound. */
        max: usize,
    },
    /** No PEM block of a revocation list. */
    #[error("{} holds no revocation list", path.display())]
    NoList {
        /** The file. */
        path: PathBuf,
    },
    /** A PEM block is broken. */
    #[error("{} holds a revocation list that cannot be read: {reason}", path.display())]
    BadList {
        /** The file. */
        path: PathBuf,
        /** Why. */
        reason: String,
    },
    /** Nobody who is believed made the list. */
    #[error("the revocation list of {issuer} in {} is signed by no authority in {}", path.display(), ca.display())]
    ForeignList {
        /** The file. */
        path: PathBuf,
        /** Who says he made it. */
        issuer: String,
        /** The file of the authorities. */
        ca: PathBuf,
    },
    /** A newer list is due. */
    #[error("a revocation list in {} expired on {when}", path.display())]
    ListExpired {
        /** The file. */
        path: PathBuf,
        /** The last moment. */
        when: String,
    },
    /** Its time has not begun. */
    #[error("a revocation list in {} is not valid before {when}", path.display())]
    ListNotYetValid {
        /** The file. */
        path: PathBuf,
        /** The first moment. */
        when: String,
    },
    /** A key no client takes. */
    #[error("the key of the certificate in {} ({kind}) cannot be used for TLS: {reason}", path.display())]
    UnusableKey {
        /** The file. */
        path: PathBuf,
        /** What it is. */
        kind: String,
        /** The TLS library's word. */
        reason: String,
    },
    /** The self-signed certificate cannot be kept. */
    #[error("the self-signed certificate cannot be kept at {}: {reason}", path.display())]
    Unkept {
        /** The file or folder. */
        path: PathBuf,
        /** The system's word. */
        reason: io::Error,
    },
    /** The TLS library failed. */
    #[error("the TLS library failed: {0}")]
    Tls(#[from] boring::error::ErrorStack),

    /** Soon over. */
    #[error("the certificate in {} expires on {when}, in {days} days", path.display())]
    ExpiresSoon {
        /** The file. */
        path: PathBuf,
        /** The last moment. */
        when: String,
        /** Whole days left. */
        days: u64,
    },
    /** It names nobody. */
    #[error("the certificate in {} has no name of a host", path.display())]
    NoName {
        /** The file. */
        path: PathBuf,
    },
    /** Everything it names is served by others. */
    #[error("the certificate in {} is never used: others with the same kind of key have all its names", path.display())]
    NeverUsed {
        /** The file. */
        path: PathBuf,
    },
    /** The chain has a gap. */
    #[error("certificate {position} in {} did not issue the one before it", path.display())]
    ChainGap {
        /** The file. */
        path: PathBuf,
        /** Counted from 1. */
        position: usize,
    },
    /** Everybody on the machine can read the key. */
    #[error("everybody on this machine can read the private key {}", path.display())]
    KeyReadable {
        /** The file. */
        path: PathBuf,
    },
    /** More hosts than a self-signed certificate takes. */
    #[error("the self-signed certificate covers the first {max} hosts of the sites only")]
    TooManyHosts {
        /** The bound. */
        max: usize,
    },
}

impl CertError {
    /// Whether settings with it can go live.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::ExpiresSoon { .. }
            | Self::NoName { .. }
            | Self::NeverUsed { .. }
            | Self::ChainGap { .. }
            | Self::KeyReadable { .. }
            | Self::TooManyHosts { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// What to do.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "give the path of a file that the user running aegis may read"
            }
            Self::TooLarge { .. } | Self::NoCertificate { .. } => {
                "give a PEM file: blocks of -----BEGIN CERTIFICATE-----, the site's own first"
            }
            Self::BadCertificate { .. } | Self::BadList { .. } => {
                "the file is damaged or cut off; fetch it again from your authority"
            }
            Self::ChainTooLong { .. } => {
                "give the site's certificate and its intermediates, not a bundle of roots"
            }
            Self::NoVariable { .. } => "set it, or name the key's file with file:PATH",
            Self::BadKey { .. } => {
                "give a PEM private key: -----BEGIN PRIVATE KEY----- (PKCS #8), EC or RSA"
            }
            Self::EncryptedKey { .. } => {
                "aegis starts unattended and cannot ask for a passphrase: openssl pkey -in KEY -out PLAIN, mode 0600"
            }
            Self::Mismatch { .. } => {
                "name the key that the certificate was requested with; after a renewal both files change"
            }
            Self::LeafNotFirst { .. } => "put the site's own certificate first, then its issuers",
            Self::Expired { .. } => "renew it; aegis takes the new file without a restart",
            Self::NotYetValid { .. } | Self::ListNotYetValid { .. } => {
                "check this machine's clock, or wait"
            }
            Self::TooMany { .. } => "put only those into the file that this site believes",
            Self::NoList { .. } => {
                "give a PEM file: blocks of -----BEGIN X509 CRL-----; from DER: openssl crl -inform DER -in LIST"
            }
            Self::ForeignList { .. } => "add its authority to `ca`, or take the list out",
            Self::ListExpired { .. } => "fetch the new one from your authority",
            Self::UnusableKey { .. } => "use ECDSA P-256 or RSA of 2048 bits or more",
            Self::Unkept { .. } => {
                "make node.state_dir writable for the user running aegis, or name a certificate under certificates:"
            }
            Self::Tls(_) => "this is not about your settings; please report it",
            Self::ExpiresSoon { .. } => "renew it; aegis takes the new files without a restart",
            Self::NoName { .. } => {
                "ask your authority for one with a subject alternative name; this one is only served to clients that ask for no known host"
            }
            Self::NeverUsed { .. } => "remove it, or the one it repeats",
            Self::ChainGap { .. } => {
                "order the file: the site's certificate, its issuer, that one's issuer"
            }
            Self::KeyReadable { .. } => "chmod 600 it, or 640 with a group that aegis is in",
            Self::TooManyHosts { .. } => "name certificates under certificates:",
        }
    }
}
