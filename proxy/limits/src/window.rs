//! The arithmetic of one count: two windows, burst, penalty. Nothing here knows of tables or keys.

use crate::answer::Why;
use crate::policy::{Policy, Rate};
use crate::{Answer, Nanos, Outcome};

/// Shares of a window are counted in 65,536ths: a window of a day is then cut into 1.3 s.
const WHOLE: u64 = 1 << 16;
/// A key's refusals are told at most so often.
const TOLD_EVERY: Nanos = 1_000_000_000;

/// What is remembered of one key under one policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Index of the window `current` belongs to: time since the epoch by the window's length.
    window: u64,
    /// In this window; or requests in flight.
    pub(crate) current: u64,
    /// In the window before.
    previous: u64,
    /// How much of the burst is spent.
    debt: u64,
    /// Refused until then; 0 = no penalty.
    blocked_until: Nanos,
    /// The period a refusal was last told in, from 1; 0 = none was.
    told: u64,
}

/// A moment as a place in a policy's windows.
#[derive(Clone, Copy)]
struct Place {
    window: u64,
    /// Nanoseconds since it began.
    offset: u64,
}

impl Place {
    fn at(now: Nanos, rate: &Rate) -> Self {
        let (window, offset) = rate.window.divide(now);
        Self { window, offset }
    }

    /// The share of the previous window still in view, 1 to [`WHOLE`].
    fn weight(self, rate: &Rate) -> u64 {
        // A window is at most a day, 2^47 ns.
        WHOLE - rate.window.divide(self.offset << 16).0
    }
}

impl Count {
    pub(crate) const WORDS: usize = 6;

    pub(crate) fn of_words(words: [u64; Self::WORDS]) -> Self {
        let [window, current, previous, debt, blocked_until, told] = words;
        Self {
            window,
            current,
            previous,
            debt,
            blocked_until,
            told,
        }
    }

    pub(crate) fn to_words(self) -> [u64; Self::WORDS] {
        [
            self.window,
            self.current,
            self.previous,
            self.debt,
            self.blocked_until,
            self.told,
        ]
    }

    /// Decides on a request and counts `amount` of it when it may go on.
    pub(crate) fn admit(&mut self, policy: &Policy, amount: u64, now: Nanos) -> Answer {
        let rate = &policy.rate;
        let place = self.turn(rate, now);
        let blocked = self.blocked(policy, now);
        let (used, budget) = (self.used(place, rate), self.budget(rate));
        if !blocked && used < budget {
            self.current = self.current.saturating_add(amount);
            return Answer {
                outcome: Outcome::Allow,
                remaining: budget - used - amount.min(budget - used),
                wait: rate.window.nanos() - place.offset,
                first: false,
            };
        }
        if policy.counts_refused() {
            self.current = self.current.saturating_add(amount);
        }
        self.refuse(policy, blocked, now, |count, from| {
            // Judged at the end of the penalty: room there is now may be gone by then.
            let mut then = *count;
            let place = then.turn(rate, from);
            then.wait(place, rate)
        })
    }

    /// Counts what is known only now.
    pub(crate) fn charge(&mut self, policy: &Policy, amount: u64, now: Nanos) {
        let rate = &policy.rate;
        let place = self.turn(rate, now);
        self.current = self.current.saturating_add(amount);
        if self.used(place, rate) > self.budget(rate) && !self.blocked(policy, now) {
            self.punish(policy, now);
        }
    }

    /// Takes back what was counted for a request another policy refused.
    pub(crate) fn refund(&mut self, policy: &Policy, amount: u64, now: Nanos) {
        self.turn(&policy.rate, now);
        let in_current = amount.min(self.current);
        self.current -= in_current;
        self.previous = self.previous.saturating_sub(amount - in_current);
    }

    /// One more request in flight, if there is room.
    pub(crate) fn enter(&mut self, policy: &Policy, now: Nanos) -> Answer {
        let blocked = self.blocked(policy, now);
        if !blocked && self.current < policy.rate.limit {
            self.current += 1;
            return Answer {
                outcome: Outcome::Allow,
                remaining: policy.rate.limit - self.current,
                wait: 0,
                first: false,
            };
        }
        self.refuse(policy, blocked, now, |_, _| 0)
    }

    /// One request in flight less.
    pub(crate) fn leave(&mut self) {
        self.current = self.current.saturating_sub(1);
    }

    /// When what is remembered can matter no more.
    pub(crate) fn ends(&self, rate: &Rate) -> Nanos {
        let windows = self.window.saturating_add(1 + rate.kept);
        windows
            .saturating_mul(rate.window.nanos())
            .max(self.blocked_until)
    }

    /// When the penalty ends.
    pub(crate) fn blocked_until(&self) -> Nanos {
        self.blocked_until
    }

    /// How far the budget is used, by powers of two: 63 at the limit, one less for every halving.
    pub(crate) fn rank(&self, rate: &Rate) -> u8 {
        let used = self.current.max(self.previous).max(1);
        let halvings = rate.limit.ilog2().saturating_sub(used.ilog2());
        63_u8.saturating_sub(u8::try_from(halvings).unwrap_or(63))
    }

    fn refuse(
        &mut self,
        policy: &Policy,
        blocked: bool,
        now: Nanos,
        wait: impl FnOnce(&Self, Nanos) -> u64,
    ) -> Answer {
        if !blocked {
            self.punish(policy, now);
        }
        let why = if blocked { Why::Penalty } else { Why::Exceeded };
        let from = self.blocked_until.max(now);
        let period = now / policy.rate.window.nanos().max(TOLD_EVERY) + 1;
        let first = self.told != period;
        self.told = period;
        Answer {
            outcome: if policy.dry_run {
                Outcome::WouldLimit(why)
            } else {
                Outcome::Limited(why)
            },
            remaining: 0,
            wait: (from - now).saturating_add(wait(self, from)),
            first,
        }
    }

    /// A penalty is not made longer by asking again: a client that waits for `Retry-After` is served.
    fn punish(&mut self, policy: &Policy, now: Nanos) {
        if policy.penalty > 0 {
            self.blocked_until = now.saturating_add(policy.penalty);
        }
    }

    fn blocked(&mut self, policy: &Policy, now: Nanos) -> bool {
        // After time went back, or a reload made penalties shorter, nobody waits longer than the penalty from now.
        self.blocked_until = self.blocked_until.min(now.saturating_add(policy.penalty));
        self.blocked_until > now
    }

    /// Moves on to the window of `now`.
    fn turn(&mut self, rate: &Rate, now: Nanos) -> Place {
        let place = Place::at(now, rate);
        if let Some(passed) = place.window.checked_sub(self.window) {
            if passed > 0 {
                let spent = self.debt.saturating_add(self.current);
                let earned = rate.limit.saturating_mul(passed);
                self.debt = spent.saturating_sub(earned).min(rate.burst);
                self.previous = if passed == 1 { self.current } else { 0 };
                self.current = 0;
                self.window = place.window;
            }
            return place;
        }
        // Threads read the clock before they take the lock, so a step back over one edge is usual: the count stays where
        // it is, at the beginning of its window. More than that is a clock that was wrong before: the count is kept, but
        // not in a future in which it would hold for ever.
        if self.window - place.window > 1 {
            self.window = place.window;
            self.previous = 0;
            return place;
        }
        Place {
            window: self.window,
            offset: 0,
        }
    }

    fn used(&self, place: Place, rate: &Rate) -> u64 {
        if self.previous == 0 {
            return self.current;
        }
        let weighed = u128::from(self.previous) * u128::from(place.weight(rate));
        let carried = (weighed + u128::from(WHOLE / 2)) >> 16;
        self.current
            .saturating_add(u64::try_from(carried).unwrap_or(u64::MAX))
    }

    fn budget(&self, rate: &Rate) -> u64 {
        rate.limit + (rate.burst - self.debt.min(rate.burst))
    }

    /// Nanoseconds until one more unit fits, if nothing else comes.
    fn wait(&self, place: Place, rate: &Rate) -> u64 {
        let left = rate.window.nanos() - place.offset;
        let budget = self.budget(rate);
        if let Some(room) = budget.checked_sub(self.current.saturating_add(1))
            && let Some(offset) = offset_for(self.previous, room, rate)
        {
            return offset.saturating_sub(place.offset);
        }
        // Not in this window; in the next, this one is the previous.
        let spent = self.debt.saturating_add(self.current);
        let debt = spent.saturating_sub(rate.limit).min(rate.burst);
        let room = rate.limit + (rate.burst - debt) - 1;
        left + offset_for(self.current, room, rate).unwrap_or(rate.window.nanos())
    }
}

/// How far into a window no more than `room` of `previous` is carried; `None` if not before its end.
fn offset_for(previous: u64, room: u64, rate: &Rate) -> Option<u64> {
    if previous <= room {
        return Some(0);
    }
    let most = (u128::from(room) + 1) * u128::from(WHOLE) - u128::from(WHOLE / 2) - 1;
    let weight = u64::try_from(most / u128::from(previous)).ok()?;
    if weight == 0 {
        return None;
    }
    let share = WHOLE.saturating_sub(weight);
    let offset = (u128::from(share) * u128::from(rate.window.nanos())).div_ceil(u128::from(WHOLE));
    u64::try_from(offset).ok()
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
