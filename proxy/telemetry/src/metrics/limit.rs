//! Counters of a limit, resolved when it first refuses.

use super::{LIMITS_REFUSED, LIMITS_WOULD_REFUSE};
use prometheus::IntCounter;
use std::sync::{Arc, OnceLock};

/// The counters of one limit of a site. A limit that never refuses has no series.
#[derive(Debug)]
pub struct LimitMetrics {
    site: Arc<str>,
    name: Box<str>,
    refused: OnceLock<IntCounter>,
    would_refuse: OnceLock<IntCounter>,
}

impl LimitMetrics {
    /// Of the limit with this name.
    #[must_use]
    pub fn new(site: &Arc<str>, name: &str) -> Self {
        Self {
            site: Arc::clone(site),
            name: name.into(),
            refused: OnceLock::new(),
            would_refuse: OnceLock::new(),
        }
    }

    /// The limit's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn refused(&self, dry_run: bool) {
        let (once, family) = if dry_run {
            (&self.would_refuse, &LIMITS_WOULD_REFUSE)
        } else {
            (&self.refused, &LIMITS_REFUSED)
        };
        once.get_or_init(|| family.with(&[&self.site, &self.name]))
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::render;

    #[test]
    fn a_limit_has_series_once_it_refused_or_would_have() {
        let limit = LimitMetrics::new(&"limited.example".into(), "client");
        assert!(!render().contains("limited.example"));
        limit.refused(false);
        limit.refused(false);
        limit.refused(true);
        let text = render();
        for line in [
            "aegis_limits_refused_total{limit=\"client\",site=\"limited.example\"} 2",
            "aegis_limits_would_refuse_total{limit=\"client\",site=\"limited.example\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
