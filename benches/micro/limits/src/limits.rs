//! One check of a limit on requests by client address.

use crate::rounds::measure;
use aegis_limits::{Bound, Facts, LimitError, Measure, Part, Policy, Spec, Table};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const START: u64 = 1_800_000_000_000_000_000;
const OPERATIONS: u64 = 2_000_000;
/// A million keys fill two thirds of it.
const ENTRIES: usize = 1_500_000;

struct Client(u32);

impl Facts for Client {
    fn address(&self) -> IpAddr {
        Ipv4Addr::from_bits(self.0).into()
    }
    fn site(&self) -> &'static str {
        "shop.example.com"
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

pub(crate) fn run() -> Result<(), LimitError> {
    let table = Table::new(ENTRIES, [7; 32], START)?;
    let spec = Spec {
        name: "client".into(),
        bound: Bound::Rate {
            of: Measure::Requests {
                count_refused: false,
            },
            limit: 100,
            window: Duration::from_secs(10),
            burst: 20,
        },
        key: vec![Part::Address],
        penalty: Duration::ZERO,
        dry_run: false,
        v4_prefix: 32,
        v6_prefix: 64,
    };
    let policy = Policy::new(&table, &spec, "shop.example.com")?;
    let check = |keys: u32| {
        let (table, policy) = (&table, &policy);
        move |mut random: fastrand::Rng, operations| {
            (0..operations).fold(0_u64, |left, n| {
                let key = policy.key(&Client(random.u32(0..keys)));
                left ^ table.take(policy, key, START + n * 1000).remaining
            })
        }
    };
    // Hashing alone, to see its share.
    measure("limit_key_ns", OPERATIONS, |mut random, operations| {
        let none = policy.key(&Client(0));
        (0..operations).fold(0_u64, |found, _| {
            let key = policy.key(&Client(random.u32(1..)));
            found + u64::from(key == none)
        })
    });
    measure("limit_check_ns_hot", OPERATIONS, check(10_000));
    // Every key is there before the time is taken.
    for client in 0..1_000_000 {
        let _answer = table.take(&policy, policy.key(&Client(client)), START);
    }
    measure("limit_check_ns_1m", OPERATIONS, check(1_000_000));
    let stats = table.stats();
    println!(
        "  limits: {} places, {} MiB, {} evicted",
        stats.entries,
        stats.bytes >> 20,
        stats.evicted
    );
    Ok(())
}
