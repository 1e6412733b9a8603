use super::*;
use http::{HeaderValue, Method};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// 2025-11-18 12:00:00 GMT, the `Date` of the tables.
fn noon() -> SystemTime {
    NOW + Duration::from_secs(1_763_467_200)
}

fn head(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::try_from(*name).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn decide(
    authorized: bool,
    status: u16,
    fields: &[(&str, &str)],
    ttl_default: u64,
) -> Result<Facts, NotStored> {
    let mut asked = HeaderMap::new();
    if authorized {
        asked.insert("authorization", HeaderValue::from_static("Bearer x"));
    }
    let request = Request::read(&Method::GET, &asked, noon()).unwrap();
    let policy = Policy {
        ttl_default: Duration::from_secs(ttl_default),
        object_max: 1_000,
    };
    store(
        &request,
        StatusCode::from_u16(status).unwrap(),
        &head(fields),
        noon(),
        noon(),
        &policy,
    )
}

fn lifetime(status: u16, fields: &[(&str, &str)]) -> Option<u64> {
    decide(false, status, fields, 0)
        .ok()
        .map(|facts| facts.lifetime.as_secs())
}

const DATE_NOON: (&str, &str) = ("date", "Tue, 18 Nov 2025 12:00:00 GMT");

#[test]
fn lifetimes_follow_the_order_of_section_4_2_1() {
    for (fields, expected) in [
        (
            &[
                ("cache-control", "s-maxage=10, max-age=20"),
                ("expires", "Tue, 18 Nov 2025 12:00:30 GMT"),
            ][..],
            Some(10),
        ),
        (
            &[
                ("cache-control", "max-age=20"),
                ("expires", "Tue, 18 Nov 2025 12:00:30 GMT"),
            ],
            Some(20),
        ),
        (&[("expires", "Tue, 18 Nov 2025 12:00:30 GMT")], Some(30)),
        (&[("expires", "Tuesday, 18-Nov-25 12:00:30 GMT")], Some(30)),
        // §5.3: the past, or not a date, is stale, whatever else could be guessed
        (
            &[
                ("expires", "Tue, 18 Nov 2025 11:00:00 GMT"),
                ("last-modified", "Mon, 17 Nov 2025 12:00:00 GMT"),
            ],
            None,
        ),
        (
            &[
                ("expires", "0"),
                ("last-modified", "Mon, 17 Nov 2025 12:00:00 GMT"),
            ],
            None,
        ),
        (
            &[
                ("expires", "Tue, 18 Nov 2025 12:00:30 GMT"),
                ("expires", "Tue, 18 Nov 2025 12:00:30 GMT"),
            ],
            None,
        ),
        (&[("cache-control", "max-age=x")], None),
        (&[("cache-control", "max-age=0")], None),
        // §4.2.2: a tenth of the day since the change; never more than a day
        (
            &[("last-modified", "Mon, 17 Nov 2025 12:00:00 GMT")],
            Some(8_640),
        ),
        (
            &[("last-modified", "Sun, 18 Nov 2001 12:00:00 GMT")],
            Some(86_400),
        ),
        (&[("last-modified", "Wed, 19 Nov 2025 12:00:00 GMT")], None),
        (&[("etag", "\"a\"")], None),
    ] {
        let mut fields = fields.to_vec();
        fields.push(DATE_NOON);
        assert_eq!(lifetime(200, &fields), expected, "{fields:?}");
    }
}

#[test]
fn guesses_are_for_the_statuses_that_allow_them_or_say_public() {
    let changed = ("last-modified", "Mon, 17 Nov 2025 12:00:00 GMT");
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(
            lifetime(status, &[DATE_NOON, changed]),
            Some(8_640),
            "{status}"
        );
    }
    for status in [201, 302, 303, 307, 400, 403, 500, 502, 503] {
        assert_eq!(lifetime(status, &[DATE_NOON, changed]), None, "{status}");
        assert_eq!(
            lifetime(status, &[("cache-control", "max-age=5")]),
            Some(5),
            "{status}"
        );
    }
    assert_eq!(
        lifetime(302, &[DATE_NOON, changed, ("cache-control", "public")]),
        Some(8_640)
    );
}

#[test]
fn the_operators_default_is_for_answers_that_say_nothing() {
    let with_default = |status, fields: &[(&str, &str)]| {
        decide(false, status, fields, 7)
            .ok()
            .map(|facts| facts.lifetime.as_secs())
    };
    assert_eq!(with_default(200, &[]), Some(7));
    assert_eq!(with_default(404, &[]), Some(7));
    assert_eq!(with_default(500, &[]), None);
    assert_eq!(with_default(200, &[("cache-control", "max-age=0")]), None);
    assert_eq!(with_default(200, &[("expires", "0")]), None);
}

#[test]
fn what_may_not_be_stored_is_not() {
    // §3, §3.1, §3.5, §4.1
    let fresh = ("cache-control", "max-age=60");
    for (status, fields, why) in [
        (
            200,
            vec![("cache-control", "max-age=60, no-store")],
            NotStored::NoStore,
        ),
        (
            200,
            vec![("cache-control", "max-age=60, private")],
            NotStored::Private,
        ),
        (
            200,
            vec![("cache-control", "max-age=60, private=\"x-user\"")],
            NotStored::Private,
        ),
        (
            200,
            vec![("cache-control", "max-age=60, no-cache")],
            NotStored::NoCache,
        ),
        (
            200,
            vec![fresh, ("set-cookie", "a=b")],
            NotStored::SetCookie,
        ),
        (200, vec![fresh, ("vary", "*")], NotStored::Vary),
        (200, vec![fresh, ("vary", "accept, *")], NotStored::Vary),
        (
            206,
            vec![fresh, ("content-range", "bytes 0-1/3")],
            NotStored::Status,
        ),
        (304, vec![fresh], NotStored::Status),
        (416, vec![fresh], NotStored::Status),
        (401, vec![fresh], NotStored::Status),
        (101, vec![fresh], NotStored::Status),
        (
            200,
            vec![("cache-control", "max-age=60; no-store")],
            NotStored::Malformed,
        ),
        (
            299,
            vec![("cache-control", "max-age=60, must-understand")],
            NotStored::Status,
        ),
        (
            200,
            vec![fresh, ("content-length", "1001")],
            NotStored::TooLarge,
        ),
        (
            200,
            vec![fresh, ("content-length", "+1")],
            NotStored::TooLarge,
        ),
        (200, vec![fresh, ("age", "60")], NotStored::Stale),
        (
            200,
            vec![fresh, ("connection", "a b")],
            NotStored::Malformed,
        ),
    ] {
        assert_eq!(
            decide(false, status, &fields, 0),
            Err(why),
            "{status} {fields:?}"
        );
    }
    assert!(decide(false, 200, &[fresh, ("content-length", "1000")], 0).is_ok());
    assert!(
        decide(
            false,
            200,
            &[("cache-control", "max-age=60, no-store, must-understand")],
            0
        )
        .is_ok()
    );
    assert!(decide(false, 299, &[fresh], 0).is_ok());
}

#[test]
fn authorization_needs_the_origins_word() {
    // §3.5
    assert_eq!(
        decide(true, 200, &[("cache-control", "max-age=60")], 0),
        Err(NotStored::Authorization)
    );
    for word in [
        "public, max-age=60",
        "s-maxage=60",
        "must-revalidate, max-age=60",
    ] {
        assert!(
            decide(true, 200, &[("cache-control", word)], 0)
                .unwrap()
                .for_authorized,
            "{word}"
        );
    }
}

#[test]
fn stale_if_error_holds_beside_s_maxage_and_not_beside_must_revalidate() {
    let window = |text: &str| {
        decide(false, 200, &[("cache-control", text)], 0)
            .unwrap()
            .stale_if_error
            .as_secs()
    };
    assert_eq!(window("s-maxage=5, stale-if-error=30"), 30);
    assert_eq!(window("max-age=5, stale-if-error=30, must-revalidate"), 0);
    assert_eq!(window("max-age=5, stale-if-error=30, proxy-revalidate"), 0);
    assert_eq!(window("max-age=5, stale-if-error"), 0);
}

#[test]
fn age_at_arrival_counts_the_exchange_unless_the_origin_dated_inside_it() {
    // §4.2.3: asked at noon, answered 8 s later
    let age = |fields: &[(&str, &str)]| {
        freshness::initial_age(&head(fields), noon(), noon() + Duration::from_secs(8)).as_secs()
    };
    assert_eq!(age(&[]), 8);
    assert_eq!(age(&[("date", "Tue, 18 Nov 2025 12:00:07 GMT")]), 1);
    assert_eq!(age(&[("date", "Tue, 18 Nov 2025 12:00:20 GMT")]), 0);
    assert_eq!(age(&[("date", "Tue, 18 Nov 2025 11:59:00 GMT")]), 68);
    assert_eq!(
        age(&[("age", "30"), ("date", "Tue, 18 Nov 2025 12:00:07 GMT")]),
        38
    );
    assert_eq!(
        age(&[("age", "30"), ("date", "Tue, 18 Nov 2025 11:58:00 GMT")]),
        128
    );
    assert_eq!(age(&[("age", "x")]), 8);
}

#[test]
fn fields_of_the_connection_are_not_stored() {
    let headers = head(&[
        ("connection", "close, X-Hop"),
        ("x-hop", "1"),
        ("x-kept", "1"),
        ("keep-alive", "timeout=5"),
        ("age", "3"),
        ("transfer-encoding", "chunked"),
    ]);
    let mut gone: Vec<_> = strip(&headers).iter().map(ToString::to_string).collect();
    gone.sort();
    assert_eq!(
        gone,
        [
            "age",
            "connection",
            "keep-alive",
            "transfer-encoding",
            "x-hop"
        ]
    );
}
