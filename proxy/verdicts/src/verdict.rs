//! One verdict, as people and files see it.

use crate::{Millis, Prefix, RULE_BAN_MAX, VerdictError};
use std::sync::Arc;

/// In or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Always let in; limits and the WAF still hold.
    Allow,
    /// Turned away.
    Ban,
}

/// Where it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// On every site.
    Node,
    /// On this site.
    Site(Arc<str>),
}

/// Who made it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Author {
    /// A person, by name.
    Operator(Arc<str>),
    /// A rule, by name.
    Rule(Arc<str>),
}

/// A ban or an allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In or out.
    pub kind: Kind,
    /// Whom it is about.
    pub prefix: Prefix,
    /// Where it holds.
    pub scope: Scope,
    /// Who made it.
    pub author: Author,
    /// Why, in words: 1 to 256 bytes.
    pub reason: Arc<str>,
    /// The request that led to it: up to 128 bytes.
    pub request: Option<Box<str>>,
    /// When it was made.
    pub since: Millis,
    /// When it ends; `None` = never, which only an operator may say.
    pub until: Option<Millis>,
    /// Made from an address somebody else told us: says nothing about the socket's peer. An operator's never is: he may
    /// mean the proxy itself.
    pub l7_only: bool,
    /// How many were turned away (or let in) by it.
    pub hits: u32,
}

impl Verdict {
    /// The most bytes of a reason.
    pub const REASON_MAX: usize = 256;
    /// The most bytes of an author's name.
    pub const AUTHOR_MAX: usize = 64;
    /// The most bytes of a site's name.
    pub const SITE_MAX: usize = 253;
    /// The most bytes of a request id.
    pub const REQUEST_MAX: usize = 128;

    /// Whether it holds on every site.
    pub fn is_of_node(&self) -> bool {
        self.scope == Scope::Node
    }

    /// From its beginning to its end.
    pub fn length(&self) -> Option<Millis> {
        self.until.map(|until| until.saturating_sub(self.since))
    }

    /// Whether it may be enforced where there is no HTTP: at accept, or in the kernel.
    pub fn may_go_lower(&self) -> bool {
        self.scope == Scope::Node && !self.l7_only
    }

    /// Where this one and the one it replaces are bans by rules: holds for as long, and as far down, as either would.
    pub(crate) fn take_over(&mut self, old: &Self, now: Millis) {
        let is_rules_ban = |one: &Self| one.kind == Kind::Ban && !one.author.is_operator();
        let stands = old.until.is_some_and(|until| until > now);
        if stands && is_rules_ban(old) && is_rules_ban(self) {
            self.until = self.until.max(old.until);
            self.l7_only &= old.l7_only;
        }
    }

    /// As another clock tells it, which is so many milliseconds ahead of this one.
    #[must_use]
    pub(crate) fn on_clock(mut self, ahead: i64) -> Self {
        self.since = self.since.saturating_add_signed(ahead);
        self.until = self.until.map(|until| until.saturating_add_signed(ahead));
        self
    }

    /// What a verdict must be wherever it comes from.
    pub(crate) fn check(&self) -> Result<(), VerdictError> {
        text("reason", &self.reason, Self::REASON_MAX)?;
        text("author", self.author.name(), Self::AUTHOR_MAX)?;
        if let Scope::Site(site) = &self.scope {
            text("site", site, Self::SITE_MAX)?;
        }
        if let Some(request) = &self.request {
            text("request id", request, Self::REQUEST_MAX)?;
        }
        let length = self.until.map(|until| until.saturating_sub(self.since));
        match (&self.author, length) {
            (_, Some(0)) => Err(VerdictError::Until("not after its beginning")),
            (Author::Rule(_), None) => {
                Err(VerdictError::Until("missing; only operators ban for ever"))
            }
            (Author::Rule(_), Some(length)) if length > RULE_BAN_MAX => Err(VerdictError::Until(
                "more than 30 days away; a rule may not",
            )),
            _ => Ok(()),
        }
    }
}

impl Author {
    /// Their name.
    pub fn name(&self) -> &str {
        match self {
            Self::Operator(name) | Self::Rule(name) => name,
        }
    }

    /// Whether it is a person.
    pub fn is_operator(&self) -> bool {
        matches!(self, Self::Operator(_))
    }
}

/// Texts end up in logs and on terminals, one line each.
pub(crate) fn text(what: &'static str, text: &str, max: usize) -> Result<(), VerdictError> {
    if (1..=max).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(VerdictError::Text { what, max })
    }
}
