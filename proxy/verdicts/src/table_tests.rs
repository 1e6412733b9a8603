use super::*;
use crate::{Author, RULE_BAN_MAX};

#[path = "table_life_tests.rs"]
mod life;

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
    let cases = [
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
        // Whom an operator lets into one site has to be able to connect.
        let connection = holds(&table, "192.0.2.7", Asked::Connection);
        assert_eq!(connection, Some(Kind::Allow));
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
            let force = Terms { force: true };
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
fn of_two_rules_bans_on_one_network_the_longer_and_the_wider_holds() {
    let table = table(100);
    let ends = |until, l7_only| Verdict {
        until: Some(until),
        l7_only,
        ..ban("192.0.2.7", "rule:a")
    };
    put(&table, ends(NOW + 600, false)).unwrap();
    let made = put(
        &table,
        Verdict {
            author: Author::Rule("b".into()),
            ..ends(NOW + 60, true)
        },
    );
    let made = made.unwrap().made;
    assert_eq!((made.until, made.l7_only), (Some(NOW + 600), false));
    assert_eq!(made.author.name(), "b");
    // One that has ended adds nothing, and an operator's word is taken as it is.
    let later = table
        .put(ends(NOW + 700, true), Terms::default(), NOW + 650)
        .unwrap()
        .made;
    assert_eq!((later.until, later.l7_only), (Some(NOW + 700), true));
    let by_hand = table.put(
        Verdict {
            author: Author::Operator("ann".into()),
            ..ends(NOW + 660, true)
        },
        Terms::default(),
        NOW + 650,
    );
    assert_eq!(by_hand.unwrap().made.until, Some(NOW + 660));
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
