//! Up or down: consecutive results against two thresholds. Pure; time is an argument.
//!
//! With active checks, probes decide, and a failed connect of a request counts as a failed probe. Without them the
//! connects of requests are all there is: a server that is down gets one request every [`RETRY_AFTER_MS`], and the first
//! connect that works brings it back.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How long a server without active checks is left alone after it went down.
pub(crate) const RETRY_AFTER_MS: u64 = 10_000;

/// When a server changes its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// Consecutive failures before it is down.
    pub(crate) unhealthy: u32,
    /// Consecutive successes before it is up.
    pub(crate) healthy: u32,
    /// Probes run.
    pub(crate) active: bool,
}

/// What one result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Up,
    Down,
}

/// The state of one server: the high bit says down, the rest counts results against that state.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: AtomicU32,
    /// Milliseconds on the pool's clock when it went down, or was last given a request while down.
    down_at: AtomicU64,
}

const DOWN: u32 = 1 << 31;

/// One step of the state machine.
fn step(state: u32, ok: bool, thresholds: Thresholds) -> (u32, Change) {
    let down = state & DOWN;
    let streak = state & !DOWN;
    let agrees = ok == (down == 0);
    if agrees {
        return (down, Change::None);
    }
    let streak = streak.saturating_add(1).min(DOWN - 1);
    if down == 0 && streak >= thresholds.unhealthy {
        (DOWN, Change::Down)
    } else if down != 0 && streak >= thresholds.healthy {
        (0, Change::Up)
    } else {
        (down | streak, Change::None)
    }
}

impl Health {
    pub(crate) fn is_up(&self) -> bool {
        self.state.load(Ordering::Relaxed) & DOWN == 0
    }

    /// Nothing has gone wrong lately: recording a success would change nothing.
    pub(crate) fn is_clean(&self) -> bool {
        self.state.load(Ordering::Relaxed) == 0
    }

    /// Records one result.
    pub(crate) fn record(&self, ok: bool, now_ms: u64, thresholds: Thresholds) -> Change {
        let mut change = Change::None;
        let next = |state| {
            let (state, changed) = step(state, ok, thresholds);
            change = changed;
            Some(state)
        };
        // The closure always returns `Some`.
        if self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
            && change == Change::Down
        {
            self.down_at.store(now_ms, Ordering::Relaxed);
        }
        change
    }

    /// May a request go there? A server that is down and has no probes is tried again now and then, by one request.
    pub(crate) fn usable(&self, now_ms: impl Fn() -> u64, thresholds: Thresholds) -> bool {
        if self.is_up() {
            return true;
        }
        if thresholds.active {
            return false;
        }
        let (since, now) = (self.down_at.load(Ordering::Relaxed), now_ms());
        now.saturating_sub(since) >= RETRY_AFTER_MS
            && self
                .down_at
                .compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Health, RETRY_AFTER_MS, Thresholds};

    const ACTIVE: Thresholds = Thresholds {
        unhealthy: 2,
        healthy: 3,
        active: true,
    };
    const PASSIVE: Thresholds = Thresholds {
        unhealthy: 2,
        healthy: 1,
        active: false,
    };

    #[test]
    fn it_goes_down_and_up_at_the_thresholds() {
        let health = Health::default();
        assert_eq!(health.record(false, 0, ACTIVE), Change::None);
        assert_eq!(health.record(true, 0, ACTIVE), Change::None);
        assert_eq!(
            health.record(false, 0, ACTIVE),
            Change::None,
            "a success starts the count anew"
        );
        assert_eq!(health.record(false, 0, ACTIVE), Change::Down);
        assert!(!health.is_up());
        assert_eq!(health.record(true, 0, ACTIVE), Change::None);
        assert_eq!(health.record(false, 0, ACTIVE), Change::None);
        assert_eq!(health.record(true, 0, ACTIVE), Change::None);
        assert_eq!(health.record(true, 0, ACTIVE), Change::None);
        assert_eq!(health.record(true, 0, ACTIVE), Change::Up);
        assert!(health.is_clean());
    }

    #[test]
    fn with_probes_a_server_that_is_down_gets_no_request() {
        let health = Health::default();
        health.record(false, 0, ACTIVE);
        health.record(false, 0, ACTIVE);
        assert!(!health.usable(|| RETRY_AFTER_MS * 100, ACTIVE));
    }

    #[test]
    fn without_probes_one_request_tries_a_down_server_again_after_a_while() {
        let health = Health::default();
        health.record(false, 500, PASSIVE);
        assert_eq!(health.record(false, 1_000, PASSIVE), Change::Down);
        assert!(!health.usable(|| 1_000 + RETRY_AFTER_MS - 1, PASSIVE));
        assert!(health.usable(|| 1_000 + RETRY_AFTER_MS, PASSIVE));
        assert!(
            !health.usable(|| 1_000 + RETRY_AFTER_MS, PASSIVE),
            "only one request tries it"
        );
        assert_eq!(
            health.record(true, 1_000 + RETRY_AFTER_MS, PASSIVE),
            Change::Up
        );
    }
}
