//! All the policies a route has, asked at once, and what a request holds of them until it ends.

use crate::table::untouched;
use crate::{Answer, Bound, Facts, Key, LimitError, Measure, Nanos, Outcome, Policy, Table};
use std::sync::Arc;

/// How many policies may hold for one request.
pub const POLICIES_MAX: usize = 8;

/// The policies of a route.
pub struct Rules {
    table: Arc<Table>,
    policies: Box<[Policy]>,
}

/// What became known of a request; reported once at its end, or in pieces that add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes sent to the client.
    pub bytes: u64,
    /// The status it was answered with; in one of the pieces.
    pub status: Option<u16>,
    /// Microseconds the WAF computed.
    pub waf_micros: u64,
}

/// A request that may go on. Dropping it ends it for the policies on requests in flight.
#[must_use]
pub struct Admission {
    rules: Arc<Rules>,
    held: [Option<Held>; POLICIES_MAX],
}

/// A request that may not go on. It holds nothing and, unless a policy counts refused ones, was counted by none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Refusal {
    /// The index of the policy that refuses.
    pub policy: usize,
    /// What it says.
    pub answer: Answer,
}

#[derive(Clone, Copy)]
struct Held {
    key: Key,
    answer: Answer,
    /// Counted as in flight, to be taken off at the end.
    in_flight: bool,
}

impl Rules {
    /// The policies of a route, asked in this order.
    ///
    /// # Errors
    /// [`LimitError::TooMany`] above [`POLICIES_MAX`].
    pub fn new(table: Arc<Table>, policies: Vec<Policy>) -> Result<Self, LimitError> {
        if policies.len() > POLICIES_MAX {
            return Err(LimitError::TooMany {
                count: policies.len(),
                max: POLICIES_MAX,
            });
        }
        Ok(Self {
            table,
            policies: policies.into_boxed_slice(),
        })
    }

    /// The policies, in order.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Asks all policies. The first that refuses decides, and what those before it counted is taken back.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit(
        self: &Arc<Self>,
        facts: &(impl Facts + ?Sized),
        now: Nanos,
    ) -> Result<Admission, Refusal> {
        let mut admission = Admission {
            rules: Arc::clone(self),
            held: [None; POLICIES_MAX],
        };
        let asked = self.policies.iter().zip(&mut admission.held);
        for (index, (policy, held)) in asked.enumerate() {
            let key = policy.key(facts);
            let (answer, in_flight) = self.ask(policy, key, now);
            if answer.refuses() {
                admission.take_back(now);
                return Err(Refusal {
                    policy: index,
                    answer,
                });
            }
            *held = Some(Held {
                key,
                answer,
                in_flight,
            });
        }
        Ok(admission)
    }

    fn ask(&self, policy: &Policy, key: Key, now: Nanos) -> (Answer, bool) {
        match &policy.bound {
            Bound::InFlight { .. } => match self.table.enter(policy, key, now) {
                Some(answer) => (answer, answer.outcome == Outcome::Allow),
                None => (untouched(policy), false),
            },
            Bound::Rate { of, .. } => match of {
                Measure::Requests { .. } => (self.table.take(policy, key, now), false),
                Measure::Bytes | Measure::Errors(_) | Measure::WafMicros => {
                    (self.table.look(policy, key, now), false)
                }
            },
        }
    }
}

impl Admission {
    /// What each policy said, in order.
    pub fn answers(&self) -> impl Iterator<Item = (&Policy, &Answer)> {
        self.each().map(|(policy, held)| (policy, &held.answer))
    }

    /// Charges what became known to the policies that count it.
    pub fn charge(&self, usage: &Usage, now: Nanos) {
        for (policy, held) in self.each() {
            let Bound::Rate { of, .. } = &policy.bound else {
                continue;
            };
            let amount = match of {
                Measure::Requests { .. } => 0,
                Measure::Bytes => usage.bytes,
                Measure::Errors(statuses) => {
                    u64::from(usage.status.is_some_and(|status| statuses.contains(status)))
                }
                Measure::WafMicros => usage.waf_micros,
            };
            if amount > 0 {
                self.rules.table.charge(policy, held.key, amount, now);
            }
        }
    }

    fn each(&self) -> impl Iterator<Item = (&Policy, &Held)> {
        let held = self.rules.policies.iter().zip(&self.held);
        held.filter_map(|(policy, held)| Some((policy, held.as_ref()?)))
    }

    fn take_back(&self, now: Nanos) {
        for (policy, held) in self.each() {
            let requests = matches!(
                &policy.bound,
                Bound::Rate {
                    of: Measure::Requests { .. },
                    ..
                }
            );
            if requests && held.answer.outcome == Outcome::Allow {
                self.rules.table.refund(policy, held.key, now);
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        for held in self.held.iter().flatten().filter(|held| held.in_flight) {
            self.rules.table.leave(held.key);
        }
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
