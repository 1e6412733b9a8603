//! How much a client may ask for: limits on requests, bytes, errors, WAF time and requests in flight.
//!
//! The pipeline asks it at stage 7 ([`Rules::admit`]) and tells it at the end of a request ([`Admission::charge`]).
//!
//! Three lifetimes: a [`Table`] lives as long as the process and holds every count; a [`Policy`] and the [`Rules`] of a
//! route live as long as a configuration; an [`Admission`] lives as long as a request. A policy's counts survive a
//! reload, because a key is hashed with the policy's name, scope, measure and window, and with nothing else.
//!
//! Pure: time is an argument ([`Nanos`]), randomness is the secret a table is made with. Nothing here waits for more
//! than a lock held for some tens of nanoseconds, and nothing allocates once a table is made.
//!
//! **Counting.** Two windows, the sliding estimate `current + previous × (share of the previous window still in view)`,
//! rounded to the nearest unit; a request is admitted while the estimate is below the budget. What that promises, with
//! limit `L`, burst `B` and window `W`:
//! - in one aligned window at most `L + B` are admitted, in `n` successive ones at most `n·L + B`;
//! - in *any* interval of length `W` at most `2·(L + B)`: the approximation may forget, at share `f` of the way through
//!   a window, a share `f` of what came at the very end of the one before. An exact log of times would not, but costs
//!   memory by the limit instead of by the key.
//!
//! What is known only afterwards (bytes, errors, WAF time) is charged afterwards, so such a policy can be overshot by
//! what is in flight when it is reached.
//!
//! **Failing.** A limit that cannot be counted (a bucket full of requests in flight) allows, and is counted in
//! [`Stats`].
#![forbid(unsafe_code)]

mod answer;
mod error;
mod key;
mod length;
mod policy;
mod rules;
mod status;
mod table;
mod window;

pub use answer::{Answer, Outcome, Why, write_ratelimit, write_ratelimit_policy};
pub use error::LimitError;
pub use key::{Facts, Key, Part};
pub use policy::{Bound, Measure, Policy, Spec};
pub use rules::{Admission, POLICIES_MAX, Refusal, Rules, Usage};
pub use status::StatusSet;
pub use table::{Stats, Table};

/// Nanoseconds since the Unix epoch on a clock that never steps: the wall clock read **once** when the process starts,
/// carried on by the monotonic one. Windows then begin at the same moments on every node, and a step of the wall clock
/// moves nothing. Should time go backwards all the same, a count is kept for at most one window more than it should be.
pub type Nanos = u64;
