use super::*;
use crate::{Bound, Measure, Part, Spec};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_800_000_000 * SECOND;

fn policy(table: &Table, limit: u64, penalty: Duration) -> Policy {
    let spec = Spec {
        name: "p".into(),
        bound: Bound::Rate {
            of: Measure::Requests {
                count_refused: false,
            },
            limit,
            window: Duration::from_secs(10),
            burst: 0,
        },
        key: vec![Part::Address],
        penalty,
        dry_run: false,
        v4_prefix: 32,
        v6_prefix: 64,
    };
    Policy::new(table, &spec, "").unwrap()
}

fn table() -> Table {
    Table::new(Table::ENTRIES_MIN, [7; 32], START).unwrap()
}

/// Keys as they come out of a keyed hash.
fn keys(seed: u64) -> impl Iterator<Item = Key> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(move || Key {
        high: random.u64(..),
        low: random.u64(..),
    })
}

#[test]
fn a_bucket_is_nine_cache_lines() {
    assert_eq!(size_of::<Bucket>(), 9 * 64);
    let stats = table().stats();
    assert_eq!((stats.entries, stats.bytes), (1024, 1024 * 72));
}

#[test]
fn a_table_outside_its_bounds_is_refused() {
    for entries in [0, Table::ENTRIES_MIN - 1, Table::ENTRIES_MAX + 1] {
        assert!(matches!(
            Table::new(entries, [0; 32], 0),
            Err(LimitError::Entries { .. })
        ));
    }
}

#[test]
fn ten_times_more_keys_than_places_are_counted_as_evicted_and_none_is_refused() {
    let table = table();
    let policy = policy(&table, 5, Duration::ZERO);
    for key in keys(1).take(10_240) {
        assert!(!table.take(&policy, key, START).refuses());
    }
    let stats = table.stats();
    assert_eq!(stats.evicted, 10_240 - 1024);
    assert_eq!((stats.evicted_refused, stats.uncounted), (0, 0));
}

#[test]
fn a_refused_key_stays_refused_under_a_flood_of_new_keys() {
    let table = table();
    for penalty in [Duration::ZERO, Duration::from_mins(10)] {
        let policy = policy(&table, 5, penalty);
        let hostile: Vec<_> = keys(2).take(40).collect();
        for &key in &hostile {
            while !table.take(&policy, key, START).refuses() {}
        }
        // A thousand times the table, each key once or twice.
        for (n, key) in keys(3).take(1_024_000).enumerate() {
            let _answer = table.take(&policy, key, START + n as u64);
            if n % 3 == 0 {
                let _answer = table.take(&policy, key, START + n as u64);
            }
        }
        for &key in &hostile {
            assert!(table.take(&policy, key, START + SECOND).refuses());
        }
    }
    assert_eq!(table.stats().evicted_refused, 0);
}

#[test]
fn a_key_halfway_to_its_limit_keeps_its_count_under_a_flood_of_new_keys() {
    let table = table();
    let policy = policy(&table, 100, Duration::ZERO);
    let client = Key { high: 1, low: 2 };
    for _ in 0..50 {
        assert!(!table.take(&policy, client, START).refuses());
    }
    for key in keys(4).take(200_000) {
        let _answer = table.take(&policy, key, START);
    }
    assert_eq!(table.take(&policy, client, START).remaining, 49);
}

#[test]
fn only_more_refused_keys_than_a_bucket_has_places_push_one_out() {
    let table = table();
    let policy = policy(&table, 1, Duration::from_mins(1));
    // All in one bucket, which nobody without the secret can arrange.
    let key = |low: u64| Key {
        high: 0,
        low: low << 48 | low,
    };
    for low in 1..=8 {
        while !table
            .take(&policy, key(low), START + low * SECOND)
            .refuses()
        {}
    }
    let _answer = table.take(&policy, key(9), START + 10 * SECOND);
    let stats = table.stats();
    assert_eq!((stats.evicted, stats.evicted_refused), (1, 1));
    // The one whose penalty would have ended first.
    assert_eq!(
        table.look(&policy, key(1), START + 10 * SECOND).outcome,
        Outcome::Allow
    );
    assert!((2..=8).all(|low| table.look(&policy, key(low), START + 10 * SECOND).refuses()));
}

#[test]
fn what_can_matter_no_more_makes_room_without_being_evicted() {
    let table = table();
    let policy = policy(&table, 5, Duration::ZERO);
    for round in 0..20 {
        for key in keys(round).take(60) {
            let _answer = table.take(&policy, key, START + round * 60 * SECOND);
        }
    }
    assert_eq!(table.stats().evicted, 0);
}

#[test]
fn looking_at_unknown_keys_takes_no_place() {
    let table = table();
    let policy = policy(&table, 5, Duration::ZERO);
    let known = Key { high: 0, low: 0 };
    table.charge(&policy, known, 3, START);
    for key in keys(5).take(100_000) {
        assert_eq!(table.look(&policy, key, START).remaining, 5);
    }
    assert_eq!(table.look(&policy, known, START).remaining, 2);
    assert_eq!(table.stats().evicted, 0);
}

#[test]
fn threads_together_are_admitted_exactly_the_limit() {
    let table = table();
    let policy = policy(&table, 1000, Duration::ZERO);
    let key = Key { high: 5, low: 5 };
    let taken: usize = std::thread::scope(|scope| {
        let take = || {
            let admitted = |_: &i32| !table.take(&policy, key, START).refuses();
            (0..2000).filter(admitted).count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(taken, 1000);
}

#[test]
fn eviction_survives_time_going_back() {
    let table = table();
    let policy = policy(&table, 5, Duration::from_hours(1));
    for (key, now) in keys(6)
        .take(20_000)
        .zip([u64::MAX, 0, START, START / 2].into_iter().cycle())
    {
        let _answer = table.take(&policy, key, now);
    }
    // A new key is still counted rightly.
    let key = Key { high: 77, low: 77 };
    for left in (0..5).rev() {
        assert_eq!(table.take(&policy, key, START).remaining, left);
    }
    assert!(table.take(&policy, key, START).refuses());
}

#[test]
fn a_key_that_is_not_at_home_keeps_its_count() {
    let table = table();
    let policy = policy(&table, 10, Duration::ZERO);
    // Eight keys of one bucket that all have the same home.
    let keys: Vec<_> = (0..8)
        .map(|n: u64| Key {
            high: 5,
            low: n << 40 | 3,
        })
        .collect();
    for used in 1..=5 {
        for &key in &keys {
            let answer = table.take(&policy, key, START);
            assert_eq!(answer.remaining, 10 - used);
        }
    }
    assert_eq!((table.stats().evicted, table.used(START)), (0, 8));
}

#[test]
fn what_can_still_matter_is_counted_and_estimated_in_a_big_table() {
    let big = Table::new(Table::SAMPLE * 8 * 3, [7; 32], START).unwrap();
    let small = table();
    for (table, count) in [(&small, 100), (&big, 100_000)] {
        let policy = policy(table, 10, Duration::ZERO);
        assert_eq!(table.used(START), 0);
        for key in keys(1).take(count) {
            let _answer = table.take(&policy, key, START);
        }
        let (used, count) = (table.used(START), count as u64);
        assert!(used.abs_diff(count) <= count / 50, "{used} of {count}");
        assert_eq!(table.used(START + 3600 * SECOND), 0);
    }
}
