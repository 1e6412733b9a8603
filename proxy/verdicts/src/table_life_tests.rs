//! How verdicts come, go and are told.

use super::*;

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
                let prefix = Prefix::from(std::net::IpAddr::V4(address)).to_string();
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
