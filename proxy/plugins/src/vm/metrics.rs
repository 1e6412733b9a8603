//! Metrics a module defines, exported as `aegis_plugin_metric{plugin,name}`.
//!
//! A histogram is exported as the two series `<name>_count` and `<name>_sum`: a module gives no buckets.

use crate::limits::hit;
use aegis_telemetry::metrics::PLUGIN_METRIC;
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::sync::Arc;

const METRICS_MAX: usize = 256;
const METRIC_NAME_MAX: usize = 256;

/// `metric_type` of the ABI.
pub(crate) mod metric_type {
    pub(crate) const COUNTER: i32 = 0;
    pub(crate) const GAUGE: i32 = 1;
    pub(crate) const HISTOGRAM: i32 = 2;
}

/// Metrics of one plugin; an id is its place, from 1 on, the same in every instance.
pub(crate) struct Metrics {
    plugin: String,
    inner: Mutex<Vec<Arc<Metric>>>,
}

struct Metric {
    kind: i32,
    name: String,
    value: Mutex<u64>,
    /// The value; of a histogram the sum.
    series: IntGauge,
    count: Option<IntGauge>,
}

/// Why a metric does not do as it is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MetricError {
    /// There is none with this id.
    NotFound,
    /// Not for this type, or not a name.
    BadArgument,
    /// Too many.
    Full,
}

impl Metrics {
    pub(crate) fn new(plugin: &str) -> Self {
        Self {
            plugin: plugin.to_owned(),
            inner: Mutex::default(),
        }
    }

    /// The metric of this name, which is made if there is none.
    pub(crate) fn define(&self, kind: i32, name: &[u8]) -> Result<u32, MetricError> {
        let name = std::str::from_utf8(name).map_err(|_| MetricError::BadArgument)?;
        let known = [
            metric_type::COUNTER,
            metric_type::GAUGE,
            metric_type::HISTOGRAM,
        ]
        .contains(&kind);
        if !known || name.is_empty() || name.len() > METRIC_NAME_MAX {
            return Err(MetricError::BadArgument);
        }
        let mut metrics = self.inner.lock();
        if let Some(place) = metrics.iter().position(|metric| metric.name == name) {
            let same = metrics.get(place).is_some_and(|metric| metric.kind == kind);
            let id = u32::try_from(place + 1).map_err(|_| MetricError::Full)?;
            return if same {
                Ok(id)
            } else {
                Err(MetricError::BadArgument)
            };
        }
        if metrics.len() >= METRICS_MAX {
            hit("plugin_metrics");
            return Err(MetricError::Full);
        }
        let series = |name: &str| PLUGIN_METRIC.with(&[&self.plugin, name]);
        let histogram = kind == metric_type::HISTOGRAM;
        metrics.push(Arc::new(Metric {
            kind,
            name: name.to_owned(),
            value: Mutex::default(),
            series: if histogram {
                series(&format!("{name}_sum"))
            } else {
                series(name)
            },
            count: histogram.then(|| series(&format!("{name}_count"))),
        }));
        u32::try_from(metrics.len()).map_err(|_| MetricError::Full)
    }

    /// Sets a gauge, adds to a counter, observes for a histogram; as Envoy does.
    pub(crate) fn record(&self, id: u32, value: u64) -> Result<(), MetricError> {
        let metric = self.find(id)?;
        match metric.kind {
            metric_type::GAUGE => metric.change(|_| value),
            metric_type::COUNTER => metric.change(|old| old.saturating_add(value)),
            _ => {
                metric.change(|old| old.saturating_add(value));
                if let Some(count) = &metric.count {
                    count.inc();
                }
            }
        }
        Ok(())
    }

    /// Moves a gauge either way, a counter upwards.
    pub(crate) fn increment(&self, id: u32, offset: i64) -> Result<(), MetricError> {
        let metric = self.find(id)?;
        let fits = match metric.kind {
            metric_type::GAUGE => true,
            metric_type::COUNTER => offset >= 0,
            _ => false,
        };
        if !fits {
            return Err(MetricError::BadArgument);
        }
        metric.change(|old| old.saturating_add_signed(offset));
        Ok(())
    }

    /// The value of a counter or gauge.
    pub(crate) fn get(&self, id: u32) -> Result<u64, MetricError> {
        let metric = self.find(id)?;
        if metric.kind == metric_type::HISTOGRAM {
            return Err(MetricError::BadArgument);
        }
        Ok(*metric.value.lock())
    }

    /// All of them, by id, for a snapshot.
    pub(crate) fn kept(&self) -> Vec<crate::snapshot::Metric> {
        let kept = |metric: &Arc<Metric>| crate::snapshot::Metric {
            kind: metric.kind,
            name: metric.name.clone(),
            value: *metric.value.lock(),
            count: metric.count.as_ref().map_or(0, IntGauge::get),
        };
        self.inner.lock().iter().map(kept).collect()
    }

    /// Makes those of a snapshot again; `false` if they do not get the ids they had.
    pub(crate) fn restore(&self, metrics: &[crate::snapshot::Metric]) -> bool {
        metrics.iter().zip(1..).all(|(kept, id)| {
            let defined = self.define(kept.kind, kept.name.as_bytes());
            let Some(metric) = self.find(id).ok().filter(|_| defined == Ok(id)) else {
                return false;
            };
            metric.change(|_| kept.value);
            if let Some(count) = &metric.count {
                count.set(kept.count);
            }
            true
        })
    }

    fn find(&self, id: u32) -> Result<Arc<Metric>, MetricError> {
        let metrics = self.inner.lock();
        let place = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        place
            .and_then(|place| metrics.get(place))
            .cloned()
            .ok_or(MetricError::NotFound)
    }
}

impl Metric {
    fn change(&self, act: impl Fn(u64) -> u64) {
        // Held until it is exported: of two changes at a time the older one must not be seen last.
        let mut value = self.value.lock();
        *value = act(*value);
        self.series.set(i64::try_from(*value).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metric_type::{COUNTER, GAUGE, HISTOGRAM};

    #[test]
    fn a_metric_counts_and_is_exported_under_the_plugins_name() {
        let metrics = Metrics::new("metrics-test");
        let counter = metrics.define(COUNTER, b"seen").expect("room");
        let gauge = metrics.define(GAUGE, b"level").expect("room");
        let histogram = metrics.define(HISTOGRAM, b"size").expect("room");
        assert_eq!(metrics.define(COUNTER, b"seen"), Ok(counter));
        metrics.increment(counter, 2).expect("up");
        metrics.record(counter, 3).expect("adds");
        metrics.record(gauge, 7).expect("sets");
        metrics.increment(gauge, -9).expect("down to zero");
        metrics.record(histogram, 10).expect("observes");
        metrics.record(histogram, 5).expect("observes");
        assert_eq!((metrics.get(counter), metrics.get(gauge)), (Ok(5), Ok(0)));
        let text = aegis_telemetry::metrics::render();
        for line in [
            "name=\"seen\",plugin=\"metrics-test\"} 5",
            "name=\"size_sum\",plugin=\"metrics-test\"} 15",
            "name=\"size_count\",plugin=\"metrics-test\"} 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn what_a_metric_cannot_do_is_refused() {
        let metrics = Metrics::new("metrics-test-2");
        let counter = metrics.define(COUNTER, b"c").expect("room");
        let histogram = metrics.define(HISTOGRAM, b"h").expect("room");
        assert_eq!(metrics.define(GAUGE, b"c"), Err(MetricError::BadArgument));
        assert_eq!(metrics.define(3, b"x"), Err(MetricError::BadArgument));
        assert_eq!(metrics.define(COUNTER, b""), Err(MetricError::BadArgument));
        assert_eq!(
            metrics.define(COUNTER, b"\xff"),
            Err(MetricError::BadArgument)
        );
        assert_eq!(
            metrics.increment(counter, -1),
            Err(MetricError::BadArgument)
        );
        assert_eq!(
            metrics.increment(histogram, 1),
            Err(MetricError::BadArgument)
        );
        assert_eq!(metrics.get(histogram), Err(MetricError::BadArgument));
        for unknown in [0, 3, u32::MAX] {
            assert_eq!(metrics.get(unknown), Err(MetricError::NotFound));
        }
        for n in 2..METRICS_MAX {
            metrics
                .define(COUNTER, format!("n{n}").as_bytes())
                .expect("room");
        }
        assert_eq!(metrics.define(COUNTER, b"more"), Err(MetricError::Full));
    }
}
