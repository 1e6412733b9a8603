//! What can be refused.

use crate::Prefix;

/// Why a verdict or a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerdictError {
    /// Not an address or prefix.
    #[error(
        "{0:?} is not an address or prefix: write 192.0.2.7, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/48"
    )]
    NotAPrefix(String),
    /// A prefix with bits set behind its length.
    #[error("{given} has bits set behind its length: write {meant}")]
    HostBits {
        /** As given. */
        given: String,
        /** What it probably means. */
        meant: Prefix,
    },
    /// A prefix that is too wide or too long.
    #[error("a prefix of {length} bits is outside {min}..={max}: use several narrower ones")]
    Length {
        /** As given. */
        length: u8,
        /** Widest. */
        min: u8,
        /** Longest. */
        max: u8,
    },
    /// A ban would hit what must never be banned.
    #[error("a ban of {ban} would hit {protected} ({what}): narrow it, or force it if you mean it")]
    Protected {
        /** The ban. */
        ban: Prefix,
        /** What it touches. */
        protected: Prefix,
        /** What that is. */
        what: String,
    },
    /// An operator said otherwise.
    #[error("an operator's verdict on {0} stands against it: a rule cannot change that")]
    OperatorHolds(Prefix),
    /// A text is empty, too long or not printable.
    #[error("the {what} must be 1 to {max} bytes without control characters")]
    Text {
        /** Which. */
        what: &'static str,
        /** Most. */
        max: usize,
    },
    /// It would end before it begins, or too late.
    #[error("the end of the verdict is {0}")]
    Until(&'static str),
    /// Every place is taken by operators' verdicts.
    #[error(
        "all {0} places are taken by operators' verdicts: remove some, or put prefixes in place of addresses"
    )]
    Full(usize),
    /// The number of places is out of range.
    #[error("a table of {0} verdicts is outside 1 to {max}", max = crate::Table::ENTRIES_MAX)]
    Entries(usize),
    /// A rule's number is out of range.
    #[error("rule {rule}: {what} is {value}, outside {min}..={max}")]
    Rule {
        /** Which rule. */
        rule: String,
        /** Which number. */
        what: &'static str,
        /** As given. */
        value: u64,
        /** Least. */
        min: u64,
        /** Most. */
        max: u64,
    },
    /// Too many rules.
    #[error("{0} rules are more than {max}", max = crate::Tracker::RULES_MAX)]
    TooManyRules(usize),
}

/// Why bytes are no verdicts. Nothing of them is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PersistError {
    /// Other bytes.
    #[error("these are not Aegis verdicts (wrong first bytes)")]
    Magic,
    /// Another version.
    #[error("verdicts of format {0}; this program reads format {known}", known = crate::bytes::VERSION)]
    Version(u16),
    /// It ends too early.
    #[error("verdicts end early, at byte {0}: the file was cut")]
    Short(usize),
    /// It goes on after its end.
    #[error("verdicts go on after their end, at byte {0}")]
    Long(usize),
    /// Bytes changed.
    #[error("the checksum of the verdicts does not match: the file is damaged")]
    Checksum,
    /// More than fits.
    #[error("{count} verdicts are more than {max}")]
    TooMany {
        /** As told. */
        count: usize,
        /** Most. */
        max: usize,
    },
    /// A field that cannot be.
    #[error("the verdict at byte {at} is wrong: {what}")]
    Field {
        /** Where it begins. */
        at: usize,
        /** What is wrong. */
        what: String,
    },
    /// A journal's change is cut or damaged; what is before `intact` is whole.
    #[error("the journal is damaged from byte {intact} on: cut it there to keep what is before")]
    Journal {
        /** Bytes that are whole. */
        intact: usize,
    },
}
