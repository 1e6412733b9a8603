//! One limit: what is counted, by what key, how much, how long.

use crate::key::Recipe;
use crate::length::Length;
use crate::{Facts, Key, LimitError, Part, StatusSet, Table};
use std::time::Duration;

const AMOUNT_MAX: u64 = 1 << 48;
const WINDOW_MIN: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_hours(24);
const PARTS_MAX: usize = 4;
const NAME_MAX: usize = 64;

/// What a rate counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// Requests, when they come.
    Requests {
        /** Whether a refused request counts too, so that a client that goes on stays refused. */
        count_refused: bool,
    },
    /// Bytes sent to the client, as they are reported.
    Bytes,
    /// Answers with one of these statuses.
    Errors(StatusSet),
    /// Microseconds the WAF computed; 50 ms a second is a limit of 50,000 with a window of one second.
    WafMicros,
}

/// How much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// So much in a window.
    Rate {
        /** What is counted. */
        of: Measure,
        /** How much in a window, in the unit of `of`. */
        limit: u64,
        /** 100 ms to a day. */
        window: Duration,
        /** How much more once, after being quiet; it comes back by as much as stays unused. */
        burst: u64,
    },
    /// So many requests in flight.
    InFlight {
        /** How many. */
        limit: u64,
    },
}

/// A limit as the settings say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Its name in headers, metrics and logs: 1 to 64 of `A-Za-z0-9-_.`.
    pub name: String,
    /// What is counted, and how much of it.
    pub bound: Bound,
    /// Whose count it is: 1 to 4 different parts.
    pub key: Vec<Part>,
    /// How long a key that exceeded the limit is refused everything; zero = until there is room again.
    pub penalty: Duration,
    /// Decide and report, but refuse nothing.
    pub dry_run: bool,
    /// IPv4 addresses with this many equal bits are one client (8 to 32).
    pub v4_prefix: u8,
    /// IPv6 addresses with this many equal bits are one client (32 to 128); one customer usually has a /64 or more.
    pub v6_prefix: u8,
}

/// A limit that passed its checks, ready to count.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) name: String,
    pub(crate) bound: Bound,
    pub(crate) rate: Rate,
    pub(crate) penalty: u64,
    pub(crate) dry_run: bool,
    recipe: Recipe,
}

/// The numbers of a rate in the form counting needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) limit: u64,
    pub(crate) burst: u64,
    pub(crate) window: Length,
    /// How many windows a count may matter after its own.
    pub(crate) kept: u64,
}

impl Policy {
    /// Checks a spec. `scope` is what the name is unique in (a site's name; empty for the node): policies of two sites
    /// that happen to share a name share no count.
    ///
    /// # Errors
    /// [`LimitError`] naming what is out of its range.
    pub fn new(table: &Table, spec: &Spec, scope: &str) -> Result<Self, LimitError> {
        check_name(&spec.name)?;
        check_key(spec)?;
        let range = |what, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(value)
            } else {
                let policy = spec.name.clone();
                Err(LimitError::Range {
                    policy,
                    what,
                    value,
                    min,
                    max,
                })
            }
        };
        let millis = |of: Duration| u64::try_from(of.as_millis()).unwrap_or(u64::MAX);
        range("IPv4 prefix length", spec.v4_prefix.into(), 8, 32)?;
        range("IPv6 prefix length", spec.v6_prefix.into(), 32, 128)?;
        range(
            "penalty in milliseconds",
            millis(spec.penalty),
            0,
            millis(DAY),
        )?;
        let rate = match &spec.bound {
            Bound::InFlight { limit } => Rate {
                limit: range("limit", *limit, 1, AMOUNT_MAX)?,
                burst: 0,
                window: Length::new(nanos(WINDOW_MIN)),
                kept: 1,
            },
            Bound::Rate {
                of,
                limit,
                window,
                burst,
            } => {
                if matches!(of, Measure::Errors(statuses) if statuses.is_empty()) {
                    return Err(LimitError::Statuses(spec.name.clone()));
                }
                range(
                    "window in milliseconds",
                    millis(*window),
                    millis(WINDOW_MIN),
                    millis(DAY),
                )?;
                let limit = range("limit", *limit, 1, AMOUNT_MAX)?;
                // A burst worth more than a hundred windows would be a limit of another window, and keep counts as long.
                let burst = range(
                    "burst",
                    *burst,
                    0,
                    limit.saturating_mul(100).min(AMOUNT_MAX),
                )?;
                Rate {
                    limit,
                    burst,
                    window: Length::new(nanos(*window)),
                    kept: 1 + burst.div_ceil(limit),
                }
            }
        };
        Ok(Self {
            name: spec.name.clone(),
            bound: spec.bound.clone(),
            rate,
            penalty: nanos(spec.penalty),
            dry_run: spec.dry_run,
            recipe: Recipe {
                parts: spec.key.clone().into_boxed_slice(),
                v4_mask: u32::MAX << 32_u32.saturating_sub(spec.v4_prefix.into()),
                v6_mask: u128::MAX << 128_u32.saturating_sub(spec.v6_prefix.into()),
                secret: table.secret_for(&identity(spec, scope, rate.window.nanos())),
            },
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it counts, and how much.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Whether it refuses nothing.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whose count a request is.
    pub fn key(&self, facts: &(impl Facts + ?Sized)) -> Key {
        self.recipe.key(facts)
    }

    pub(crate) fn counts_refused(&self) -> bool {
        matches!(
            self.bound,
            Bound::Rate {
                of: Measure::Requests {
                    count_refused: true
                },
                ..
            }
        )
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What two configurations must agree on for a count to go on: another limit goes on, another window starts anew.
fn identity(spec: &Spec, scope: &str, window: u64) -> Vec<u8> {
    let measure: &[u8] = match &spec.bound {
        Bound::InFlight { .. } => b"in-flight",
        Bound::Rate { of, .. } => match of {
            Measure::Requests { .. } => b"requests",
            Measure::Bytes => b"bytes",
            Measure::Errors(_) => b"errors",
            Measure::WafMicros => b"waf",
        },
    };
    let mut identity = Vec::new();
    for field in [scope.as_bytes(), spec.name.as_bytes(), measure] {
        identity.extend_from_slice(&(field.len() as u64).to_le_bytes());
        identity.extend_from_slice(field);
    }
    identity.extend_from_slice(&window.to_le_bytes());
    identity
}

fn check_name(name: &str) -> Result<(), LimitError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fine) {
        Ok(())
    } else {
        Err(LimitError::Name(name.chars().take(NAME_MAX).collect()))
    }
}

fn check_key(spec: &Spec) -> Result<(), LimitError> {
    let twice = |(at, part)| spec.key.iter().skip(at + 1).any(|other| other == part);
    if !(1..=PARTS_MAX).contains(&spec.key.len()) || spec.key.iter().enumerate().any(twice) {
        return Err(LimitError::KeyParts(spec.name.clone()));
    }
    for part in &spec.key {
        let (Part::Header(name) | Part::Cookie(name)) = part else {
            continue;
        };
        // RFC 9110 section 5.6.2; header names are asked for in lower case.
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let upper = matches!(part, Part::Header(_)) && name.bytes().any(|b| b.is_ascii_uppercase());
        if !(1..=NAME_MAX).contains(&name.len()) || !name.bytes().all(token) || upper {
            return Err(LimitError::PartName {
                policy: spec.name.clone(),
                name: name.chars().take(NAME_MAX).collect(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
