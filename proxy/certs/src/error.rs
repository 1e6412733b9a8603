//! What can be wrong with a certificate, and the remedy.

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
        }
    }

    /// Whether settings with it can go live.
    #[must_use]
    pub const fn severity(&self) -> Severity {
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
            Self::BadCertificate { .. } => {
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
            Self::Expired { .. } => "renew it",
            Self::NotYetValid { .. } => "check this machine's clock, or wait",
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
