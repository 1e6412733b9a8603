//! All verdicts as bytes, and back.
//!
//! Magic, version, number of verdicts and of bytes, the verdicts, and the BLAKE3 hash of everything before. A reader
//! checks the hash before it believes a byte of it, and every field after that: a hash says that nothing changed, not
//! that the writer was right.

use crate::bytes::{Reader, VERSION, write_verdict};
use crate::{Millis, PersistError, Table, Verdict};
use std::io::{self, Write};

const MAGIC: [u8; 8] = *b"AEGISVRD";
const HEADER: usize = MAGIC.len() + 2 + 4 + 8;
const HASH: usize = 32;
/// The least a verdict takes: flags, length, IPv4 address, since, hits, two texts of one byte.
const VERDICT_MIN: usize = 1 + 1 + 4 + 8 + 4 + 3 + 3;

/// Writes all verdicts that stand at `now`, in pieces of some 64 KiB. Verdicts that change meanwhile may be told as they
/// were or as they are. The wall clock is `ahead` of the table's.
///
/// # Errors
/// Those of `out`.
pub fn write_snapshot(
    table: &Table,
    now: Millis,
    ahead: i64,
    out: &mut impl Write,
) -> io::Result<()> {
    let (mut entries, _) = table.entries_from(0, usize::MAX);
    entries.retain(|entry| entry.holds_at(now));
    let mut piece = Vec::with_capacity(1 << 17);
    let mut length = 0_u64;
    for entry in &entries {
        piece.clear();
        // Times have a fixed width, so the clock changes no length.
        write_verdict(&mut piece, &entry.verdict());
        length += piece.len() as u64;
    }
    let mut hasher = blake3::Hasher::new();
    piece.clear();
    piece.extend_from_slice(&MAGIC);
    piece.extend_from_slice(&VERSION.to_le_bytes());
    piece.extend_from_slice(
        &u32::try_from(entries.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    piece.extend_from_slice(&length.to_le_bytes());
    for entry in &entries {
        write_verdict(&mut piece, &entry.verdict().on_clock(ahead));
        if piece.len() >= 1 << 16 {
            hasher.update(&piece);
            out.write_all(&piece)?;
            piece.clear();
        }
    }
    hasher.update(&piece);
    out.write_all(&piece)?;
    out.write_all(hasher.finalize().as_bytes())
}

/// Reads what [`write_snapshot`] wrote; all of it or nothing.
///
/// # Errors
/// [`PersistError`] for anything else, be it cut by a byte, longer by one or changed in one bit.
pub fn read_snapshot(bytes: &[u8]) -> Result<Vec<Verdict>, PersistError> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != MAGIC {
        return Err(PersistError::Magic);
    }
    let version = u16::from_le_bytes(reader.array()?);
    if version != VERSION {
        return Err(PersistError::Version(version));
    }
    let count = u32::from_le_bytes(reader.array()?) as usize;
    let length = usize::try_from(u64::from_le_bytes(reader.array()?)).unwrap_or(usize::MAX);
    let end = HEADER.saturating_add(length).saturating_add(HASH);
    if bytes.len() < end {
        return Err(PersistError::Short(bytes.len()));
    }
    if bytes.len() > end {
        return Err(PersistError::Long(end));
    }
    let (hashed, hash) = bytes.split_at(bytes.len() - HASH);
    if blake3::hash(hashed).as_bytes() != hash {
        return Err(PersistError::Checksum);
    }
    let max = Table::ENTRIES_MAX;
    if count > max {
        return Err(PersistError::TooMany { count, max });
    }
    // What is reserved is bounded by what is there.
    let mut verdicts = Vec::with_capacity(count.min(length / VERDICT_MIN));
    for _ in 0..count {
        verdicts.push(reader.verdict()?);
    }
    if reader.rest.len() == HASH {
        Ok(verdicts)
    } else {
        Err(PersistError::Long(reader.at))
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
