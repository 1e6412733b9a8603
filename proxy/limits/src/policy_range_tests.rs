//! What a policy may be.

use super::*;

#[test]
fn a_policy_outside_its_ranges_is_refused_by_name() {
    let rate = |limit, window, burst| Bound::Rate {
        of: Measure::Bytes,
        limit,
        window: Duration::from_millis(window),
        burst,
    };
    let none = Bound::Rate {
        of: Measure::Errors(StatusSet::default()),
        limit: 1,
        window: Duration::from_secs(1),
        burst: 0,
    };
    let base = || spec(vec![Part::Address]);
    let header = |name: &str| vec![Part::Header(name.into())];
    let cases = [
        (
            Spec {
                name: String::new(),
                ..base()
            },
            "name",
        ),
        (
            Spec {
                name: "a\"b".into(),
                ..base()
            },
            "name",
        ),
        (
            Spec {
                name: "a".repeat(65),
                ..base()
            },
            "name",
        ),
        (
            Spec {
                bound: rate(0, 1000, 0),
                ..base()
            },
            "limit",
        ),
        (
            Spec {
                bound: rate(AMOUNT_MAX + 1, 1000, 0),
                ..base()
            },
            "limit",
        ),
        (
            Spec {
                bound: rate(1, 99, 0),
                ..base()
            },
            "window",
        ),
        (
            Spec {
                bound: rate(1, 86_400_001, 0),
                ..base()
            },
            "window",
        ),
        (
            Spec {
                bound: rate(1, 1000, 101),
                ..base()
            },
            "burst",
        ),
        (
            Spec {
                bound: Bound::InFlight { limit: 0 },
                ..base()
            },
            "limit",
        ),
        (
            Spec {
                bound: none,
                ..base()
            },
            "statuses",
        ),
        (
            Spec {
                penalty: DAY + WINDOW_MIN,
                ..base()
            },
            "penalty",
        ),
        (
            Spec {
                v4_prefix: 7,
                ..base()
            },
            "IPv4",
        ),
        (
            Spec {
                v4_prefix: 33,
                ..base()
            },
            "IPv4",
        ),
        (
            Spec {
                v6_prefix: 31,
                ..base()
            },
            "IPv6",
        ),
        (
            Spec {
                v6_prefix: 129,
                ..base()
            },
            "IPv6",
        ),
        (
            Spec {
                key: vec![],
                ..base()
            },
            "parts",
        ),
        (
            Spec {
                key: vec![Part::Site, Part::Site],
                ..base()
            },
            "parts",
        ),
        (
            Spec {
                key: header("X-Key"),
                ..base()
            },
            "X-Key",
        ),
        (
            Spec {
                key: header("x key"),
                ..base()
            },
            "x key",
        ),
        (
            Spec {
                key: header(""),
                ..base()
            },
            "token",
        ),
    ];
    for (spec, word) in cases {
        let error = Policy::new(&table(), &spec, "").unwrap_err().to_string();
        assert!(error.contains(word), "{error} does not speak of {word}");
    }
}
