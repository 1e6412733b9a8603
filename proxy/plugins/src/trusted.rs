//! The one place where bytes become machine code without a compiler: only behind the node's own MAC.
//!
//! A file is the machine code as wasmtime wrote it, then a note of ours, then the seal. The code comes first because
//! wasmtime maps a file from its beginning: so a snapshot's memory stays in the file's pages, which all instances share
//! until they write to one.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use wasmtime::{Engine, Module};

const MAGIC: &[u8; 8] = b"AEGISCW2";
const MAC_LEN: usize = 32;
const SEAL_LEN: usize = 8 + MAC_LEN + MAGIC.len();
/// What one read takes from a file.
const PIECE: usize = 256 << 10;
/// Machine code of one module, with its note.
const FILE_MAX: u64 = 2 << 30;
/// Our note beside it.
const NOTE_MAX: usize = 64 << 20;

/// The node's secret.
#[derive(Clone)]
pub(crate) struct NodeKey(pub(crate) [u8; 32]);

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Distrust {
    /// Somebody else could have written it.
    #[error("it is not ours alone (owner, or rights of others)")]
    NotPrivate,
    /// It has no seal, or too many bytes.
    #[error("it is cut, or something else")]
    NoSeal,
    /// The seal is not that of these bytes under this name by this node.
    #[error("it was changed, or made by another node or for another engine")]
    WrongSeal,
    /// wasmtime does not take it.
    #[error("wasmtime does not take it: {0}")]
    Refused(String),
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
}

/// What follows the code in a file that holds `code` and `note` under the name `entry`.
pub(crate) fn seal(key: &NodeKey, entry: &[u8; 32], code: &[u8], note: &[u8]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(entry).update(code).update(note);
    let len = u64::try_from(note.len()).unwrap_or(u64::MAX).to_le_bytes();
    hasher.update(&len);
    let mut tail = Vec::with_capacity(note.len() + SEAL_LEN);
    tail.extend_from_slice(note);
    tail.extend_from_slice(&len);
    tail.extend_from_slice(hasher.finalize().as_bytes());
    tail.extend_from_slice(MAGIC);
    tail
}

/// The module in a file and our note beside it, if this node wrote the file under this name with this engine's
/// configuration.
pub(crate) fn open(
    engine: &Engine,
    key: &NodeKey,
    entry: &[u8; 32],
    file: File,
) -> Result<(Module, Vec<u8>), Distrust> {
    let about = file.metadata()?;
    let ours = about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o077 == 0;
    if !about.is_file() || !ours {
        return Err(Distrust::NotPrivate);
    }
    let seal_len = u64::try_from(SEAL_LEN).unwrap_or(u64::MAX);
    let before_seal = about
        .len()
        .checked_sub(seal_len)
        .filter(|len| *len <= FILE_MAX)
        .ok_or(Distrust::NoSeal)?;
    let mut seal = [0; SEAL_LEN];
    file.read_exact_at(&mut seal, before_seal)?;
    let (note_len, rest) = seal.split_first_chunk::<8>().ok_or(Distrust::NoSeal)?;
    let (claimed, magic) = rest
        .split_first_chunk::<MAC_LEN>()
        .ok_or(Distrust::NoSeal)?;
    let code_len = before_seal
        .checked_sub(u64::from_le_bytes(*note_len))
        .filter(|_| magic == MAGIC)
        .ok_or(Distrust::NoSeal)?;
    let note_size = usize::try_from(u64::from_le_bytes(*note_len))
        .ok()
        .filter(|len| *len <= NOTE_MAX)
        .ok_or(Distrust::NoSeal)?;

    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(entry);
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < code_len {
        let left = usize::try_from(code_len - at).unwrap_or(usize::MAX);
        let piece = piece.get_mut(..left.min(PIECE)).unwrap_or_default();
        file.read_exact_at(piece, at)?;
        hasher.update(piece);
        at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
    }
    let mut note = vec![0; note_size];
    file.read_exact_at(&mut note, code_len)?;
    hasher.update(&note).update(note_len);
    // Compared in constant time by blake3.
    if hasher.finalize() != blake3::Hash::from_bytes(*claimed) {
        return Err(Distrust::WrongSeal);
    }
    map(engine, file)
        .map(|module| (module, note))
        .map_err(|error| Distrust::Refused(format!("{error:#}")))
}

#[expect(
    unsafe_code,
    reason = "machine code is mapped as it is; it is ours, because only holders of the node key can make its MAC, and it \
              is that of this engine, because the entry's name hashes the engine's configuration"
)]
fn map(engine: &Engine, file: File) -> wasmtime::Result<Module> {
    // SAFETY: the file is `Engine::precompile_module`'s output of a compatible engine with something behind it that no
    // ELF header speaks of, which is what the MAC says. It does not change while it is mapped: nobody but us (and root)
    // may open it for writing, we never write to a file under its final name, and one that is replaced or removed lives
    // on under the mapping.
    unsafe { Module::deserialize_open_file(engine, file) }
}

/// The module of code that was compiled a moment ago, when there is no file to map.
#[expect(unsafe_code, reason = "machine code that this process has just made")]
pub(crate) fn from_memory(engine: &Engine, code: &[u8]) -> wasmtime::Result<Module> {
    // SAFETY: `code` is what `Engine::precompile_module` of this engine returned, and nobody else has seen it.
    unsafe { Module::deserialize(engine, code) }
}
