//! Counters of a site and of a pool, resolved once when a snapshot is built.

use super::{Family, ORIGIN_REQUESTS, REQUEST_SECONDS};
use parking_lot::Mutex;
use prometheus::IntCounter;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Sites with a series of their own; the rest are counted as `other`.
pub const SITES_MAX: usize = 1000;
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

static REQUESTS: LazyLock<Family> = LazyLock::new(|| {
    Family::new(
        "aegis_requests_total",
        "Requests by site and class of status",
        &["site", "class"],
        (SITES_MAX + 1) * CLASSES.len(),
    )
});
static WAF_VERDICTS: LazyLock<Family> = LazyLock::new(|| {
    Family::new(
        "aegis_waf_verdicts_total",
        "Requests by site and what the WAF said",
        &["site", "verdict"],
        (SITES_MAX + 1) * WafVerdict::ALL.len(),
    )
});
static SITES: LazyLock<Mutex<HashMap<String, Arc<SiteMetrics>>>> = LazyLock::new(Mutex::default);

/// What the WAF said about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WafVerdict {
    /** No rule stopped it. */
    Clean,
    /** A rule would have stopped it; the mode is `detect`. */
    Detect,
    /** 403, or a cut answer. */
    Block,
    /** A body past a limit, or compressed where that is refused. */
    Limit,
    /** The sandbox failed. */
    Fault,
}

impl WafVerdict {
    const ALL: [Self; 5] = [
        Self::Clean,
        Self::Detect,
        Self::Block,
        Self::Limit,
        Self::Fault,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Detect => "detect",
            Self::Block => "block",
            Self::Limit => "limit",
            Self::Fault => "fault",
        }
    }
}

/// The counters of one site.
#[derive(Debug)]
pub struct SiteMetrics {
    requests: [IntCounter; 6],
    waf: [IntCounter; 5],
}

impl SiteMetrics {
    fn new(name: &str) -> Self {
        Self {
            requests: CLASSES.map(|class| REQUESTS.with(&[name, class])),
            waf: WafVerdict::ALL.map(|verdict| WAF_VERDICTS.with(&[name, verdict.as_str()])),
        }
    }

    /// Counts a finished request; status 0 = the connection ended without one.
    pub fn request(&self, status: u16, duration: Duration) {
        let class = match status {
            100..=599 => usize::from(status / 100 - 1),
            _ => 5,
        };
        self.requests[class].inc();
        REQUEST_SECONDS.observe(duration.as_secs_f64());
    }

    /// Counts a verdict of the WAF.
    pub fn waf(&self, verdict: WafVerdict) {
        self.waf[verdict as usize].inc();
    }
}

/// The counters of the site with this name.
///
/// At most [`SITES_MAX`] names are kept; when they are used up, names that no snapshot holds any more make room, and if
/// there is none the site is counted as `other`.
#[must_use]
pub fn site(name: &str) -> Arc<SiteMetrics> {
    let mut sites = SITES.lock();
    if let Some(found) = sites.get(name) {
        return found.clone();
    }
    if sites.len() >= SITES_MAX {
        sites.retain(|name, metrics| {
            let used = Arc::strong_count(metrics) > 1;
            if !used {
                forget(name);
            }
            used
        });
    }
    let name = if sites.len() >= SITES_MAX {
        "other"
    } else {
        name
    };
    sites
        .entry(name.to_owned())
        .or_insert_with(|| Arc::new(SiteMetrics::new(name)))
        .clone()
}

fn forget(name: &str) {
    for class in CLASSES {
        REQUESTS.forget(&[name, class]);
    }
    for verdict in WafVerdict::ALL {
        WAF_VERDICTS.forget(&[name, verdict.as_str()]);
    }
}

pub(super) fn touch() {
    LazyLock::force(&REQUESTS);
    LazyLock::force(&WAF_VERDICTS);
}

/// The counter of a pool's good answers, resolved; faults are rare and counted by name.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    name: Arc<str>,
    ok: IntCounter,
}

/// The counters of the pool with this name.
#[must_use]
pub fn pool(name: &str) -> PoolMetrics {
    PoolMetrics {
        name: name.into(),
        ok: ORIGIN_REQUESTS.with(&[name, "ok"]),
    }
}

impl PoolMetrics {
    /// The origin answered.
    pub fn ok(&self) {
        self.ok.inc();
    }

    /// It did not; `fault` as in the access log.
    pub fn fault(&self, fault: &str) {
        ORIGIN_REQUESTS.with(&[&self.name, fault]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::render;

    #[test]
    fn a_site_is_counted_by_class_and_verdict_and_names_are_bounded() {
        let shop = site("shop.example.com");
        shop.request(204, Duration::from_millis(3));
        shop.request(0, Duration::ZERO);
        shop.request(999, Duration::ZERO);
        shop.waf(WafVerdict::Block);
        let text = render();
        for line in [
            "aegis_requests_total{class=\"2xx\",site=\"shop.example.com\"} 1",
            "aegis_requests_total{class=\"none\",site=\"shop.example.com\"} 2",
            "aegis_waf_verdicts_total{site=\"shop.example.com\",verdict=\"block\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }

        let held: Vec<_> = (0..SITES_MAX + 10)
            .map(|i| site(&format!("s{i}.example.com")))
            .collect();
        held[SITES_MAX + 5].request(200, Duration::ZERO);
        let text = render();
        assert!(text.contains("aegis_requests_total{class=\"2xx\",site=\"other\"} 1"));
        drop(held);
        site("late.example.com").request(200, Duration::ZERO);
        let text = render();
        assert!(text.contains("aegis_requests_total{class=\"2xx\",site=\"late.example.com\"} 1"));
        assert!(
            text.contains("site=\"shop.example.com\""),
            "a site in use stays"
        );
    }

    #[test]
    fn faults_of_a_pool_are_counted_by_name() {
        let api = pool("api");
        api.ok();
        api.fault("connect_refused");
        let text = render();
        assert!(text.contains("aegis_origin_requests_total{pool=\"api\",result=\"ok\"} 1"));
        assert!(
            text.contains("aegis_origin_requests_total{pool=\"api\",result=\"connect_refused\"} 1")
        );
    }
}
