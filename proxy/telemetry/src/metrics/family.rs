//! Labelled metrics with a bound on their label sets.

use super::{opts, registered};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::collections::HashSet;

/// What is past the bound counts under this name.
const OTHER: &str = "other";

/// The label sets a family has given out.
struct Seen {
    max: usize,
    sets: Mutex<HashSet<String>>,
}

impl Seen {
    /// Whether these labels may have a series of their own.
    fn admit(&self, labels: &[&str]) -> bool {
        let key = labels.join("\u{1f}");
        let mut sets = self.sets.lock();
        if sets.contains(&key) {
            return true;
        }
        if sets.len() >= self.max {
            return false;
        }
        sets.insert(key)
    }

    fn forget(&self, labels: &[&str]) {
        self.sets.lock().remove(&labels.join("\u{1f}"));
    }
}

macro_rules! family {
    ($(#[$doc:meta])* $name:ident, $vec:ty, $one:ty) => {
        $(#[$doc])*
        pub struct $name {
            vec: $vec,
            labels: usize,
            seen: Seen,
        }

        impl $name {
            pub(crate) fn new(name: &str, help: &str, labels: &[&str], max: usize) -> Self {
                let vec = registered(<$vec>::new(opts(name, help), labels));
                Self { vec, labels: labels.len(), seen: Seen { max, sets: Mutex::default() } }
            }

            /// The series of these labels; past the bound the one called `other`.
            ///
            /// Costs a lock and a look-up: keep what it returns where a request passes.
            pub fn with(&self, labels: &[&str]) -> $one {
                debug_assert_eq!(labels.len(), self.labels);
                if self.seen.admit(labels)
                    && let Ok(series) = self.vec.get_metric_with_label_values(labels)
                {
                    return series;
                }
                self.vec.with_label_values(&vec![OTHER; self.labels])
            }

            /// Ends a series: what it spoke of is no more.
            pub fn forget(&self, labels: &[&str]) {
                self.seen.forget(labels);
                // Never made, or gone already: either way it is not there.
                drop(self.vec.remove_label_values(labels));
            }

            /// Ends all series.
            pub fn clear(&self) {
                self.seen.sets.lock().clear();
                self.vec.reset();
            }
        }
    };
}

family!(
    /// Counters by label.
    Family,
    IntCounterVec,
    IntCounter
);
family!(
    /// Gauges by label.
    GaugeFamily,
    IntGaugeVec,
    IntGauge
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_past_the_bound_count_as_other() {
        let family = Family::new("test_bound_total", "test", &["a", "b"], 2);
        family.with(&["1", "x"]).inc();
        family.with(&["2", "x"]).inc();
        family.with(&["3", "x"]).inc();
        family.with(&["4", "x"]).inc();
        assert_eq!(family.with(&["1", "x"]).get(), 1);
        assert_eq!(family.vec.with_label_values(&["other", "other"]).get(), 2);
        family.forget(&["2", "x"]);
        family.with(&["3", "x"]).inc();
        assert_eq!(family.vec.with_label_values(&["3", "x"]).get(), 1);
    }
}
