//! Rounds of two threads, measured by the time each was on a CPU: what else the machine does is not the figure's.

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const THREADS: u64 = 2;
const ROUNDS: usize = 7;
/// For this part of a round a thread may be alone, or it is tried again, so often.
const ALONE_MAX: f64 = 0.1;
const TRIES: usize = 20;

/// Prints a result, nanoseconds an operation, unless the program's argument is the begin of another metric's name. `work`
/// gets the thread's own randomness and how often to work, and gives something that depends on all of it.
pub(crate) fn measure(
    metric: &str,
    operations: u64,
    work: impl Fn(fastrand::Rng, u64) -> u64 + Sync,
) {
    if let Some(only) = std::env::args().nth(1)
        && !metric.starts_with(&only)
    {
        return;
    }
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|round| slowest(round as u64, operations, &work))
        .collect();
    rounds.sort_by(f64::total_cmp);
    let at = |index: usize| rounds.get(index).copied().unwrap_or(f64::NAN);
    println!("RESULT door {metric} {:.1} ns", at(ROUNDS / 2));
    println!(
        "  {metric}: best {:.1}, worst {:.1} of {ROUNDS} rounds",
        at(0),
        at(ROUNDS - 1)
    );
}

/// What it costs to hand a line of memory to the other core and to get it back. Threads that write the same counts pay it
/// again and again, and virtual cores are now near each other, now far: 110 and 520 ns were seen within minutes.
pub(crate) fn round_trip() {
    const TRIPS: u64 = 100_000;
    #[repr(align(128))]
    struct Line(AtomicU64);
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let wait = |line: &Line, n| {
        while line.0.load(Ordering::Acquire) < n {
            std::hint::spin_loop();
        }
    };
    let once = || {
        for line in [&there, &back] {
            line.0.store(0, Ordering::Release);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                on_core(1);
                for n in 1..=TRIPS {
                    wait(&there, n);
                    back.0.store(n, Ordering::Release);
                }
            });
            let asks = scope.spawn(|| {
                on_core(0);
                let begin = Instant::now();
                for n in 1..=TRIPS {
                    there.0.store(n, Ordering::Release);
                    wait(&back, n);
                }
                begin.elapsed().as_nanos() as f64 / TRIPS as f64
            });
            asks.join().unwrap_or(f64::NAN)
        })
    };
    // By the wall's clock, so the least: what others do on these cores only adds to it.
    let least = (0..ROUNDS).map(|_| once()).fold(f64::MAX, f64::min);
    println!("RESULT door core_round_trip_ns {least:.1} ns");
}

/// A round in which both threads were at work for all of the time, or nearly: who runs alone contends with nobody.
fn slowest(round: u64, operations: u64, work: &(impl Fn(fastrand::Rng, u64) -> u64 + Sync)) -> f64 {
    let mut least = (f64::MAX, f64::MAX);
    for _ in 0..TRIES {
        let (nanos, alone) = once(round, operations, work);
        if alone <= ALONE_MAX {
            return nanos;
        }
        if alone < least.0 {
            least = (alone, nanos);
        }
    }
    println!(
        "  the machine is busy: for {:.0} % of this round a thread was alone",
        least.0 * 100.0
    );
    least.1
}

/// What an operation took by the slower thread's CPU time, and for which part of the time not both were at work.
fn once(
    round: u64,
    operations: u64,
    work: &(impl Fn(fastrand::Rng, u64) -> u64 + Sync),
) -> (f64, f64) {
    let barrier = Barrier::new(THREADS as usize);
    let one = |thread: u64| {
        let random = fastrand::Rng::with_seed(round * THREADS + thread);
        on_core(thread as usize);
        barrier.wait();
        let (begin, start) = (Instant::now(), cpu_nanos());
        black_box(work(random, operations));
        (cpu_nanos() - start, begin, Instant::now())
    };
    let times: Vec<(f64, Instant, Instant)> = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || one(thread)))
            .collect();
        let times = threads.into_iter().filter_map(|thread| thread.join().ok());
        times.collect()
    });
    let least = times.iter().map(|time| time.0).fold(f64::MAX, f64::min);
    let most = times.iter().map(|time| time.0).fold(0.0, f64::max);
    let begin = times.iter().map(|time| time.1).min();
    let wall = begin.and_then(|begin| times.iter().map(|time| time.2 - begin).max());
    let alone = wall.map_or(1.0, |wall| 1.0 - least / wall.as_nanos() as f64);
    (most / operations as f64, alone)
}

/// Each thread has a core of its own: two that take turns on one, as on a busy machine, are in nobody's way. Where there
/// are fewer cores it stays where it is.
fn on_core(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).unwrap_or_default();
}

fn cpu_nanos() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
