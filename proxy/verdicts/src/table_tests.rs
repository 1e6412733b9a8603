use super::*;
use crate::{Author, RULE_BAN_MAX};

const NOW: Millis = 1_800_000_000_000;
const MINUTE: Millis = 60_000;

fn table(entries_max: usize) -> Table {
    let proxy = (
        "198.51.100.0/24".parse().unwrap(),
        "trusted proxy".to_owned(),
    );
    Table::new(entries_max, [7; 16], NeverBan::new([proxy])).unwrap()
}

fn verdict(kind: Kind, prefix: &str, by: &str) -> Verdict {
    let (author, until) = match by.strip_prefix("rule:") {
        Some(rule) => (Author::Rule(rule.into()), Some(NOW + 10 * MINUTE)),
        None => (Author::Operator(by.into()), None),
    };
    Verdict {
        kind,
        prefix: prefix.parse().unwrap(),
        scope: Scope::Node,
        author,
        reason: "because".into(),
        request: Some("01J0000000000000000000000A".into()),
        since: NOW,
        until,
        l7_only: false,
        hits: 0,
    }
}

fn ban(prefix: &str, by: &str) -> Verdict {
    verdict(Kind::Ban, prefix, by)
}

fn on(site: &str, verdict: Verdict) -> Verdict {
    Verdict {
        scope: Scope::Site(site.into()),
        ..verdict
    }
}

fn put(table: &Table, verdict: Verdict) -> Result<Put, VerdictError> {
    table.put(verdict, Terms::default(), NOW)
}

fn holds(table: &Table, address: &str, asked: Asked<'_>) -> Option<Kind> {
    let ruling = table.judge(address.parse().unwrap(), asked, NOW);
    ruling.map(|ruling| ruling.kind())
}

const SHOP: Asked<'static> = Asked::Request { site: "shop" };
const BLOG: Asked<'static> = Asked::Request { site: "blog" };

#[test]
fn operators_beat_rules_then_the_more_specific_wins_then_the_allow() {
    let (allow, ban) = (Kind::Allow, Kind::Ban);
    // Rules' bans are made first: an operator's verdict would refuse them.
    let cases: [(&str, Vec<(Kind, &str, &str)>, Option<Kind>); 9] = [
        ("nothing covers it", vec![(ban, "192.0.2.8", "ann")], None),
        (
            "a ban of the address",
            vec![(ban, "192.0.2.7", "rule:r")],
            Some(ban),
        ),
        (
            "a ban of its network",
            vec![(ban, "192.0.2.0/24", "ann")],
            Some(ban),
        ),
        (
            "an operator's allow of the network against a rule's ban of the address",
            vec![(ban, "192.0.2.7", "rule:r"), (allow, "192.0.2.0/24", "ann")],
            Some(allow),
        ),
        (
            "an operator's ban of the address in a network that is allowed",
            vec![(allow, "192.0.2.0/24", "ann"), (ban, "192.0.2.7", "bob")],
            Some(ban),
        ),
        (
            "an allow of the address in a network that is banned",
            vec![(ban, "192.0.0.0/16", "ann"), (allow, "192.0.2.7", "bob")],
            Some(allow),
        ),
        (
            "an operator's ban of the network and a rule's of the address",
            vec![(ban, "192.0.2.7", "rule:r"), (ban, "192.0.0.0/8", "ann")],
            Some(ban),
        ),
        (
            "a network of another family",
            vec![(ban, "c000:200::/32", "ann")],
            None,
        ),
        (
            "the last word on the same prefix",
            vec![(ban, "192.0.2.7", "ann"), (allow, "192.0.2.7", "bob")],
            Some(allow),
        ),
    ];
    for (name, verdicts, expected) in cases {
        let table = table(100);
        for (kind, prefix, by) in verdicts {
            put(&table, verdict(kind, prefix, by)).unwrap();
        }
        assert_eq!(holds(&table, "192.0.2.7", SHOP), expected, "{name}");
        assert_eq!(
            holds(&table, "::ffff:192.0.2.7", SHOP),
            expected,
            "{name}, mapped"
        );
    }
}

#[test]
fn on_the_same_prefix_an_allow_of_one_scope_beats_a_ban_of_another() {
    for (node, shop) in [(Kind::Allow, Kind::Ban), (Kind::Ban, Kind::Allow)] {
        let table = table(100);
        put(&table, verdict(node, "192.0.2.7", "ann")).unwrap();
        put(&table, on("shop", verdict(shop, "192.0.2.7", "bob"))).unwrap();
        assert_eq!(holds(&table, "192.0.2.7", SHOP), Some(Kind::Allow));
        assert_eq!(holds(&table, "192.0.2.7", BLOG), Some(node));
        assert_eq!(holds(&table, "192.0.2.7", Asked::Connection), Some(node));
    }
}

#[test]
fn a_site_s_ban_holds_on_that_site_alone_and_never_for_a_connection() {
    let table = table(100);
    put(&table, on("shop", ban("2001:db8:1:2::/64", "rule:r"))).unwrap();
    assert_eq!(holds(&table, "2001:db8:1:2::77", SHOP), Some(Kind::Ban));
    assert_eq!(holds(&table, "2001:db8:1:2::77", BLOG), None);
    assert_eq!(holds(&table, "2001:db8:1:2::77", Asked::Connection), None);
    assert_eq!(holds(&table, "2001:db8:1:3::77", SHOP), None);
}

#[test]
fn a_ban_of_a_forwarded_address_stays_above_http() {
    let table = table(100);
    let forwarded = Verdict {
        l7_only: true,
        ..ban("192.0.2.7", "rule:r")
    };
    assert!(!forwarded.may_go_lower());
    put(&table, forwarded).unwrap();
    assert_eq!(holds(&table, "192.0.2.7", SHOP), Some(Kind::Ban));
    assert_eq!(holds(&table, "192.0.2.7", Asked::Connection), None);
}

#[test]
fn what_may_never_be_banned_is_refused_unless_an_operator_forces_it() {
    for prefix in [
        "127.0.0.1",
        "127.0.0.0/8",
        "::1",
        "198.51.100.9",
        "198.51.0.0/16",
        "198.51.100.0/24",
    ] {
        for by in ["ann", "rule:r"] {
            let table = table(100);
            let refused = put(&table, ban(prefix, by)).unwrap_err();
            assert!(
                matches!(refused, VerdictError::Protected { .. }),
                "{prefix}: {refused}"
            );
            let force = Terms {
                force: true,
                made_from: None,
            };
            let forced = table.put(ban(prefix, by), force, NOW);
            assert_eq!(forced.is_ok(), by == "ann", "{prefix} by {by}");
            assert!(
                put(&table, verdict(Kind::Allow, prefix, "ann")).is_ok(),
                "{prefix} allowed"
            );
        }
    }
    let text = put(&table(1), ban("198.51.0.0/16", "ann"))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("198.51.100.0/24 (trusted proxy)") && text.contains("force"),
        "{text}"
    );
}

#[test]
fn an_operator_does_not_shut_himself_out_by_accident() {
    let table = table(100);
    let from = |force| Terms {
        force,
        made_from: Some("192.0.2.9".parse().unwrap()),
    };
    let network = || ban("192.0.2.0/24", "ann");
    assert_eq!(
        table.put(network(), from(false), NOW),
        Err(VerdictError::Yourself(network().prefix))
    );
    assert!(table.put(ban("192.0.2.8", "ann"), from(false), NOW).is_ok());
    assert!(table.put(network(), from(true), NOW).is_ok());
}

#[test]
fn a_rule_does_not_overrule_an_operator() {
    let table = table(100);
    put(&table, verdict(Kind::Allow, "192.0.2.0/24", "ann")).unwrap();
    put(&table, on("shop", ban("2001:db8::/64", "ann"))).unwrap();
    let refused = |verdict| matches!(put(&table, verdict), Err(VerdictError::OperatorHolds(_)));
    assert!(refused(ban("192.0.2.7", "rule:r")));
    assert!(refused(on("blog", ban("192.0.2.7", "rule:r"))));
    assert!(refused(on("shop", ban("2001:db8::/64", "rule:r"))));
    // Another site, and a wider network, are not what the operator spoke of.
    assert!(put(&table, on("blog", ban("2001:db8::/64", "rule:r"))).is_ok());
    assert!(put(&table, ban("192.0.0.0/16", "rule:r")).is_ok());
    assert_eq!(holds(&table, "192.0.2.7", BLOG), Some(Kind::Allow));
}

#[test]
fn a_verdict_that_is_not_well_formed_is_refused() {
    let table = table(100);
    let good = || ban("192.0.2.7", "rule:r");
    for bad in [
        Verdict {
            reason: "".into(),
            ..good()
        },
        Verdict {
            reason: "x".repeat(257).into(),
            ..good()
        },
        Verdict {
            reason: "a\nb".into(),
            ..good()
        },
        Verdict {
            author: Author::Rule("\u{1b}[31m".into()),
            ..good()
        },
        Verdict {
            request: Some("x".repeat(129).into()),
            ..good()
        },
        Verdict {
            until: Some(NOW),
            ..good()
        },
        Verdict {
            until: None,
            ..good()
        },
        Verdict {
            until: Some(NOW + RULE_BAN_MAX + 1),
            ..good()
        },
        Verdict {
            since: NOW - MINUTE,
            until: Some(NOW),
            ..good()
        },
        on("", good()),
        on(&"x".repeat(254), good()),
    ] {
        assert!(put(&table, bad.clone()).is_err(), "{bad:?}");
    }
    assert_eq!(table.stats().entries, 0);
    assert!(
        put(
            &table,
            Verdict {
                reason: "x".repeat(256).into(),
                ..good()
            }
        )
        .is_ok()
    );
    assert!(matches!(
        Table::new(0, [0; 16], NeverBan::new([])),
        Err(VerdictError::Entries(0))
    ));
}

#[test]
fn when_full_the_rule_s_ban_that_ends_first_goes_and_an_operator_s_never() {
    let table = table(4);
    let until = |n: u64, prefix: &str| Verdict {
        until: Some(NOW + n * MINUTE),
        ..ban(prefix, "rule:r")
    };
    put(&table, ban("192.0.2.1", "ann")).unwrap();
    put(
        &table,
        Verdict {
            until: Some(NOW + 1),
            ..ban("192.0.2.2", "ann")
        },
    )
    .unwrap();
    put(&table, until(5, "192.0.2.3")).unwrap();
    put(&table, until(3, "192.0.2.4")).unwrap();
    let evicted = |put: Put| put.evicted.map(|verdict| verdict.prefix.to_string());
    assert_eq!(
        evicted(put(&table, until(9, "192.0.2.5")).unwrap()).as_deref(),
        Some("192.0.2.4")
    );
    assert_eq!(
        evicted(put(&table, ban("192.0.2.6", "ann")).unwrap()).as_deref(),
        Some("192.0.2.3")
    );
    assert_eq!(
        evicted(put(&table, ban("192.0.2.7", "ann")).unwrap()).as_deref(),
        Some("192.0.2.5")
    );
    assert_eq!(
        put(&table, ban("192.0.2.8", "ann")),
        Err(VerdictError::Full(4))
    );
    assert_eq!(
        put(&table, until(9, "192.0.2.8")),
        Err(VerdictError::Full(4))
    );
    // Replacing needs no room, and what ended makes some.
    assert!(put(&table, ban("192.0.2.7", "bob")).is_ok());
    assert!(
        table
            .put(ban("192.0.2.8", "ann"), Terms::default(), NOW + MINUTE)
            .is_ok()
    );
    assert_eq!(
        table.stats(),
        Stats {
            entries: 4,
            entries_max: 4,
            evicted: 3
        }
    );
}

#[test]
fn verdicts_end_by_themselves_and_sweeping_is_bounded() {
    let table = table(1000);
    for n in 0..100_u64 {
        let prefix = format!("192.0.2.{n}");
        put(
            &table,
            Verdict {
                until: Some(NOW + MINUTE + n),
                ..ban(&prefix, "rule:r")
            },
        )
        .unwrap();
    }
    put(&table, ban("192.0.2.200", "ann")).unwrap();
    let judge = |address: &str, now| table.judge(address.parse().unwrap(), SHOP, now).is_some();
    assert!(judge("192.0.2.5", NOW + MINUTE + 4) && !judge("192.0.2.5", NOW + MINUTE + 5));
    // A clock that goes back makes it hold again, until it is swept.
    assert!(judge("192.0.2.5", NOW));
    assert_eq!(table.sweep(10, NOW), 0);
    assert_eq!(table.sweep(10, NOW + 2 * MINUTE), 10);
    assert_eq!(table.sweep(1000, NOW + MINUTE + 49), 40);
    assert_eq!(table.sweep(usize::MAX, Millis::MAX - 1), 50);
    assert_eq!(table.stats().entries, 1);
    assert!(judge("192.0.2.200", Millis::MAX - 1));
}

#[test]
fn why_tells_every_verdict_the_weightiest_first_and_which_holds() {
    let table = table(100);
    put(&table, on("shop", ban("192.0.2.7", "rule:waf"))).unwrap();
    put(&table, verdict(Kind::Allow, "192.0.0.0/16", "ann")).unwrap();
    put(&table, on("blog", ban("192.0.2.0/24", "bob"))).unwrap();
    let address = "192.0.2.7".parse().unwrap();
    for _ in 0..3 {
        table.judge(address, BLOG, NOW).unwrap().count_hit();
    }
    let told: Vec<_> = table
        .why(address, NOW)
        .into_iter()
        .map(|c| (c.verdict.author.name().to_owned(), c.holds, c.verdict.hits))
        .collect();
    let expected = [("bob", true, 3), ("ann", true, 0), ("waf", false, 0)];
    assert_eq!(
        told,
        expected.map(|(name, holds, hits)| (name.to_owned(), holds, hits))
    );
    let first = table.why(address, NOW).into_iter().next().unwrap().verdict;
    assert_eq!(first.request.as_deref(), Some("01J0000000000000000000000A"));
    assert!(table.why("192.1.2.7".parse().unwrap(), NOW).is_empty());
}

#[test]
fn removing_needs_prefix_and_scope_and_gives_back_what_was_there() {
    let table = table(100);
    put(&table, ban("192.0.2.0/24", "ann")).unwrap();
    put(&table, on("shop", ban("192.0.2.0/24", "ann"))).unwrap();
    let prefix = "192.0.2.0/24".parse().unwrap();
    assert_eq!(
        table.remove("192.0.2.0".parse().unwrap(), &Scope::Node),
        None
    );
    assert_eq!(table.remove(prefix, &Scope::Site("blog".into())), None);
    assert_eq!(
        table.remove(prefix, &Scope::Node),
        Some(ban("192.0.2.0/24", "ann"))
    );
    assert_eq!(holds(&table, "192.0.2.7", BLOG), None);
    assert_eq!(holds(&table, "192.0.2.7", SHOP), Some(Kind::Ban));
}

#[test]
fn pages_of_the_list_hold_everything_once() {
    let table = table(1000);
    for n in 0..100 {
        put(&table, ban(&format!("192.0.2.{n}"), "ann")).unwrap();
    }
    for n in 0..50 {
        table
            .remove(format!("192.0.2.{n}").parse().unwrap(), &Scope::Node)
            .unwrap();
    }
    let (mut all, mut next) = (Vec::new(), Some(0));
    while let Some(from) = next {
        let (page, then) = table.list(from, 7, NOW);
        assert!(page.len() <= 7);
        all.extend(page.into_iter().map(|verdict| verdict.prefix));
        next = then;
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 50);
}

#[test]
fn what_is_restored_is_what_may_still_stand() {
    let table = table(4);
    let made_in_the_future = Verdict {
        since: NOW + 1000 * MINUTE,
        until: Some(NOW + 1010 * MINUTE),
        ..ban("192.0.2.5", "rule:r")
    };
    let restored = table.restore(
        vec![
            ban("192.0.2.1", "ann"),
            ban("192.0.2.1", "bob"),
            Verdict {
                until: Some(NOW),
                since: NOW - 1,
                ..ban("192.0.2.2", "rule:r")
            },
            ban("198.51.100.1", "rule:r"),
            ban("198.51.100.2", "ann"),
            made_in_the_future,
            ban("192.0.2.6", "rule:r"),
            ban("192.0.2.7", "rule:r"),
        ],
        NOW,
    );
    assert_eq!(
        restored,
        Restored {
            kept: 4,
            ended: 1,
            refused: 3
        }
    );
    assert_eq!(holds(&table, "198.51.100.1", SHOP), None);
    assert_eq!(holds(&table, "198.51.100.2", SHOP), Some(Kind::Ban));
    let future = table.why("192.0.2.5".parse().unwrap(), NOW);
    assert_eq!(future[0].verdict.until, Some(NOW + 10 * MINUTE));
    // Once more changes nothing.
    assert_eq!(table.restore(vec![ban("192.0.2.1", "bob")], NOW).refused, 1);
}

#[test]
fn readers_see_a_standing_ban_whatever_writers_do_beside_it() {
    let table = table(100_000);
    put(&table, ban("192.0.2.0/24", "ann")).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..5_000_u32 {
                let address = std::net::Ipv4Addr::from_bits(0xC000_0000 | n);
                let prefix = Prefix::from(IpAddr::V4(address)).to_string();
                let other = ban(&prefix, "rule:r");
                let (prefix, put) = (other.prefix, put(&table, other));
                if put.is_ok() && n % 2 == 0 {
                    table.remove(prefix, &Scope::Node).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            for n in 0..100 {
                let address = format!("192.0.2.{n}");
                assert_eq!(holds(&table, &address, SHOP), Some(Kind::Ban));
            }
        }
    });
}
