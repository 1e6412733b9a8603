//! What a request pays for being limited: no allocation, whatever its keys are made of and whoever is forgotten for it.
#![expect(
    unsafe_code,
    reason = "a counting allocator is the only witness of an allocation"
)]

use aegis_limits::{
    Bound, Facts, Measure, Part, Policy, Rules, Spec, StatusSet, Table, Usage, write_ratelimit,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

const START: u64 = 1_800_000_000_000_000_000;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's duties are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's duties are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Client {
    number: u128,
    long: Vec<u8>,
}

impl Facts for Client {
    fn address(&self) -> IpAddr {
        Ipv6Addr::from_bits(self.number << 64).into()
    }
    fn site(&self) -> &'static str {
        "shop.example.com"
    }
    fn path(&self) -> &[u8] {
        &self.long
    }
    fn ja4(&self) -> Option<&str> {
        None
    }
    fn header(&self, _: &str) -> Option<&[u8]> {
        Some(&self.long)
    }
    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

#[test]
fn a_request_is_limited_charged_and_told_without_an_allocation() {
    let table = Arc::new(Table::new(Table::ENTRIES_MIN, [7; 32], START).expect("a table"));
    let rate = |of| Bound::Rate {
        of,
        limit: 3,
        window: Duration::from_secs(60),
        burst: 1,
    };
    let statuses = StatusSet::new(&[400..=499]).expect("statuses");
    let count_refused = false;
    let policies = [
        (
            rate(Measure::Requests { count_refused }),
            vec![Part::Address],
        ),
        (
            rate(Measure::Errors(statuses)),
            vec![Part::Header("x".into()), Part::Path],
        ),
        (
            rate(Measure::Bytes),
            vec![Part::Cookie("c".into()), Part::Ja4, Part::Site],
        ),
        (Bound::InFlight { limit: 2 }, vec![Part::Address]),
    ];
    let policies = policies.into_iter().enumerate().map(|(n, (bound, key))| {
        let spec = Spec {
            name: format!("p{n}"),
            bound,
            key,
            penalty: Duration::from_secs(1),
            dry_run: n == 2,
            v4_prefix: 32,
            v6_prefix: 64,
        };
        Policy::new(&table, &spec, "shop").expect("a policy")
    });
    let policies = policies.collect();
    let rules = Arc::new(Rules::new(Arc::clone(&table), policies).expect("rules"));
    let mut client = Client {
        number: 0,
        long: vec![b'x'; 100_000],
    };
    let mut told = String::with_capacity(1024);
    let (mut admitted, mut refused) = (0, 0);
    let before = COUNT.get();
    // More clients than the table has places for, and each often enough to be refused.
    for n in 0..20_000_u64 {
        client.number = u128::from(n / 5);
        client.long[..16].copy_from_slice(&client.number.to_le_bytes());
        let now = START + n * 1_000_000;
        match rules.admit(&client, now) {
            Ok(admission) => {
                admitted += 1;
                told.clear();
                for (policy, answer) in admission.answers() {
                    write_ratelimit(&mut told, policy, answer);
                }
                let usage = Usage {
                    bytes: 1000,
                    status: (n % 100 == 0).then_some(404),
                    waf_micros: 1,
                };
                admission.charge(&usage, now);
            }
            Err(_) => refused += 1,
        }
    }
    assert_eq!(COUNT.get() - before, 0);
    assert!(admitted > 1000 && refused > 1000, "{admitted} {refused}");
    assert!(table.stats().evicted > 1000);
}
