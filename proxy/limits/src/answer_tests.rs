use super::*;
use crate::{Part, Spec, StatusSet, Table};
use std::time::Duration;

fn policy(name: &str, bound: Bound) -> Policy {
    let table = Table::new(Table::ENTRIES_MIN, [7; 32], 0).unwrap();
    let spec = Spec {
        name: name.into(),
        bound,
        key: vec![Part::Address],
        penalty: Duration::ZERO,
        dry_run: false,
        v4_prefix: 32,
        v6_prefix: 64,
    };
    Policy::new(&table, &spec, "").unwrap()
}

fn rate(of: Measure, limit: u64, window: Duration) -> Bound {
    Bound::Rate {
        of,
        limit,
        window,
        burst: 0,
    }
}

#[test]
fn policies_are_told_as_a_list_of_strings_with_parameters() {
    let requests = Measure::Requests {
        count_refused: false,
    };
    let errors = Measure::Errors(StatusSet::new(&[401..=401]).unwrap());
    let second = Duration::from_secs(1);
    let mut field = String::new();
    for policy in [
        policy("api", rate(requests.clone(), 100, Duration::from_mins(1))),
        policy("fast", rate(requests, 5, Duration::from_millis(500))),
        policy(
            "bytes",
            rate(Measure::Bytes, 1 << 20, Duration::from_hours(1)),
        ),
        policy("open", Bound::InFlight { limit: 10 }),
        policy("login", rate(errors, 3, second)),
        policy("waf", rate(Measure::WafMicros, 50_000, second)),
    ] {
        write_ratelimit_policy(&mut field, &policy);
    }
    assert_eq!(
        field,
        "\"api\";q=100;w=60, \"fast\";q=5, \"bytes\";q=1048576;qu=\"content-bytes\";w=3600, \
         \"open\";q=10;qu=\"concurrent-requests\", \"login\";q=3;qu=\"errors\";w=1, \
         \"waf\";q=50000;qu=\"waf-microseconds\";w=1"
    );
}

#[test]
fn what_is_left_is_told_with_whole_seconds_rounded_up() {
    let policy = policy("api", Bound::InFlight { limit: 10 });
    let mut field = String::new();
    for (remaining, wait) in [(3, 0), (0, 1), (9, SECOND), (9, SECOND + 1), (u64::MAX, 0)] {
        let answer = Answer {
            outcome: Outcome::Allow,
            remaining,
            wait,
            first: false,
        };
        write_ratelimit(&mut field, &policy, &answer);
    }
    assert_eq!(
        field,
        "\"api\";r=3, \"api\";r=0;t=1, \"api\";r=9;t=1, \"api\";r=9;t=2, \"api\";r=999999999999999"
    );
}

#[test]
fn retry_after_is_never_zero_nor_too_early() {
    for (wait, seconds) in [
        (0, 1),
        (1, 1),
        (SECOND, 1),
        (SECOND + 1, 2),
        (u64::MAX, 18_446_744_074),
    ] {
        let answer = Answer {
            outcome: Outcome::Limited(Why::Exceeded),
            remaining: 0,
            wait,
            first: false,
        };
        assert_eq!(answer.retry_after(), seconds);
    }
}
