//! What can be wrong with a table or a policy.

/// Why a table or a policy cannot be made. Counting itself cannot fail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The table would be too small or too big.
    #[error("a table of {entries} counters is outside {min}..={max}: choose a number between")]
    Entries {
        /** Asked for. */
        entries: usize,
        /** Least. */
        min: usize,
        /** Most. */
        max: usize,
    },
    /// A policy's name would not fit into a header.
    #[error("policy name {0:?} is not 1 to 64 of A-Z, a-z, 0-9, `-`, `_` and `.`: rename it")]
    Name(String),
    /// A number is outside its range.
    #[error("policy {policy}: {what} is {value}, outside {min}..={max}")]
    Range {
        /** Which policy. */
        policy: String,
        /** Which number, with its unit. */
        what: &'static str,
        /** As given. */
        value: u64,
        /** Least. */
        min: u64,
        /** Most. */
        max: u64,
    },
    /// The key has no parts, too many, or the same twice.
    #[error("policy {0}: a key has 1 to 4 different parts")]
    KeyParts(String),
    /// The name of a header or cookie is not one.
    #[error(
        "policy {policy}: {name:?} cannot be the name of a header or cookie (1 to 64 characters of a token)"
    )]
    PartName {
        /** Which policy. */
        policy: String,
        /** As given. */
        name: String,
    },
    /// A status is not one.
    #[error("policy {0}: statuses are 100 to 599, and at least one is needed")]
    Statuses(String),
    /// One route has too many policies.
    #[error("{count} policies hold for one route, {max} can: merge some")]
    TooMany {
        /** How many. */
        count: usize,
        /** Most. */
        max: usize,
    },
}
