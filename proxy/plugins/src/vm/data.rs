//! Shared data with compare-and-swap (`proxy_get_shared_data`, `proxy_set_shared_data`).

use crate::limits::{NAME_MAX, hit};
use crate::snapshot::Datum;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of all keys and values of a plugin, with what an entry costs us.
const BYTES_MAX: usize = 16 << 20;
/// Bytes of one site's share: no site can take it all.
const SITE_BYTES_MAX: usize = 2 << 20;
const VALUE_MAX: usize = 256 << 10;
const ENTRY_COST: usize = 128;

/// Values by site and key.
#[derive(Default)]
pub(crate) struct SharedData {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    sites: HashMap<Arc<str>, Site>,
    bytes: usize,
    next_cas: u32,
}

#[derive(Default)]
struct Site {
    entries: HashMap<Vec<u8>, Entry>,
    bytes: usize,
}

struct Entry {
    value: Bytes,
    cas: u32,
}

/// Why a value is not stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SetError {
    /// Somebody else was faster.
    CasMismatch,
    /// No room.
    Full,
}

impl SharedData {
    /// The site's value, else the one under no site.
    pub(crate) fn get(&self, site: &str, key: &[u8]) -> Option<(Bytes, u32)> {
        let inner = self.inner.lock();
        inner.find(site, key).map(|e| (e.value.clone(), e.cas))
    }

    /// Stores a value if `cas` is 0 or that of the value [`Self::get`] gives; `None` removes the site's own.
    pub(crate) fn set(
        &self,
        site: &Arc<str>,
        key: &[u8],
        value: Option<Bytes>,
        cas: u32,
    ) -> Result<(), SetError> {
        let mut inner = self.inner.lock();
        let current = inner.find(site, key).map(|entry| entry.cas);
        if cas != 0 && current != Some(cas) {
            return Err(SetError::CasMismatch);
        }
        let cost = |value: &Bytes| ENTRY_COST + key.len() + value.len();
        let (mut all, own) = (inner.bytes, inner.sites.get(site));
        let mut bytes = own.map_or(0, |own| own.bytes);
        if let Some(old) = own.and_then(|own| own.entries.get(key)) {
            all -= cost(&old.value);
            bytes -= cost(&old.value);
        }
        if let Some(value) = &value {
            all += cost(value);
            bytes += cost(value);
            if key.len() > NAME_MAX
                || value.len() > VALUE_MAX
                || bytes > SITE_BYTES_MAX
                || all > BYTES_MAX
            {
                hit("plugin_shared_data");
                return Err(SetError::Full);
            }
        }
        inner.bytes = all;
        inner.next_cas = inner.next_cas.wrapping_add(1).max(1);
        let cas = inner.next_cas;
        let own = inner.sites.entry(site.clone()).or_default();
        own.bytes = bytes;
        match value {
            Some(value) => drop(own.entries.insert(key.to_vec(), Entry { value, cas })),
            None => drop(own.entries.remove(key)),
        }
        if own.entries.is_empty() {
            inner.sites.remove(site);
        }
        Ok(())
    }

    /// The values under no site, for a snapshot; nothing if there are others.
    pub(crate) fn kept(&self) -> Option<Vec<Datum>> {
        let inner = self.inner.lock();
        if inner.sites.keys().any(|site| !site.is_empty()) {
            return None;
        }
        let all = inner.sites.values().flat_map(|site| &site.entries);
        let kept = |(key, entry): (&Vec<u8>, &Entry)| Datum {
            key: key.clone(),
            value: entry.value.to_vec(),
            cas: entry.cas,
        };
        Some(all.map(kept).collect())
    }

    /// Stores those of a snapshot; `false` if there is no room.
    pub(crate) fn restore(&self, data: &[Datum]) -> bool {
        let root = Arc::from("");
        let stored = data.iter().all(|datum| {
            let value = Bytes::copy_from_slice(&datum.value);
            self.set(&root, &datum.key, Some(value), 0).is_ok()
        });
        let mut inner = self.inner.lock();
        // A module may have remembered the numbers.
        for datum in data {
            inner.next_cas = inner.next_cas.max(datum.cas);
            let site = inner.sites.get_mut(&root);
            if let Some(entry) = site.and_then(|site| site.entries.get_mut(&datum.key)) {
                entry.cas = datum.cas;
            }
        }
        stored
    }
}

impl Inner {
    fn find(&self, site: &str, key: &[u8]) -> Option<&Entry> {
        let of = |site: &str| self.sites.get(site)?.entries.get(key);
        of(site).or_else(|| of(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_site_reads_the_roots_values_and_overlays_them_with_its_own() {
        let (data, a, root) = (SharedData::default(), Arc::from("a"), Arc::from(""));
        data.set(&root, b"k", bytes("root"), 0).expect("room");
        data.set(&a, b"k", bytes("a"), 0).expect("room");
        assert_eq!(data.get("a", b"k").map(|v| v.0), bytes("a"));
        assert_eq!(data.get("b", b"k").map(|v| v.0), bytes("root"));
        data.set(&a, b"k", None, 0).expect("removed");
        assert_eq!(data.get("a", b"k").map(|v| v.0), bytes("root"));
        assert_eq!(data.get("a", b"x"), None);
    }

    #[test]
    fn a_stale_cas_is_refused() {
        let (data, a) = (SharedData::default(), Arc::from("a"));
        assert_eq!(
            data.set(&a, b"k", bytes("1"), 7),
            Err(SetError::CasMismatch)
        );
        data.set(&a, b"k", bytes("1"), 0).expect("room");
        let (_, cas) = data.get("a", b"k").expect("stored");
        data.set(&a, b"k", bytes("2"), cas).expect("current");
        assert_eq!(
            data.set(&a, b"k", bytes("3"), cas),
            Err(SetError::CasMismatch)
        );
        assert_eq!(data.get("a", b"k").map(|v| v.0), bytes("2"));
    }

    #[test]
    fn one_site_cannot_take_the_room_of_another_and_gets_it_back_when_it_removes() {
        let (data, a, b) = (SharedData::default(), Arc::from("a"), Arc::from("b"));
        let big = Bytes::from(vec![0; VALUE_MAX]);
        let mut stored = 0;
        while data
            .set(&a, format!("{stored}").as_bytes(), Some(big.clone()), 0)
            .is_ok()
        {
            stored += 1;
        }
        assert_eq!(stored, SITE_BYTES_MAX / (VALUE_MAX + ENTRY_COST + 1));
        data.set(&b, b"k", bytes("v"), 0).expect("room");
        for n in 0..stored {
            data.set(&a, format!("{n}").as_bytes(), None, 0)
                .expect("removed");
        }
        data.set(&a, b"k", Some(big), 0).expect("room again");
        assert_eq!(
            data.set(&a, b"k2", Some(Bytes::from(vec![0; VALUE_MAX + 1])), 0),
            Err(SetError::Full)
        );
        assert_eq!(
            data.set(&a, &vec![0; NAME_MAX + 1], bytes("v"), 0),
            Err(SetError::Full)
        );
    }
}
