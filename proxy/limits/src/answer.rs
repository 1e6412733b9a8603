//! What a policy says about a request, and the header fields that tell the client.
//!
//! The fields are those of draft-ietf-httpapi-ratelimit-headers-11, structured fields (RFC 9651): lists of the policies'
//! names with parameters. `Retry-After` is RFC 9110 section 10.2.3 in whole seconds.

use crate::{Bound, Measure, Policy};
use std::fmt::Write;

const SECOND: u64 = 1_000_000_000;
/// The greatest integer of a structured field.
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The limit is reached.
    Exceeded,
    /// It was exceeded before, and the penalty runs.
    Penalty,
}

/// Whether a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It may.
    Allow,
    /// It may not.
    Limited(Why),
    /// It may, but would not if the policy were no dry run.
    WouldLimit(Why),
}

/// What a policy says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Answer {
    /// Whether it may go on.
    pub outcome: Outcome,
    /// How much is left, in the policy's unit.
    pub remaining: u64,
    /// Nanoseconds until there is room again (refused; a lower bound for requests in flight: 0 = unknown), or until the
    /// window ends (allowed).
    pub wait: u64,
    /// Whether it is the first refusal of this key in the present window, or second if that is shorter: what is worth
    /// telling somebody.
    pub first: bool,
}

impl Answer {
    /// Whether the request is refused (a dry run refuses nothing).
    pub fn refuses(&self) -> bool {
        matches!(self.outcome, Outcome::Limited(_))
    }

    /// `Retry-After` in seconds: rounded up, at least 1.
    pub fn retry_after(&self) -> u64 {
        self.wait.div_ceil(SECOND).max(1)
    }
}

/// Adds one member of `RateLimit-Policy` to a field's value, with the comma it needs.
pub fn write_ratelimit_policy(out: &mut String, policy: &Policy) {
    let (quota, unit, window) = match policy.bound() {
        Bound::InFlight { limit } => (*limit, Some("concurrent-requests"), 0),
        Bound::Rate {
            of, limit, window, ..
        } => (*limit, unit(of), window.as_secs()),
    };
    begin(out, policy);
    put(out, format_args!(";q={}", quota.min(INTEGER_MAX)));
    if let Some(unit) = unit {
        put(out, format_args!(";qu=\"{unit}\""));
    }
    // The draft knows whole seconds only, and never zero.
    if window > 0 {
        put(out, format_args!(";w={window}"));
    }
}

/// Adds one member of `RateLimit` to a field's value, with the comma it needs.
pub fn write_ratelimit(out: &mut String, policy: &Policy, answer: &Answer) {
    begin(out, policy);
    put(
        out,
        format_args!(";r={}", answer.remaining.min(INTEGER_MAX)),
    );
    if answer.wait > 0 {
        put(out, format_args!(";t={}", answer.retry_after()));
    }
}

fn unit(measure: &Measure) -> Option<&'static str> {
    match measure {
        Measure::Requests { .. } => None,
        Measure::Bytes => Some("content-bytes"),
        // Outside the draft's registry, which is open: what a client cannot count it can still read about.
        Measure::Errors(_) => Some("errors"),
        Measure::WafMicros => Some("waf-microseconds"),
    }
}

fn begin(out: &mut String, policy: &Policy) {
    let comma = if out.is_empty() { "" } else { ", " };
    put(out, format_args!("{comma}\"{}\"", policy.name()));
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    out.write_fmt(text).unwrap_or_default();
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
