//! Bounded reading of PEM files and of secrets.

use crate::error::CertError;
use aegis_settings::model::Secret;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Longest file; a chain of ten RSA certificates has 20 KB.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// The bytes of a file.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, CertError> {
    bounded(path, FILE_BYTES_MAX)
}

/// The bytes of a file of at most `max`.
pub(crate) fn bounded(path: &Path, max: u64) -> Result<Vec<u8>, CertError> {
    let unreadable = |reason| CertError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > max {
        return Err(CertError::TooLarge {
            path: path.to_owned(),
            max,
        });
    }
    Ok(bytes)
}

/// The bytes behind a reference.
pub(crate) fn secret(secret: &Secret) -> Result<Vec<u8>, CertError> {
    match secret {
        Secret::File(path) => file(path),
        Secret::Env(name) => std::env::var(name)
            .map(String::into_bytes)
            .map_err(|_| CertError::NoVariable { name: name.clone() }),
    }
}

/// Where a secret is, for a message.
pub(crate) fn place(secret: &Secret) -> String {
    match secret {
        Secret::File(path) => path.display().to_string(),
        Secret::Env(name) => format!("the environment variable {name}"),
    }
}

/// Whether users beside owner and group may read the file.
pub(crate) fn readable_by_all(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}
