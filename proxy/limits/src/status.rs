//! A set of status codes.

use std::ops::RangeInclusive;

/// Which statuses count as errors; 100 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StatusSet([u64; 8]);

impl StatusSet {
    const FIRST: u16 = 100;
    const LAST: u16 = 599;

    /// The statuses of all ranges, or `None` when there are none or one is outside 100..=599.
    pub fn new(ranges: &[RangeInclusive<u16>]) -> Option<Self> {
        let mut set = Self::default();
        for range in ranges {
            if *range.start() < Self::FIRST || *range.end() > Self::LAST {
                return None;
            }
            for status in range.clone() {
                let bit = usize::from(status - Self::FIRST);
                *set.0.get_mut(bit / 64)? |= 1 << (bit % 64);
            }
        }
        (!set.is_empty()).then_some(set)
    }

    /// Whether it is among them.
    pub fn contains(&self, status: u16) -> bool {
        let Some(bit) = status.checked_sub(Self::FIRST).map(usize::from) else {
            return false;
        };
        self.0
            .get(bit / 64)
            .is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_its_ranges_and_nothing_else() {
        let set = StatusSet::new(&[401..=401, 403..=404, 500..=599]).unwrap();
        for status in 0..=u16::MAX {
            let inside = matches!(status, 401 | 403 | 404 | 500..=599);
            assert_eq!(set.contains(status), inside, "{status}");
        }
    }

    #[test]
    fn a_status_outside_http_or_no_status_makes_no_set() {
        assert_eq!(StatusSet::new(&[99..=200]), None);
        assert_eq!(StatusSet::new(&[500..=600]), None);
        assert_eq!(StatusSet::new(&[]), None);
    }
}
