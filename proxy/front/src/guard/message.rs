//! Messages one after the other.

use super::chunked::Chunked;
use super::field::Framing;
use super::head::{Head, Whole};
use aegis_identity::Reject;

/// Judges the bytes of a connection of HTTP/1 (RFC 9112). It only looks; whoever reads keeps the bytes.
///
/// [`Machine::step`] is shown all bytes that did not go on yet, and says how many now may.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    part: Part,
}

#[derive(Debug, Clone)]
enum Part {
    Head(Head),
    Length(u64),
    Chunked(Chunked),
}

impl Default for Part {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

/// What may be done with the bytes shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing before more have come.
    More,
    /// The first `skip` are dropped and the `len` after them go on.
    Pass {
        /// An empty line before a request.
        skip: usize,
        /// Bytes that go on.
        len: usize,
        /// With them a request ends.
        end: bool,
        /// They are the head of a request that asks for another protocol.
        upgrade: bool,
    },
}

impl Machine {
    /// Whether what is shown next belongs to a head.
    #[must_use]
    pub const fn is_in_head(&self) -> bool {
        matches!(self.part, Part::Head(_))
    }

    /// Looks at `bytes`, which begin with the first one that did not go on.
    ///
    /// # Errors
    /// Why the connection cannot go on. What was let through before stays good.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Reject> {
        let (len, end) = match &mut self.part {
            Part::Head(head) => {
                return match head.advance(bytes)? {
                    None => Ok(Step::More),
                    Some(whole) => Ok(self.body_of(whole)),
                };
            }
            Part::Length(left) => {
                let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= len as u64;
                (len, *left == 0)
            }
            Part::Chunked(chunked) => chunked.advance(bytes)?,
        };
        if end {
            self.part = Part::default();
        } else if len == 0 {
            return Ok(Step::More);
        }
        Ok(Step::Pass {
            skip: 0,
            len,
            end,
            upgrade: false,
        })
    }

    fn body_of(&mut self, whole: Whole) -> Step {
        self.part = match whole.framing {
            Framing::Length(0) => Part::default(),
            Framing::Length(length) => Part::Length(length),
            Framing::Chunked => Part::Chunked(Chunked::default()),
        };
        Step::Pass {
            skip: whole.lead,
            len: whole.end - whole.lead,
            end: self.is_in_head(),
            upgrade: whole.upgrade,
        }
    }
}
