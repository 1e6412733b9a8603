use super::*;
use crate::{Part, Spec, Why};
use std::net::IpAddr;
use std::time::Duration;

const START: Nanos = 1_800_000_000_000_000_000;

struct Client(IpAddr);

impl Facts for Client {
    fn address(&self) -> IpAddr {
        self.0
    }
    fn site(&self) -> &'static str {
        "shop"
    }
    fn path(&self) -> &[u8] {
        b"/"
    }
    fn ja4(&self) -> Option<&str> {
        None
    }
    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }
    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

fn client(address: &str) -> Client {
    Client(address.parse().unwrap())
}

fn spec(name: &str, key: Part, bound: Bound) -> Spec {
    Spec {
        name: name.into(),
        bound,
        key: vec![key],
        penalty: Duration::ZERO,
        dry_run: false,
        v4_prefix: 32,
        v6_prefix: 64,
    }
}

fn requests(limit: u64) -> Bound {
    Bound::Rate {
        of: Measure::Requests {
            count_refused: false,
        },
        limit,
        window: Duration::from_mins(1),
        burst: 0,
    }
}

fn table() -> Arc<Table> {
    Arc::new(Table::new(Table::ENTRIES_MIN, [7; 32], START).unwrap())
}

fn rules(table: &Arc<Table>, specs: &[Spec]) -> Arc<Rules> {
    let policies = specs
        .iter()
        .map(|spec| Policy::new(table, spec, "shop").unwrap());
    Arc::new(Rules::new(Arc::clone(table), policies.collect()).unwrap())
}

#[test]
fn a_request_one_policy_refuses_was_counted_by_none() {
    let rules = rules(
        &table(),
        &[
            spec("site", Part::Site, requests(10)),
            spec("open", Part::Site, Bound::InFlight { limit: 10 }),
            spec("client", Part::Address, requests(2)),
        ],
    );
    let noisy = client("192.0.2.1");
    let admitted: Vec<_> = (0..100)
        .filter_map(|_| rules.admit(&noisy, START).ok())
        .collect();
    assert_eq!(admitted.len(), 2);
    let refusal = rules.admit(&noisy, START).err().unwrap();
    assert_eq!(refusal.policy, 2);
    assert_eq!(refusal.answer.outcome, Outcome::Limited(Why::Exceeded));
    let other = rules.admit(&client("192.0.2.2"), START).unwrap();
    let left: Vec<_> = other
        .answers()
        .map(|(_, answer)| answer.remaining)
        .collect();
    assert_eq!(left, [7, 7, 1]);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let dry = Spec {
        dry_run: true,
        ..spec("client", Part::Address, requests(1))
    };
    let flying = Spec {
        dry_run: true,
        ..spec("open", Part::Address, Bound::InFlight { limit: 1 })
    };
    let rules = rules(&table(), &[dry, flying]);
    let first = rules.admit(&client("::1"), START).unwrap();
    assert!(
        first
            .answers()
            .all(|(_, answer)| answer.outcome == Outcome::Allow)
    );
    for _ in 0..5 {
        let next = rules.admit(&client("::1"), START).unwrap();
        let would = Outcome::WouldLimit(Why::Exceeded);
        assert!(next.answers().all(|(_, answer)| answer.outcome == would));
    }
    drop(first);
    let after = rules.admit(&client("::1"), START).unwrap();
    let outcomes: Vec<_> = after.answers().map(|(_, answer)| answer.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::WouldLimit(Why::Exceeded), Outcome::Allow]
    );
}

#[test]
fn requests_in_flight_outlive_their_rules_and_are_counted_across_a_reload() {
    let table = table();
    let specs = [spec("open", Part::Address, Bound::InFlight { limit: 1 })];
    let old = rules(&table, &specs);
    let flying = old.admit(&client("::1"), START).unwrap();
    drop(old);
    let new = rules(&table, &specs);
    assert!(new.admit(&client("::1"), START).is_err());
    drop(flying);
    assert!(new.admit(&client("::1"), START).is_ok());
}

#[test]
fn a_penalty_on_requests_in_flight_outlives_the_last_of_them() {
    let spec = Spec {
        penalty: Duration::from_secs(10),
        ..spec("open", Part::Address, Bound::InFlight { limit: 1 })
    };
    let rules = rules(&table(), &[spec]);
    let flying = rules.admit(&client("::1"), START).unwrap();
    assert!(rules.admit(&client("::1"), START).is_err());
    drop(flying);
    let refusal = rules
        .admit(&client("::1"), START + 4_000_000_000)
        .err()
        .unwrap();
    assert_eq!(refusal.answer.outcome, Outcome::Limited(Why::Penalty));
    assert_eq!(refusal.answer.retry_after(), 6);
    assert!(rules.admit(&client("::1"), START + 10_000_000_000).is_ok());
}

#[test]
fn a_bucket_full_of_requests_in_flight_lets_others_through_uncounted() {
    let table = table();
    let rules = rules(
        &table,
        &[spec("open", Part::Address, Bound::InFlight { limit: 1 })],
    );
    let address = |n: u32| Client(IpAddr::V4(std::net::Ipv4Addr::from_bits(n)));
    let flying: Vec<_> = (0..4096)
        .map(|n| rules.admit(&address(n), START).ok().unwrap())
        .collect();
    let stats = table.stats();
    assert_eq!((stats.uncounted, stats.evicted), (4096 - 1024, 0));
    drop(flying);
    // Every place is free again, and nobody is below zero.
    let again: Vec<_> = (0..500)
        .map(|n| rules.admit(&address(n), START).unwrap())
        .collect();
    assert_eq!(table.stats().evicted, 0);
    assert!(
        again
            .iter()
            .flat_map(Admission::answers)
            .all(|(_, answer)| answer.remaining <= 1)
    );
}

#[test]
fn more_policies_than_a_request_can_hold_are_refused() {
    let table = table();
    let policy = Policy::new(&table, &spec("p", Part::Site, requests(1)), "").unwrap();
    let full = Rules::new(Arc::clone(&table), vec![policy.clone(); POLICIES_MAX]).unwrap();
    assert_eq!(full.policies().len(), POLICIES_MAX);
    let error = Rules::new(table, vec![policy; POLICIES_MAX + 1])
        .err()
        .unwrap();
    assert_eq!(error, LimitError::TooMany { count: 9, max: 8 });
}
