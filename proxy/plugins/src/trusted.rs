//! The one place where bytes become machine code without a compiler: only behind the node's own MAC.

use wasmtime::{Engine, Module};

const MAGIC: &[u8; 8] = b"AEGISCW1";
const MAC_LEN: usize = 32;

/// The node's secret.
#[derive(Clone)]
pub(crate) struct NodeKey(pub(crate) [u8; 32]);

/// Head and MAC of a file that holds `code` under the name `entry`.
pub(crate) fn seal(key: &NodeKey, entry: &[u8; 32], code: &[u8]) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(mac(key, entry, code).as_bytes());
    head
}

fn mac(key: &NodeKey, entry: &[u8; 32], code: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(entry);
    hasher.update(code);
    hasher.finalize()
}

/// The module in a file, if this node wrote the file under this name with this engine's configuration.
#[expect(
    unsafe_code,
    reason = "machine code is mapped as it is; it is ours, because only holders of the node key can make its MAC, and it \
              is that of this engine, because the entry's name hashes the engine's configuration"
)]
pub(crate) fn open(
    engine: &Engine,
    key: &NodeKey,
    entry: &[u8; 32],
    file: &[u8],
) -> Option<Module> {
    let rest = file.strip_prefix(MAGIC)?;
    let (claimed, code) = rest.split_at_checked(MAC_LEN)?;
    let claimed = blake3::Hash::from_slice(claimed).ok()?;
    // Compared in constant time by blake3.
    if mac(key, entry, code) != claimed {
        return None;
    }
    // SAFETY: `code` was returned by `Engine::precompile_module` of a compatible engine and not changed since, which is
    // what the MAC says. `code` is private memory, so that it cannot change after the check either.
    unsafe { Module::deserialize(engine, code) }.ok()
}
