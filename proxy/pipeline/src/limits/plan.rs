//! The limits of a route, made of its settings.

use super::Limits;
use aegis_limits::{
    Bound, LimitError, Measure, Part, Policy, Rules, Spec, StatusSet, write_ratelimit_policy,
};
use aegis_settings::model::{LimitKey, LimitOf};
use aegis_settings::resolved;
use aegis_telemetry::metrics::LimitMetrics;
use http::HeaderValue;
use std::sync::Arc;
use std::time::Duration;

/// Limits that hold for all requests of a route.
pub(crate) struct RouteLimits {
    pub(crate) node: Arc<Limits>,
    pub(crate) rules: Arc<Rules>,
    /// As many as `rules` has policies, in their order.
    pub(crate) facts: Box<[PolicyFacts]>,
    /// `RateLimit-Policy`; `None` = clients are told nothing.
    pub(crate) told: Option<HeaderValue>,
}

/// What is worked out once for a policy.
#[derive(Debug)]
pub(crate) struct PolicyFacts {
    pub(crate) metrics: LimitMetrics,
    /// `client: 500 requests in 10s by address`
    pub(crate) sentence: Box<str>,
}

impl RouteLimits {
    /// `None` when there are no limits.
    ///
    /// # Errors
    /// What the room does not take; settings that passed their checks have nothing of it.
    pub(crate) fn build(
        node: &Arc<Limits>,
        site: &Arc<str>,
        wanted: &resolved::Limits,
    ) -> Result<Option<Arc<Self>>, LimitError> {
        if wanted.policies.is_empty() {
            return Ok(None);
        }
        let table = node.table()?;
        let policies = wanted
            .policies
            .values()
            .map(|policy| Policy::new(&table, &spec(policy)?, site))
            .collect::<Result<Vec<_>, LimitError>>()?;
        let mut told = String::new();
        for policy in policies.iter().filter(|policy| !policy.is_dry_run()) {
            write_ratelimit_policy(&mut told, policy);
        }
        let told = (wanted.headers && !told.is_empty()).then_some(told);
        let facts = wanted.policies.values().map(|policy| PolicyFacts {
            metrics: LimitMetrics::new(site, &policy.name),
            sentence: format!("{}: {}", policy.name, policy.sentence()).into(),
        });
        Ok(Some(Arc::new(Self {
            node: Arc::clone(node),
            facts: facts.collect(),
            rules: Arc::new(Rules::new(table, policies)?),
            told: told.and_then(|told| HeaderValue::try_from(told).ok()),
        })))
    }
}

impl std::fmt::Debug for RouteLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.facts).finish()
    }
}

fn spec(policy: &resolved::LimitPolicy) -> Result<Spec, LimitError> {
    let rate = |of, unit: u64| Bound::Rate {
        of,
        limit: policy.limit.saturating_mul(unit),
        window: policy.window.unwrap_or(Duration::ZERO),
        burst: policy.burst.saturating_mul(unit),
    };
    let bound = match policy.of {
        LimitOf::Requests => {
            let count_refused = policy.count_refused;
            rate(Measure::Requests { count_refused }, 1)
        }
        LimitOf::Bytes => rate(Measure::Bytes, 1),
        LimitOf::Errors => {
            let statuses = StatusSet::new(&policy.statuses);
            let statuses = statuses.ok_or_else(|| LimitError::Statuses(policy.name.clone()))?;
            rate(Measure::Errors(statuses), 1)
        }
        // The room counts microseconds.
        LimitOf::WafMs => rate(Measure::WafMicros, 1000),
        LimitOf::InFlight => Bound::InFlight {
            limit: policy.limit,
        },
    };
    Ok(Spec {
        name: policy.name.clone(),
        bound,
        key: policy.key.iter().map(part).collect(),
        penalty: policy.penalty,
        dry_run: policy.dry_run,
        v4_prefix: policy.v4_prefix,
        v6_prefix: policy.v6_prefix,
    })
}

fn part(key: &LimitKey) -> Part {
    match key {
        LimitKey::Address => Part::Address,
        LimitKey::Path => Part::Path,
        LimitKey::Site => Part::Site,
        LimitKey::Ja4 => Part::Ja4,
        LimitKey::Header(name) => Part::Header(name.clone()),
        LimitKey::Cookie(name) => Part::Cookie(name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use aegis_limits::{POLICIES_MAX, Table};
    use aegis_settings::limits::LIMITS_MAX;

    #[test]
    fn settings_and_the_room_agree_on_how_many_limits_hold_for_a_request() {
        assert_eq!(LIMITS_MAX, POLICIES_MAX);
        let keys = aegis_settings::keys();
        let entries = keys.iter().find(|key| key.path == "node.limits.entries");
        let expected = format!(
            "a whole number from {} to {}",
            Table::ENTRIES_MIN,
            Table::ENTRIES_MAX
        );
        assert_eq!(entries.expect("there").expected, expected);
    }
}
