//! Rounds of two threads, measured by the time each was on a CPU: what else the machine does is not the figure's.

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::Barrier;

const THREADS: u64 = 2;
const ROUNDS: usize = 7;

/// Prints a result: nanoseconds an operation; unless the program's argument is the begin of another metric's name. `work` gets the thread's own randomness and how often to work, and gives
/// something that depends on all of it.
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

fn slowest(round: u64, operations: u64, work: &(impl Fn(fastrand::Rng, u64) -> u64 + Sync)) -> f64 {
    let barrier = Barrier::new(THREADS as usize);
    let one = |thread: u64| {
        let random = fastrand::Rng::with_seed(round * THREADS + thread);
        on_core(thread as usize);
        barrier.wait();
        let start = cpu_nanos();
        black_box(work(random, operations));
        (cpu_nanos() - start) / operations as f64
    };
    std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || one(thread)))
            .collect();
        let times = threads.into_iter().filter_map(|thread| thread.join().ok());
        times.fold(0.0, f64::max)
    })
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
