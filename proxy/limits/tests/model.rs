//! The counters against a naive model that remembers every moment, over random traces with fixed seeds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use aegis_limits::{
    Admission, Bound, Facts, LimitError, Measure, Nanos, Outcome, Part, Policy, Rules, Spec,
    StatusSet, Table, Usage,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_800_000_000 * SECOND;

struct Client(u32);

impl Facts for Client {
    fn address(&self) -> IpAddr {
        Ipv4Addr::from_bits(self.0).into()
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

fn rules(bound: Bound) -> Result<Arc<Rules>, LimitError> {
    let table = Arc::new(Table::new(1 << 14, [9; 32], START)?);
    let spec = Spec {
        name: "p".into(),
        bound,
        key: vec![Part::Address],
        penalty: Duration::ZERO,
        dry_run: false,
        v4_prefix: 32,
        v6_prefix: 64,
    };
    let policy = Policy::new(&table, &spec, "")?;
    Rules::new(table, vec![policy]).map(Arc::new)
}

/// Every unit admitted, with its moment, and what follows from that by the definition in words.
struct Naive {
    limit: u64,
    burst: u64,
    window: u64,
    admitted: Vec<(Nanos, u64)>,
}

impl Naive {
    fn in_window(&self, index: u64) -> u64 {
        let inside = |(at, _): &&(Nanos, u64)| at / self.window == index;
        self.admitted.iter().filter(inside).map(|(_, n)| n).sum()
    }

    fn estimate(&self, now: Nanos) -> f64 {
        let index = now / self.window;
        let left = (self.window - now % self.window) as f64 / self.window as f64;
        self.in_window(index) as f64 + self.in_window(index - 1) as f64 * left
    }

    /// Burst already spent, window by window since the beginning.
    fn debt(&self, now: Nanos) -> u64 {
        let first = self.admitted.first().map_or(now, |(at, _)| *at) / self.window;
        (first..now / self.window).fold(0, |debt, index| {
            (debt + self.in_window(index))
                .saturating_sub(self.limit)
                .min(self.burst)
        })
    }

    fn budget(&self, now: Nanos) -> u64 {
        self.limit + self.burst - self.debt(now)
    }

    /// The greatest sum in any interval of `length`, half open, which begins at some admitted unit.
    fn most_in(&self, length: u64) -> u64 {
        let from = |&(start, _): &(Nanos, u64)| {
            let inside = |(at, _): &&(Nanos, u64)| (start..start + length).contains(at);
            self.admitted.iter().filter(inside).map(|(_, n)| n).sum()
        };
        self.admitted.iter().map(from).max().unwrap_or(0)
    }

    fn check_promises(&self, seed: u64) {
        let (limit, burst) = (self.limit, self.burst);
        let Some(first) = self.admitted.first().map(|(at, _)| at / self.window) else {
            return;
        };
        let last = self
            .admitted
            .last()
            .map_or(first, |(at, _)| at / self.window);
        for from in first..=last {
            let mut sum = 0;
            for (n, index) in (1..).zip(from..=last) {
                sum += self.in_window(index);
                assert!(
                    sum <= n * limit + burst,
                    "seed {seed}: {sum} in {n} windows"
                );
            }
        }
        let most = self.most_in(self.window);
        assert!(
            most <= 2 * (limit + burst),
            "seed {seed}: {most} in one window's length"
        );
    }
}

fn step(random: &mut fastrand::Rng, window: u64) -> u64 {
    match random.u32(0..10) {
        0 => 0,
        1 => random.u64(0..window * 3),
        2..5 => random.u64(0..window / 2),
        _ => random.u64(0..window / 50),
    }
}

#[test]
fn requests_are_admitted_as_the_naive_model_says_and_never_above_the_promises() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = random.u64(1..40);
        let window = Duration::from_millis(random.u64(100..10_000));
        let burst = random.u64(0..=limit.min(20));
        let of = Measure::Requests {
            count_refused: false,
        };
        let rules = rules(Bound::Rate {
            of,
            limit,
            window,
            burst,
        })
        .unwrap();
        let window = window.as_nanos() as u64;
        let mut naive: Vec<_> = (0..3)
            .map(|_| Naive {
                limit,
                burst,
                window,
                admitted: vec![],
            })
            .collect();
        let mut now = START;
        for _ in 0..600 {
            now += step(&mut random, window);
            let client = random.usize(0..3);
            let naive = &mut naive[client];
            let admitted = rules.admit(&Client(client as u32), now).is_ok();
            let (estimate, budget) = (naive.estimate(now), naive.budget(now) as f64);
            // Rounding to the nearest unit, and shares of a window in 65,536ths.
            let error = 0.5 + estimate / 65_536.0 + 1e-6;
            if admitted {
                assert!(
                    estimate - error < budget,
                    "seed {seed}: {estimate} of {budget} admitted"
                );
                naive.admitted.push((now, 1));
            } else {
                assert!(
                    estimate + error >= budget,
                    "seed {seed}: {estimate} of {budget} refused"
                );
            }
        }
        naive.iter().for_each(|naive| naive.check_promises(seed));
    }
}

/// Policies on what is known afterwards: each request is judged by what was reported before it.
fn charged(of: &Measure, mut usage: impl FnMut(&mut fastrand::Rng) -> (Usage, u64)) {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = random.u64(1..100_000) / random.u64(1..1000) + 1;
        let window = random.u64(100..10_000) * 1_000_000;
        let bound = Bound::Rate {
            of: of.clone(),
            limit,
            window: Duration::from_nanos(window),
            burst: 0,
        };
        let rules = rules(bound).unwrap();
        let mut naive = Naive {
            limit,
            burst: 0,
            window,
            admitted: vec![],
        };
        let mut now = START;
        for _ in 0..300 {
            now += step(&mut random, window);
            let (estimate, error) = (
                naive.estimate(now),
                0.5 + naive.estimate(now) / 65_536.0 + 1e-6,
            );
            match rules.admit(&Client(1), now) {
                Ok(admission) => {
                    assert!(
                        estimate - error < limit as f64,
                        "seed {seed}: {estimate} of {limit}"
                    );
                    let (usage, amount) = usage(&mut random);
                    admission.charge(&usage, now);
                    naive.admitted.push((now, amount));
                }
                Err(refusal) => {
                    assert!(
                        estimate + error >= limit as f64,
                        "seed {seed}: {estimate} of {limit}"
                    );
                    assert!(refusal.answer.wait <= 2 * window, "seed {seed}");
                    if random.bool() {
                        now += refusal.answer.wait;
                        assert!(rules.admit(&Client(1), now).is_ok(), "seed {seed}");
                    }
                }
            }
        }
    }
}

#[test]
fn bytes_are_limited_by_what_was_sent() {
    charged(&Measure::Bytes, |random| {
        let bytes = random.u64(0..5000);
        (
            Usage {
                bytes,
                waf_micros: 9_999_999,
                status: Some(500),
            },
            bytes,
        )
    });
}

#[test]
fn errors_are_limited_by_the_statuses_that_are_errors() {
    let statuses = StatusSet::new(&[401..=401, 500..=599]).unwrap();
    charged(&Measure::Errors(statuses), |random| {
        let status = *random.choice(&[200, 401, 404, 500, 503]).unwrap();
        let usage = Usage {
            bytes: 9_999_999,
            status: Some(status),
            waf_micros: 9_999_999,
        };
        (usage, u64::from(matches!(status, 401 | 500 | 503)))
    });
}

#[test]
fn waf_time_is_limited_by_what_was_computed() {
    charged(&Measure::WafMicros, |random| {
        let waf_micros = random.u64(0..5000);
        (
            Usage {
                bytes: 9_999_999,
                status: Some(500),
                waf_micros,
            },
            waf_micros,
        )
    });
}

#[test]
fn requests_in_flight_are_those_begun_and_not_ended() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = random.u64(1..20);
        let rules = rules(Bound::InFlight { limit }).unwrap();
        let mut flying: [Vec<Admission>; 3] = Default::default();
        for _ in 0..1000 {
            let client = random.usize(0..3);
            let flying = &mut flying[client];
            // The clock jumps anywhere: it has no say here.
            let now = random.u64(..);
            if random.bool() {
                let admitted = rules.admit(&Client(client as u32), now);
                assert_eq!(
                    admitted.is_ok(),
                    (flying.len() as u64) < limit,
                    "seed {seed}"
                );
                flying.extend(admitted);
            } else if !flying.is_empty() {
                let ended = flying.swap_remove(random.usize(0..flying.len()));
                assert!(
                    ended
                        .answers()
                        .all(|(_, answer)| answer.outcome == Outcome::Allow)
                );
            }
        }
    }
}
