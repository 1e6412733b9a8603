use super::*;
use crate::{FaultKind, RULE_BAN_MAX, RuleSpec};
use std::net::{IpAddr, Ipv4Addr};

const NOW: Millis = 1_800_000_000_000;
const SECOND: Millis = 1000;
const MINUTE: Millis = 60 * SECOND;

fn spec() -> RuleSpec {
    RuleSpec {
        name: "waf".into(),
        fault: FaultKind::WafBlock,
        count: 5,
        window: MINUTE,
        ban: 10 * MINUTE,
        ban_max: 60 * MINUTE,
        v6_prefix: 64,
        node: Some((3, 60 * MINUTE)),
    }
}

fn tracker(spec: RuleSpec) -> Tracker {
    Tracker::new(vec![Rule::new(spec).unwrap()], [7; 16]).unwrap()
}

/// A fault of a new request.
fn fault(tracker: &Tracker, address: &str, site: &str, now: Millis) -> Option<Verdict> {
    let request = format!("{}", fastrand::u128(..));
    tracker.report(&report(address, site, &request), now)
}

fn report<'a>(address: &str, site: &'a str, request: &'a str) -> Report<'a> {
    Report {
        fault: FaultKind::WafBlock,
        address: address.parse().unwrap(),
        forwarded: false,
        site: Some(site),
        request,
        id: request,
    }
}

/// As many faults as it takes for a ban.
fn until_banned(tracker: &Tracker, address: &str, site: &str, now: Millis) -> Verdict {
    (0..5)
        .find_map(|_| fault(tracker, address, site, now))
        .unwrap()
}

#[test]
fn the_fifth_fault_in_a_minute_bans_for_ten_on_that_site() {
    let tracker = tracker(spec());
    for n in 0..4 {
        assert_eq!(fault(&tracker, "192.0.2.7", "shop", NOW + n), None);
    }
    let last = report("192.0.2.7", "shop", "01J0000000000000000000000A");
    let ban = tracker.report(&last, NOW + MINUTE - 1).unwrap();
    assert_eq!(ban.prefix.to_string(), "192.0.2.7");
    assert_eq!(ban.scope, Scope::Site("shop".into()));
    assert_eq!(ban.author, Author::Rule("waf".into()));
    assert_eq!(&*ban.reason, "5 WAF blocks in 60 s");
    assert_eq!(ban.request.as_deref(), Some("01J0000000000000000000000A"));
    assert_eq!(ban.until, Some(NOW + MINUTE - 1 + 10 * MINUTE));
    assert!(!ban.l7_only && ban.check().is_ok());
}

#[test]
fn faults_spread_over_more_than_the_window_ban_nobody() {
    let tracker = tracker(spec());
    for n in 0..1000 {
        assert_eq!(
            fault(&tracker, "192.0.2.7", "shop", NOW + n * 15 * SECOND),
            None
        );
    }
}

#[test]
fn one_request_is_one_fault_however_often_it_is_reported() {
    let tracker = tracker(spec());
    for _ in 0..100 {
        assert_eq!(
            tracker.report(&report("192.0.2.7", "shop", "same"), NOW),
            None
        );
    }
}

#[test]
fn sites_addresses_and_kinds_of_fault_are_told_apart() {
    let tracker = tracker(spec());
    for n in 0..4 {
        assert_eq!(fault(&tracker, "192.0.2.7", "shop", NOW + n), None);
        assert_eq!(fault(&tracker, "192.0.2.7", "blog", NOW + n), None);
        assert_eq!(fault(&tracker, "192.0.2.8", "shop", NOW + n), None);
    }
    let other = Report {
        fault: FaultKind::BadRequest,
        ..report("192.0.2.7", "shop", "x")
    };
    assert_eq!(tracker.report(&other, NOW), None);
}

#[test]
fn who_names_all_his_requests_alike_is_banned_too() {
    let tracker = tracker(spec());
    let fault = |n: u32| {
        let id = n.to_string();
        let report = Report {
            id: &id,
            ..report("192.0.2.7", "shop", "always-the-same")
        };
        tracker.report(&report, NOW)
    };
    assert!((0..4).all(|n| fault(n).is_none()));
    assert!(fault(4).is_some());
}

#[test]
fn addresses_of_one_ipv6_network_are_one() {
    let tracker = tracker(spec());
    for n in 0..4 {
        assert_eq!(
            fault(&tracker, &format!("2001:db8:0:1::{n}"), "shop", NOW),
            None
        );
    }
    assert_eq!(fault(&tracker, "2001:db8:0:2::1", "shop", NOW), None);
    let ban = fault(&tracker, "2001:db8:0:1:ffff::1", "shop", NOW).unwrap();
    assert_eq!(ban.prefix.to_string(), "2001:db8:0:1::/64");
}

#[test]
fn bans_double_to_their_maximum_and_are_forgiven_after_a_day() {
    let tracker = tracker(RuleSpec {
        node: None,
        ..spec()
    });
    let mut now = NOW;
    for minutes in [10, 20, 40, 60, 60, 60] {
        let ban = until_banned(&tracker, "192.0.2.7", "shop", now);
        assert_eq!(ban.until, Some(now + minutes * MINUTE));
        now = ban.until.unwrap();
    }
    now += 24 * 60 * MINUTE + 1;
    let ban = until_banned(&tracker, "192.0.2.7", "shop", now);
    assert_eq!(ban.until, Some(now + 10 * MINUTE));
}

#[test]
fn only_bans_on_different_sites_lead_to_one_on_the_node() {
    let tracker = tracker(spec());
    for n in 0..20 {
        let ban = until_banned(&tracker, "192.0.2.7", "shop", NOW + n * MINUTE);
        assert_eq!(ban.scope, Scope::Site("shop".into()));
    }
    let now = NOW + 20 * MINUTE;
    let second = until_banned(&tracker, "192.0.2.7", "blog", now);
    assert_eq!(second.scope, Scope::Site("blog".into()));
    let third = until_banned(&tracker, "192.0.2.7", "wiki", now);
    assert_eq!(third.scope, Scope::Node);
    assert_eq!(&*third.reason, "banned on 3 sites within 3600 s");
    assert!(third.may_go_lower());
    // Too far apart, it takes as many sites again.
    let later = now + 200 * MINUTE;
    assert_ne!(
        until_banned(&tracker, "192.0.2.7", "shop", later).scope,
        Scope::Node
    );
    assert_ne!(
        until_banned(&tracker, "192.0.2.7", "blog", later).scope,
        Scope::Node
    );
}

#[test]
fn one_forwarded_address_among_the_faults_keeps_the_ban_above_http() {
    let tracker = tracker(spec());
    let first = Report {
        forwarded: true,
        ..report("192.0.2.7", "a", "first")
    };
    assert_eq!(tracker.report(&first, NOW), None);
    let ban = until_banned(&tracker, "192.0.2.7", "a", NOW);
    assert!(ban.l7_only);
    assert!(!until_banned(&tracker, "192.0.2.7", "b", NOW).l7_only);
    let node = until_banned(&tracker, "192.0.2.7", "c", NOW);
    assert!(node.scope == Scope::Node && node.l7_only && !node.may_go_lower());
}

#[test]
fn faults_before_a_site_is_known_ban_on_the_node() {
    let tracker = tracker(RuleSpec {
        fault: FaultKind::BadRequest,
        ..spec()
    });
    let bad = |n: u32| {
        let request = n.to_string();
        let fault = FaultKind::BadRequest;
        tracker.report(
            &Report {
                fault,
                site: None,
                ..report("192.0.2.7", "", &request)
            },
            NOW,
        )
    };
    assert!((0..4).all(|n| bad(n).is_none()));
    assert_eq!(bad(4).unwrap().scope, Scope::Node);
}

#[test]
fn a_crowd_with_one_fault_each_does_not_hide_the_one_with_four() {
    let tracker = tracker(spec());
    for n in 0..4 {
        assert_eq!(fault(&tracker, "192.0.2.7", "shop", NOW + n), None);
    }
    for n in 0..1_000_000 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 | n));
        let report = Report {
            address,
            ..report("::1", "shop", "x")
        };
        assert_eq!(tracker.report(&report, NOW + 5), None);
    }
    assert!(fault(&tracker, "192.0.2.7", "shop", NOW + 6).is_some());
}

#[test]
fn time_that_jumps_bans_nobody_by_itself() {
    let tracker = tracker(spec());
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..1000 {
        assert_eq!(fault(&tracker, "192.0.2.7", "shop", random.u64(..)), None);
    }
    for now in [0, Millis::MAX, NOW] {
        let ban = until_banned(&tracker, "192.0.2.8", "shop", now);
        assert!(ban.until >= Some(now));
    }
}

#[test]
fn a_rule_outside_its_ranges_is_refused_by_name() {
    for (bad, word) in [
        (
            RuleSpec {
                name: String::new(),
                ..spec()
            },
            "name",
        ),
        (RuleSpec { count: 1, ..spec() }, "count"),
        (
            RuleSpec {
                count: 17,
                ..spec()
            },
            "count",
        ),
        (
            RuleSpec {
                window: 999,
                ..spec()
            },
            "window",
        ),
        (
            RuleSpec {
                window: u64::MAX,
                ..spec()
            },
            "window",
        ),
        (RuleSpec { ban: 0, ..spec() }, "ban"),
        (
            RuleSpec {
                ban: 61 * MINUTE,
                ..spec()
            },
            "ban",
        ),
        (
            RuleSpec {
                ban_max: RULE_BAN_MAX + 1,
                ..spec()
            },
            "longest ban",
        ),
        (
            RuleSpec {
                v6_prefix: 31,
                ..spec()
            },
            "IPv6",
        ),
        (
            RuleSpec {
                node: Some((1, MINUTE)),
                ..spec()
            },
            "sites",
        ),
        (
            RuleSpec {
                node: Some((9, MINUTE)),
                ..spec()
            },
            "sites",
        ),
        (
            RuleSpec {
                node: Some((2, 1)),
                ..spec()
            },
            "sites",
        ),
    ] {
        let error = Rule::new(bad).unwrap_err().to_string();
        assert!(error.contains(word), "{error} does not speak of {word}");
    }
    let many = vec![Rule::new(spec()).unwrap(); 33];
    assert!(matches!(
        Tracker::new(many, [0; 16]),
        Err(VerdictError::TooManyRules(33))
    ));
}
