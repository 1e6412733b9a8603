//! May a stored answer be used for this request now (RFC 9111 §4)?

use super::{Facts, Request};
use crate::directives::{Delta, MaxStale};
use std::time::{Duration, SystemTime};

/// What to do with a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Send it. It may be past its lifetime if the client takes that (`max-stale`).
    Send,
    /// Ask the origin whether it still holds; if the origin fails, `on_error` says whether it may be sent stale.
    Validate {
        /// `stale-if-error` allows it.
        on_error: bool,
    },
    /// This request may not see it.
    Never,
}

/// Decides for one stored answer and one request.
#[must_use]
pub fn reuse(facts: &Facts, request: &Request, now: SystemTime) -> Reuse {
    if request.authorized && !facts.for_authorized {
        return Reuse::Never;
    }
    let age = facts.age(now);
    let on_error = !facts.stale_if_error.is_zero()
        && age < facts.lifetime.saturating_add(facts.stale_if_error);
    let validate = Reuse::Validate { on_error };
    let directives = &request.directives;

    // An answer that came after the request did is as good as one fetched for it: that is what lets requests with
    // `no-cache` share one validation (§4, collapsing).
    let since_asked = facts.received >= request.arrived;
    if directives.no_cache && !since_asked {
        return validate;
    }
    if let Some(max_age) = seconds(directives.max_age)
        && age > max_age
        && !since_asked
        && directives.max_stale == MaxStale::No
    {
        return validate;
    }
    let min_fresh = seconds(directives.min_fresh).unwrap_or_default();
    if facts.lifetime > age.saturating_add(min_fresh) {
        return Reuse::Send;
    }
    if facts.stale_forbidden || !min_fresh.is_zero() {
        return validate;
    }
    let past = age.saturating_sub(facts.lifetime);
    match request.max_stale() {
        MaxStale::Any => Reuse::Send,
        MaxStale::Seconds(allowed) if past <= Duration::from_secs(allowed.into()) => Reuse::Send,
        MaxStale::Seconds(_) | MaxStale::No => validate,
    }
}

fn seconds(delta: Delta) -> Option<Duration> {
    match delta {
        Delta::Seconds(seconds) => Some(Duration::from_secs(seconds.into())),
        // A limit nobody can read is the strictest.
        Delta::Invalid => Some(Duration::ZERO),
        Delta::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CACHE_CONTROL;
    use http::{HeaderMap, HeaderValue, Method};

    const BORN: SystemTime = SystemTime::UNIX_EPOCH;

    fn facts(lifetime: u64) -> Facts {
        Facts {
            received: BORN,
            born: BORN,
            lifetime: Duration::from_secs(lifetime),
            stale_if_error: Duration::ZERO,
            stale_forbidden: false,
            for_authorized: false,
        }
    }

    fn request(cache_control: &str, arrived: u64) -> Request {
        let mut headers = HeaderMap::new();
        if !cache_control.is_empty() {
            headers.insert(CACHE_CONTROL, HeaderValue::from_str(cache_control).unwrap());
        }
        Request::read(&Method::GET, &headers, at(arrived)).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        BORN + Duration::from_secs(seconds)
    }

    const VALIDATE: Reuse = Reuse::Validate { on_error: false };

    #[test]
    fn an_answer_is_fresh_while_its_lifetime_exceeds_its_age() {
        assert_eq!(reuse(&facts(60), &request("", 59), at(59)), Reuse::Send);
        assert_eq!(reuse(&facts(60), &request("", 60), at(60)), VALIDATE);
    }

    #[test]
    fn what_a_request_says_is_heard() {
        // RFC 9111 §5.2.1; the stored answer lives 60 s.
        for (directives, now, expected) in [
            ("no-cache", 1, VALIDATE),
            ("max-age=10", 10, Reuse::Send),
            ("max-age=10", 11, VALIDATE),
            ("max-age=oops", 1, VALIDATE),
            ("max-age=10, max-stale", 11, Reuse::Send),
            ("min-fresh=10", 49, Reuse::Send),
            ("min-fresh=10", 50, VALIDATE),
            ("max-stale", 6_000, Reuse::Send),
            ("max-stale=5", 65, Reuse::Send),
            ("max-stale=5", 66, VALIDATE),
            ("max-stale=x", 61, VALIDATE),
        ] {
            assert_eq!(
                reuse(&facts(60), &request(directives, now), at(now)),
                expected,
                "{directives} at {now}"
            );
        }
    }

    #[test]
    fn no_cache_takes_an_answer_that_came_after_it_had_been_asked() {
        let facts = Facts {
            received: at(5),
            ..facts(60)
        };
        assert_eq!(reuse(&facts, &request("no-cache", 5), at(6)), Reuse::Send);
        assert_eq!(reuse(&facts, &request("no-cache", 6), at(6)), VALIDATE);
    }

    #[test]
    fn no_client_gets_stale_what_the_origin_wants_validated() {
        let facts = Facts {
            stale_forbidden: true,
            ..facts(60)
        };
        assert_eq!(reuse(&facts, &request("max-stale", 61), at(61)), VALIDATE);
    }

    #[test]
    fn stale_if_error_ends_with_its_time() {
        let facts = Facts {
            stale_if_error: Duration::from_secs(30),
            ..facts(60)
        };
        assert_eq!(
            reuse(&facts, &request("", 89), at(89)),
            Reuse::Validate { on_error: true }
        );
        assert_eq!(reuse(&facts, &request("", 90), at(90)), VALIDATE);
    }

    #[test]
    fn authorization_needs_an_origin_that_shares_expressly() {
        let mut asked = request("", 1);
        asked.authorized = true;
        assert_eq!(reuse(&facts(60), &asked, at(1)), Reuse::Never);
        assert_eq!(
            reuse(
                &Facts {
                    for_authorized: true,
                    ..facts(60)
                },
                &asked,
                at(1)
            ),
            Reuse::Send
        );
    }
}
