//! Changes as bytes to be appended to a file between two snapshots, and back.
//!
//! Magic and version, then for each change its length, 16 bytes of its BLAKE3 hash, and itself.

use crate::bytes::{Reader, VERSION, write_removal, write_verdict};
use crate::{PersistError, Prefix, Scope, Verdict};

const MAGIC: [u8; 8] = *b"AEGISVRJ";
const HASH: usize = 16;
/// More than any change takes.
const CHANGE_MAX: usize = 2048;

/// A change of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This verdict was taken in.
    Put(Verdict),
    /// The verdict on this prefix and scope was taken out.
    Removed {
        /** Whom it was about. */
        prefix: Prefix,
        /** Where it held. */
        scope: Scope,
    },
}

/// What a journal begins with.
pub fn journal_header() -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes()].concat()
}

/// A change, to be appended.
pub fn encode_change(change: &Change) -> Vec<u8> {
    let mut body = Vec::new();
    match change {
        Change::Put(verdict) => {
            body.push(1);
            write_verdict(&mut body, verdict);
        }
        Change::Removed { prefix, scope } => {
            body.push(2);
            write_removal(&mut body, prefix, scope);
        }
    }
    let hash = blake3::hash(&body);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [
        &length.to_le_bytes(),
        hash.as_bytes().get(..HASH).unwrap_or_default(),
        &body,
    ]
    .concat()
}

/// Reads a journal of at most `max` changes; all of it or nothing.
///
/// # Errors
/// [`PersistError::Journal`] tells how many bytes at its beginning are whole: a machine that lost power leaves half a
/// change at the end. The caller decides whether to cut it there and read again.
pub fn read_journal(bytes: &[u8], max: usize) -> Result<Vec<Change>, PersistError> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != MAGIC {
        return Err(PersistError::Magic);
    }
    let version = u16::from_le_bytes(reader.array()?);
    if version != VERSION {
        return Err(PersistError::Version(version));
    }
    let mut changes = Vec::new();
    while !reader.rest.is_empty() {
        if changes.len() >= max {
            return Err(PersistError::TooMany {
                count: changes.len() + 1,
                max,
            });
        }
        let intact = reader.at;
        let damaged = PersistError::Journal { intact };
        let body = frame(&mut reader).ok_or(damaged)?;
        changes.push(read_change(body)?);
    }
    Ok(changes)
}

fn frame<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(reader.array().ok()?) as usize;
    let hash = reader.take(HASH).ok()?;
    let body = (length <= CHANGE_MAX).then(|| reader.take(length).ok())??;
    (blake3::hash(body).as_bytes().get(..HASH) == Some(hash)).then_some(body)
}

fn read_change(body: &[u8]) -> Result<Change, PersistError> {
    let mut reader = Reader::new(body);
    let change = match reader.array()? {
        [1] => Change::Put(reader.verdict()?),
        [2] => {
            let (prefix, scope) = reader.removal()?;
            Change::Removed { prefix, scope }
        }
        _ => {
            return Err(PersistError::Field {
                at: 0,
                what: "an unknown kind of change".to_owned(),
            });
        }
    };
    if reader.rest.is_empty() {
        Ok(change)
    } else {
        Err(PersistError::Long(reader.at))
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
