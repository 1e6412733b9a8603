//! The table against a naive list, over random operations with fixed seeds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use aegis_verdicts::{
    Asked, Author, Kind, Millis, NeverBan, Prefix, Scope, Table, Terms, Verdict, VerdictError,
    read_snapshot, write_snapshot,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NOW: Millis = 1_800_000_000_000;
const SITES: [&str; 3] = ["a", "b", "c"];

/// A world so small that verdicts meet: two bits differ at a few places.
fn address(random: &mut fastrand::Rng) -> IpAddr {
    let bits = |random: &mut fastrand::Rng, at: &[u32]| {
        at.iter()
            .fold(0_u128, |bits, at| bits | u128::from(random.bool()) << at)
    };
    if random.bool() {
        Ipv4Addr::from_bits(0x0A00_0000 | bits(random, &[0, 8, 9, 16, 20]) as u32).into()
    } else {
        let low = bits(random, &[0, 63, 64, 70, 90]);
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | low).into()
    }
}

fn scope(random: &mut fastrand::Rng) -> Scope {
    match random.choice(&SITES) {
        Some(site) if random.bool() => Scope::Site((*site).into()),
        _ => Scope::Node,
    }
}

fn verdict(random: &mut fastrand::Rng, now: Millis) -> Verdict {
    let address = address(random);
    let lengths: &[u8] = if address.is_ipv4() {
        &[8, 12, 16, 23, 24, 32]
    } else {
        &[32, 48, 58, 64, 65, 128]
    };
    let operator = random.u8(0..3) == 0;
    Verdict {
        kind: if random.bool() {
            Kind::Ban
        } else {
            Kind::Allow
        },
        prefix: Prefix::around(address, *random.choice(lengths).unwrap()).unwrap(),
        scope: scope(random),
        author: if operator {
            Author::Operator("ann".into())
        } else {
            Author::Rule("r".into())
        },
        reason: random.u8(0..3).to_string().into(),
        request: random.bool().then(|| random.u128(..).to_string().into()),
        since: now,
        until: (!operator || random.bool()).then(|| now + random.u64(1..1_000_000)),
        l7_only: random.bool(),
        hits: 0,
    }
}

/// Everything in a list, asked from end to end.
#[derive(Default)]
struct Naive(Vec<Verdict>);

impl Naive {
    fn standing(&self, now: Millis) -> impl Iterator<Item = &Verdict> {
        self.0
            .iter()
            .filter(move |v| v.until.is_none_or(|until| until > now))
    }

    fn judge(&self, address: IpAddr, asked: Asked<'_>, now: Millis) -> Option<&Verdict> {
        let concerns = |v: &&Verdict| match (&v.scope, asked) {
            (Scope::Node, Asked::Connection) => !v.l7_only,
            (Scope::Node, Asked::Request { .. }) => true,
            (Scope::Site(_), Asked::Connection) => v.kind == Kind::Allow && v.author.is_operator(),
            (Scope::Site(there), Asked::Request { site }) => **there == *site,
        };
        let covering = self.standing(now).filter(|v| v.prefix.contains(address));
        covering.filter(concerns).max_by_key(|v| {
            (
                v.author.is_operator(),
                v.prefix.length(),
                v.kind == Kind::Allow,
            )
        })
    }

    fn operator_covers(&self, new: &Verdict, now: Millis) -> bool {
        self.standing(now).any(|v| {
            v.author.is_operator()
                && v.prefix.covers(&new.prefix)
                && (v.scope == Scope::Node || v.scope == new.scope)
        })
    }

    fn remove(&mut self, prefix: Prefix, scope: &Scope) -> Option<Verdict> {
        let at = self
            .0
            .iter()
            .position(|v| v.prefix == prefix && v.scope == *scope)?;
        Some(self.0.swap_remove(at))
    }
}

#[test]
fn random_verdicts_hold_as_the_naive_list_says() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let table = Table::new(100_000, random.u128(..).to_le_bytes(), NeverBan::new([])).unwrap();
        let mut naive = Naive::default();
        let mut now = NOW;
        for _ in 0..1500 {
            match random.u32(0..10) {
                0..4 => {
                    let new = verdict(&mut random, now);
                    let refused = !new.author.is_operator() && naive.operator_covers(&new, now);
                    match table.put(new.clone(), Terms::default(), now) {
                        Err(VerdictError::OperatorHolds(_)) => assert!(refused, "seed {seed}"),
                        Err(other) => panic!("seed {seed}: {other}"),
                        Ok(put) => {
                            assert!(!refused, "seed {seed}");
                            let mut made = new;
                            let old = naive.remove(made.prefix, &made.scope);
                            if let Some(old) = &old
                                && [old, &made]
                                    .iter()
                                    .all(|v| !v.author.is_operator() && v.kind == Kind::Ban)
                                && old.until > Some(now)
                            {
                                made.until = made.until.max(old.until);
                                made.l7_only = made.l7_only && old.l7_only;
                            }
                            assert_eq!(put.made, made, "seed {seed}");
                            assert_eq!(put.replaced, old);
                            naive.0.push(made);
                        }
                    }
                }
                4 => {
                    let other = verdict(&mut random, now);
                    let removed = table.remove(other.prefix, &other.scope);
                    assert_eq!(
                        removed,
                        naive.remove(other.prefix, &other.scope),
                        "seed {seed}"
                    );
                }
                5 => {
                    now += random.u64(0..100_000);
                    table.sweep(usize::MAX, now);
                    naive.0.retain(|v| v.until.is_none_or(|until| until > now));
                    assert_eq!(table.stats().entries, naive.0.len(), "seed {seed}");
                }
                // The clock steps back a little now and then.
                6 => now -= random.u64(0..10_000).min(now - NOW),
                _ => {}
            }
            let address = address(&mut random);
            let site = random.choice(&SITES).unwrap();
            for asked in [Asked::Connection, Asked::Request { site }] {
                let here = table
                    .judge(address, asked, now)
                    .map(|ruling| ruling.verdict());
                let there = naive.judge(address, asked, now);
                // Two of equal weight, the node's and the site's: either is right.
                let same = |(a, b): (&Verdict, &Verdict)| {
                    (a.kind, a.prefix, a.author.is_operator())
                        == (b.kind, b.prefix, b.author.is_operator())
                };
                let agree = here
                    .as_ref()
                    .zip(there)
                    .map_or(here.is_none() && there.is_none(), same);
                assert!(
                    agree,
                    "seed {seed}: {address} {asked:?}: {here:?} instead of {there:?}"
                );
            }
        }
        let mut bytes = Vec::new();
        write_snapshot(&table, now, 0, &mut bytes).unwrap();
        let mut read = read_snapshot(&bytes).unwrap();
        let mut standing: Vec<_> = naive.standing(now).cloned().collect();
        for list in [&mut read, &mut standing] {
            list.sort_by_key(|v| (v.prefix, v.scope.clone()));
        }
        assert_eq!(read, standing, "seed {seed}");
    }
}
