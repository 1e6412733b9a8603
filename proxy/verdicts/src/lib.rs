//! Bans and allows: who may not come in, who always may, why, since when and until when.
//!
//! The [`Desk`] is what the others have: front asks it when it accepts ([`Asked::Connection`]), the pipeline at stage 7
//! ([`Asked::Request`]), the log stage reports faults to it, and the admin interface changes it and asks [`Table::why`].
//!
//! **Which verdict holds** among those that cover an address, in this order:
//! 1. an operator's beats a rule's;
//! 2. a more specific prefix beats a less specific one;
//! 3. on the same prefix an allow beats a ban.
//!
//! So an operator's allow of a network saves everybody in it from rules, and his ban of one address in it still holds.
//! A verdict is for the node (every site) or for one site; both are weighed together.
//!
//! **Reading takes no lock.** [`Table::judge`] reads snapshots; a change copies one of some thousand small shards and
//! swaps it in. Writers take turns.
//!
//! **Limits.** A table holds a bounded number of verdicts ([`Table::ENTRIES_MAX`]). When it is full, the rules' ban that
//! ends first goes, counted; an operator's never goes, and when only those are left new ones are refused. Every text has
//! a maximum. A rule's ban ends within [`RULE_BAN_MAX`].
//!
//! **Never banned**: loopback and the prefixes a table is made with (trusted proxies, own addresses, origins). A ban
//! that touches one is refused, unless an operator forces it.
//!
//! **Seam to the kernel**: a rule's ban made from an address that somebody else told us (`X-Forwarded-For`) is
//! [`Verdict::l7_only`]: it says nothing about the socket's peer, which is a proxy many share. Only what
//! [`Verdict::may_go_lower`] may be enforced below HTTP: [`Desk::watch`] tells it as it changes.
//!
//! Pure but for one file: time is an argument, in milliseconds since the Unix epoch ([`Millis`], by a [`Clock`] that cannot
//! be stepped), and only [`Store`] touches a disk.
#![forbid(unsafe_code)]

mod books;
mod bytes;
mod clock;
mod desk;
mod entry;
mod error;
mod journal;
mod lengths;
mod prefix;
mod presence;
mod protected;
mod rule;
mod shards;
mod snapshot;
mod store;
mod table;
mod tracker;
mod verdict;

pub use clock::Clock;
pub use desk::{Desk, DeskGone, Sentence, Watch, Watcher};
pub use error::{PersistError, VerdictError};
pub use journal::{Change, encode_change, journal_header, read_journal};
pub use prefix::Prefix;
pub use protected::NeverBan;
pub use rule::{FaultKind, Report, Rule, RuleSpec};
pub use snapshot::{read_snapshot, write_snapshot};
pub use store::{Found, Store};
pub use table::{Asked, Covering, Put, Restored, Ruling, Stats, Table, Terms};
pub use tracker::Tracker;
pub use verdict::{Author, Kind, Scope, Verdict};

/// Milliseconds since the Unix epoch. Since verdicts outlive the process this is the wall clock, read once when the
/// process starts and carried on by the monotonic one ([`Clock`]). A clock that was wrong when a verdict was made is mended when it
/// is read back: what lies in the future keeps its length and begins now.
pub type Millis = u64;

/// The longest ban a rule may make: 30 days.
pub const RULE_BAN_MAX: Millis = 30 * 24 * 3600 * 1000;
