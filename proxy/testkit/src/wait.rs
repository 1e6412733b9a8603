//! Waiting for a fact with a deadline instead of sleeping for a guess.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long [`eventually`] waits: far longer than anything waited for takes, as CI machines are slow.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Asks `probe` again and again until it gives a value; panics with `what` after [`DEADLINE`].
pub fn eventually<T>(what: impl Display, probe: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, probe)
}

/// As [`eventually`], with another deadline.
pub fn within<T>(deadline: Duration, what: impl Display, probe: impl FnMut() -> Option<T>) -> T {
    match try_within(deadline, probe) {
        Some(value) => value,
        None => panic!("not within {deadline:?}: {what}"),
    }
}

/// As [`within`], but gives `None` instead of a panic.
pub fn try_within<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
