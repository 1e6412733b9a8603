//! Which prefix lengths are worth looking for, by where an address lies: a filter that may say yes too often, never no.
//!
//! Networks are few and unevenly spread; single addresses are many. Lengths are grouped in bands, and each band has a
//! bitmap of lengths for every place addresses share: a /16 of IPv4; a /32, /48 or /64 of IPv6, hashed. Beside them is
//! one bitmap of the lengths in use at all. A look-up probes only lengths in both, one or two as a rule, where 25 (IPv4)
//! or 97 (IPv6) are possible. Bits of a place are never cleared: a stale one costs one probe.

use crate::Prefix;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lengths that share a bitmap: from `first` on, by the bits up to `by`, in `1 << size` places.
struct Band {
    first: u8,
    by: u8,
    size: u8,
    /// Bit n = length `first + n`.
    places: Box<[AtomicU64]>,
    used: AtomicU64,
}

pub(crate) struct Lengths {
    v4: [Band; 1],
    /// Longest first.
    v6: [Band; 3],
}

impl Lengths {
    pub(crate) fn new() -> Self {
        Self {
            v4: [Band::new(8, 16, 16)],
            v6: [
                Band::new(65, 64, 16),
                Band::new(49, 48, 16),
                Band::new(32, 32, 14),
            ],
        }
    }

    /// Before the first verdict on a prefix can be found.
    pub(crate) fn add(&self, prefix: &Prefix) {
        if let Some(band) = self.band(prefix.is_v6(), prefix.length()) {
            band.add(prefix);
        }
    }

    /// After the last verdict of this length is gone.
    pub(crate) fn unused(&self, v6: bool, length: u8) {
        if let Some(band) = self.band(v6, length) {
            band.used.fetch_and(!band.bit(length), Ordering::Relaxed);
        }
    }

    /// The lengths that may have a verdict on this address, longest first.
    pub(crate) fn of(&self, whole: &Prefix) -> impl Iterator<Item = u8> + use<'_> {
        let bits = whole.bits();
        self.bands(whole.is_v6()).iter().flat_map(move |band| {
            let mut left = band.at(bits);
            std::iter::from_fn(move || {
                let bit = 63_u8.checked_sub(left.leading_zeros() as u8)?;
                left &= !(1 << bit);
                Some(band.first + bit)
            })
        })
    }

    fn bands(&self, v6: bool) -> &[Band] {
        if v6 { &self.v6 } else { &self.v4 }
    }

    fn band(&self, v6: bool, length: u8) -> Option<&Band> {
        self.bands(v6).iter().find(|band| band.first <= length)
    }
}

impl Band {
    fn new(first: u8, by: u8, size: u8) -> Self {
        let places = std::iter::repeat_with(AtomicU64::default);
        Self {
            first,
            by,
            size,
            places: places.take(1 << size).collect(),
            used: AtomicU64::new(0),
        }
    }

    fn add(&self, prefix: &Prefix) {
        let bit = self.bit(prefix.length());
        // What is wider than a place is in all the places it covers: up to 256 /16s; IPv6 has no such lengths.
        let covered = 1_u128 << self.by.saturating_sub(prefix.length());
        for place in 0..covered {
            let bits = prefix.bits() | place << (128 - self.by);
            if let Some(bitmap) = self.places.get(self.place(bits)) {
                set(bitmap, bit);
            }
        }
        set(&self.used, bit);
    }

    fn at(&self, bits: u128) -> u64 {
        let used = self.used.load(Ordering::Relaxed);
        if used == 0 {
            return 0;
        }
        let place = self.places.get(self.place(bits));
        used & place.map_or(0, |bitmap| bitmap.load(Ordering::Relaxed))
    }

    fn bit(&self, length: u8) -> u64 {
        1 << (length - self.first)
    }

    fn place(&self, bits: u128) -> usize {
        let shared = (bits >> (128 - self.by)) as u64;
        if self.by == self.size {
            return shared as usize;
        }
        // Fibonacci hashing; who chooses addresses can at most make look-ups probe lengths that are used elsewhere.
        (shared.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - self.size)) as usize
    }
}

fn set(bitmap: &AtomicU64, bit: u64) {
    if bitmap.load(Ordering::Relaxed) & bit == 0 {
        bitmap.fetch_or(bit, Ordering::Relaxed);
    }
}
