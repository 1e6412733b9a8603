use super::*;
use crate::{Bound, Measure, Part, Spec, Table};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// A moment at the beginning of a window of any length used here.
const START: u64 = 1_800_000_000 * SECOND;

fn policy(limit: u64, window_ms: u64, burst: u64, penalty_ms: u64, count_refused: bool) -> Policy {
    let table = Table::new(Table::ENTRIES_MIN, [7; 32], 0).unwrap();
    let spec = Spec {
        name: "p".into(),
        bound: Bound::Rate {
            of: Measure::Requests { count_refused },
            limit,
            window: Duration::from_millis(window_ms),
            burst,
        },
        key: vec![Part::Address],
        penalty: Duration::from_millis(penalty_ms),
        dry_run: false,
        v4_prefix: 32,
        v6_prefix: 64,
    };
    Policy::new(&table, &spec, "").unwrap()
}

fn taken(count: &mut Count, policy: &Policy, now: Nanos, tries: u64) -> u64 {
    let admitted = |_: &u64| count.admit(policy, 1, now).outcome == Outcome::Allow;
    (0..tries).filter(admitted).count() as u64
}

#[test]
fn a_quiet_key_may_use_its_limit_at_once_and_then_waits_for_the_window_to_slide() {
    let policy = policy(10, 1000, 0, 0, false);
    let mut count = Count::default();
    assert_eq!(taken(&mut count, &policy, START, 100), 10);
    let refused = count.admit(&policy, 1, START);
    assert_eq!(refused.outcome, Outcome::Limited(Why::Exceeded));
    // Halfway through the next window half of the ten are out of view.
    assert_eq!(taken(&mut count, &policy, START + SECOND * 3 / 2, 100), 5);
    assert_eq!(taken(&mut count, &policy, START + SECOND * 9, 100), 10);
}

#[test]
fn refused_requests_do_not_count_unless_told_to() {
    for (counts, later) in [(false, 10), (true, 0)] {
        let policy = policy(10, 1000, 0, 0, counts);
        let mut count = Count::default();
        assert_eq!(taken(&mut count, &policy, START, 1000), 10);
        // Nearly the whole first window is out of view.
        let now = START + 2 * SECOND - SECOND / 100;
        assert_eq!(taken(&mut count, &policy, now, 10), later, "{counts}");
    }
}

#[test]
fn a_burst_is_spent_once_and_comes_back_by_what_stays_unused() {
    let policy = policy(10, 1000, 5, 0, false);
    let mut count = Count::default();
    assert_eq!(taken(&mut count, &policy, START, 100), 15);
    // The burst is owed: at the end of each following window no more than the limit was admitted in it.
    for window in 1..5 {
        let end = START + (window + 1) * SECOND - 1;
        assert_eq!(taken(&mut count, &policy, end, 100), 10, "window {window}");
    }
    // One window of silence after a full one pays it back, and the burst is there again.
    assert_eq!(taken(&mut count, &policy, START + 7 * SECOND, 100), 15);
}

#[test]
fn a_penalty_refuses_everything_for_its_time_and_asking_does_not_extend_it() {
    let policy = policy(2, 1000, 0, 60_000, false);
    let mut count = Count::default();
    assert_eq!(taken(&mut count, &policy, START, 3), 2);
    for seconds in 1..60 {
        let answer = count.admit(&policy, 1, START + seconds * SECOND);
        assert_eq!(answer.outcome, Outcome::Limited(Why::Penalty));
        assert_eq!(answer.wait, (60 - seconds) * SECOND);
    }
    assert_eq!(taken(&mut count, &policy, START + 60 * SECOND, 3), 2);
}

#[test]
fn a_client_that_waits_as_told_is_served() {
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..20_000 {
        let limit = random.u64(1..200);
        let policy = policy(
            limit,
            random.u64(100..5000),
            random.u64(0..=limit.min(50)),
            if random.bool() {
                0
            } else {
                random.u64(1..20_000)
            },
            random.bool(),
        );
        let mut count = Count::default();
        let mut now = START + random.u64(0..10 * SECOND);
        for _ in 0..random.u32(1..300) {
            now += random.u64(0..SECOND / 10);
            let answer = count.admit(&policy, 1, now);
            if answer.outcome == Outcome::Allow {
                continue;
            }
            let mut later = count;
            let served = later.admit(&policy, 1, now + answer.wait);
            let calm = !policy.counts_refused();
            assert!(
                served.outcome == Outcome::Allow || !calm && answer.wait > 0,
                "round {round}: told to wait {}, then {served:?}: {count:?} {policy:?}",
                answer.wait
            );
        }
    }
}

#[test]
fn what_was_charged_afterwards_holds_until_it_slid_out_of_view() {
    let policy = policy(1000, 1000, 0, 0, false);
    let mut count = Count::default();
    assert_eq!(count.admit(&policy, 0, START).outcome, Outcome::Allow);
    count.charge(&policy, 50_000, START);
    let answer = count.admit(&policy, 0, START + 1);
    assert_eq!(answer.outcome, Outcome::Limited(Why::Exceeded));
    assert!(answer.wait <= 2 * SECOND && answer.wait > SECOND);
    let later = START + 1 + answer.wait;
    assert_eq!(count.admit(&policy, 0, later).outcome, Outcome::Allow);
    count.charge(&policy, u64::MAX, later);
    count.charge(&policy, u64::MAX, later);
    assert!(count.admit(&policy, 0, later + SECOND).outcome != Outcome::Allow);
    assert_eq!(
        count.admit(&policy, 0, later + 2 * SECOND).outcome,
        Outcome::Allow
    );
}

#[test]
fn a_refund_gives_back_also_after_the_window_turned() {
    let policy = policy(1, 1000, 0, 0, false);
    let mut count = Count::default();
    assert_eq!(taken(&mut count, &policy, START, 1), 1);
    count.refund(&policy, 1, START + SECOND);
    assert_eq!(taken(&mut count, &policy, START + SECOND, 2), 1);
    count.refund(&policy, 5, START + SECOND);
    assert_eq!(count.current, 0);
}

#[test]
fn time_going_back_neither_gives_nor_takes_more_than_one_window() {
    let policy = policy(10, 1000, 0, 5000, false);
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..2000 {
        let mut count = Count::default();
        let far = START + random.u64(0..1000 * 86_400 * SECOND);
        taken(&mut count, &policy, far, random.u64(0..30));
        // Back by anything from nothing to everything.
        let back = if random.bool() {
            random.u64(0..2 * SECOND)
        } else {
            random.u64(0..=far)
        };
        let now = far - back;
        let admitted = taken(&mut count, &policy, now, 30);
        assert!(admitted <= 10);
        // Penalty and two windows later all is as new, however far back it went.
        let later = now + 8 * SECOND;
        assert_eq!(taken(&mut count, &policy, later, 30), 10, "back by {back}");
    }
}

#[test]
fn a_step_back_over_one_edge_keeps_the_count() {
    let policy = policy(10, 1000, 0, 0, false);
    let mut count = Count::default();
    assert_eq!(taken(&mut count, &policy, START, 7), 7);
    assert_eq!(taken(&mut count, &policy, START - 1, 7), 3);
    assert_eq!(taken(&mut count, &policy, START + 1, 7), 0);
}

#[test]
fn the_end_of_time_is_survived() {
    let policy = policy(1, 1000, 0, 1000, true);
    let mut count = Count::default();
    for now in [0, u64::MAX, 0, u64::MAX - 1, 1] {
        for _ in 0..3 {
            let answer = count.admit(&policy, 1, now);
            assert!(answer.retry_after() >= 1);
            count.charge(&policy, u64::MAX, now);
            assert!(count.ends(&policy.rate) > 0);
        }
    }
}

#[test]
fn a_key_s_refusal_is_told_once_a_window_and_at_most_once_a_second() {
    for (window_ms, period) in [(100, SECOND), (1000, SECOND), (60_000, 60 * SECOND)] {
        let policy = policy(1, window_ms, 0, 0, true);
        let mut count = Count::default();
        let start = START - START % period;
        let told = |count: &mut Count, from: Nanos| {
            let tries = (0..100).map(|n| from + n * period / 100);
            tries
                .filter(|&now| count.admit(&policy, 1, now).first)
                .count()
        };
        for n in 0..3 {
            assert_eq!(told(&mut count, start + n * period), 1, "{window_ms} ms");
        }
    }
}
