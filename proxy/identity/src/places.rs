//! Places of which there are so many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts who has a place; how many there are is said by whoever asks for one.
#[derive(Debug, Default)]
pub struct Places(AtomicUsize);

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// A place, unless `max` are taken.
    #[must_use]
    pub fn take(self: &Arc<Self>, max: usize) -> Option<Place> {
        if self.0.fetch_add(1, Ordering::AcqRel) >= max {
            self.0.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::{Ordering, Places};
    use std::sync::Arc;

    #[test]
    fn there_are_so_many_places_and_not_one_more() {
        let places = Arc::new(Places::default());
        let (first, second) = (places.take(2), places.take(2));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(2).is_none());
        assert!(places.take(3).is_some(), "what is asked for counts");
        drop(first);
        let third = places.take(2);
        assert!(third.is_some());
        drop((second, third));
        assert_eq!(places.0.load(Ordering::Relaxed), 0);
    }
}
