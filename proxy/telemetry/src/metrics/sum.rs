//! Numbers for people, read back from the registry: `/status` says the same as `/metrics`.

use super::{REGISTRY, REQUEST_SECONDS};
use prometheus::core::Collector;

/// The sum of a family's series that have all these labels; 0 if there is none.
#[must_use]
pub fn total(name: &str, labels: &[(&str, &str)]) -> u64 {
    let mut sum = 0.0;
    for family in REGISTRY.gather() {
        if family.name() != name {
            continue;
        }
        for metric in family.get_metric() {
            let has = |(key, value): &(&str, &str)| {
                metric
                    .get_label()
                    .iter()
                    .any(|label| label.name() == *key && label.value() == *value)
            };
            if labels.iter().all(has) {
                sum += metric.get_counter().get_value() + metric.get_gauge().get_value();
            }
        }
    }
    // Counters here are whole and far below 2^53.
    if sum > 0.0 { sum as u64 } else { 0 }
}

/// The time within which this part (0.5, 0.99) of all requests since the start was answered, to the next bucket's
/// bound, in seconds; `None` before the first request.
#[must_use]
pub fn request_seconds(part: f64) -> Option<f64> {
    let families = REQUEST_SECONDS.collect();
    let histogram = families.first()?.get_metric().first()?.get_histogram();
    let count = histogram.get_sample_count();
    if count == 0 {
        return None;
    }
    let wanted = (part * count as f64).ceil();
    let bucket = histogram
        .get_bucket()
        .iter()
        .find(|bucket| bucket.cumulative_count() as f64 >= wanted);
    bucket.map(prometheus::proto::Bucket::upper_bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Family;

    #[test]
    fn totals_add_up_what_has_the_labels() {
        let family = Family::new("test_sum_total", "test", &["site", "class"], 8);
        family.with(&["a", "2xx"]).inc();
        family.with(&["b", "2xx"]).inc_by(2);
        let of = |labels: &[(&str, &str)]| total("test_sum_total", labels);
        assert_eq!(of(&[]), 3);
        assert_eq!(of(&[("site", "a")]), 1);
        assert_eq!(of(&[("class", "2xx")]), 3);
        assert_eq!(of(&[("site", "a"), ("class", "5xx")]), 0);
        assert_eq!(total("no_such_metric", &[]), 0);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        REQUEST_SECONDS.observe(0.003);
        assert!(request_seconds(1.0).is_some_and(|bound| bound >= 0.005));
    }
}
