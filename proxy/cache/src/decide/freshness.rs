//! How long an answer is fresh, and how old it was when it came (RFC 9111 §4.2).

use crate::directives::{Delta, ResponseDirectives, delta_seconds};
use http::header::{AGE, DATE, EXPIRES, HeaderName, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};
use std::time::{Duration, SystemTime};

/// No guess is longer than this.
pub const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// RFC 9110 §15.1: statuses a cache may guess a lifetime for; 206 is not stored here at all.
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Freshness lifetime; `None` if nothing gives one.
pub(super) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    received: SystemTime,
    ttl_default: Duration,
) -> Option<Duration> {
    for delta in [directives.s_maxage, directives.max_age] {
        match delta {
            Delta::Seconds(seconds) => return Some(Duration::from_secs(seconds.into())),
            // §4.2.1: an invalid value is encouraged to mean stale.
            Delta::Invalid => return Some(Duration::ZERO),
            Delta::Absent => {}
        }
    }
    let date = date(headers, &DATE).unwrap_or(received);
    if headers.contains_key(EXPIRES) {
        // §5.3: an invalid date, `0` above all, is in the past; so are two of them.
        let expires = self::date(headers, &EXPIRES);
        return Some(
            expires
                .and_then(|expires| expires.duration_since(date).ok())
                .unwrap_or_default(),
        );
    }
    if !is_heuristically_cacheable(status) && !directives.public {
        return None;
    }
    // §4.2.2: a tenth of the time since the last change.
    let guess = self::date(headers, &LAST_MODIFIED)
        .and_then(|modified| date.duration_since(modified).ok())
        .map(|unchanged| unchanged / 10);
    guess
        .or_else(|| (!ttl_default.is_zero()).then_some(ttl_default))
        .map(|lifetime| lifetime.min(HEURISTIC_MAX.max(ttl_default)))
}

/// `corrected_initial_age` of §4.2.3.
///
/// `asked` is when the request went out. Where the origin dates its answer inside the exchange and no cache stands
/// before it (no `Age`), that date bounds the age better than the whole exchange does: an origin that needs 2 s for
/// a page with `max-age=1` can still be helped.
pub(super) fn initial_age(
    headers: &HeaderMap,
    asked: SystemTime,
    received: SystemTime,
) -> Duration {
    let delay = received.duration_since(asked).unwrap_or_default();
    let date = date(headers, &DATE);
    let apparent = date
        .and_then(|date| received.duration_since(date).ok())
        .unwrap_or_default();
    if headers.contains_key(AGE) {
        // §5.1: more than one, or none that can be read: the first, else it says nothing.
        let value = headers
            .get(AGE)
            .and_then(|value| delta_seconds(value.as_bytes()))
            .unwrap_or(0);
        return apparent.max(Duration::from_secs(value.into()) + delay);
    }
    // Dates have whole seconds, so the second `asked` falls into counts as inside.
    let made_inside = date.is_some_and(|date| date + Duration::from_secs(1) > asked);
    if made_inside {
        apparent.min(delay)
    } else {
        apparent.max(delay)
    }
}

/// A date that stands in the head exactly once and can be read (RFC 9110 §5.6.7).
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}
