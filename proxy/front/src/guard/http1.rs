//! A connection of HTTP/1, read through the [`Machine`].
//!
//! What came is judged in the reader's own buffer, where nearly every request arrives whole. Only what cannot go on yet is
//! held: a head in pieces, a size line cut in two, requests that were sent before they were asked for.
//!
//! How Pingora reads, which this relies on and the tests of pipeline hold:
//! - while a request whose body is complete is being answered, it reads **one** byte to notice that the client has gone.
//!   That is no wish for the next request, so nothing is handed over then, and nothing refused: what came is held;
//! - for a head it reads with room for more than one byte, and only after all of the last answer was written. A refusal
//!   therefore always comes after the answers before it;
//! - it takes an error of a read in a body for the end of the request, and breaks off towards the origin.

use super::message::{Machine, Step};
use super::status::Status;
use super::wait::Wait;
use super::{Limits, Rest};
use crate::ending::Ending;
use crate::wire::Plain;
use aegis_identity::{Connection, Refuse, Reject};
use aegis_telemetry::events::RequestRefused;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;
use tokio::time::{Sleep, sleep};

/// Read at once to complete what is held.
const MORE: usize = 4096;
/// An HTTP/1 connection's state.
pub(crate) struct Http1 {
    machine: Machine,
    /// Bytes from `taken` to `ready` may go on, those after it are not judged; owns memory only while there are some.
    held: Vec<u8>,
    taken: usize,
    ready: usize,
    /// A request ends with the last ready byte.
    ends: bool,
    /// The last byte handed over was the last of a request, or none was yet.
    between: bool,
    upgrade: Upgrade,
    /// Runs from the first bytes of a head that is not whole.
    deadline: Option<Pin<Box<Sleep>>>,
    /// For the rest of a body.
    wait: Option<Box<Wait>>,
    rest: Rest,
    limits: Arc<Limits>,
    state: State,
    refuse: Arc<dyn Refuse>,
    connection: Arc<Connection>,
}

enum State {
    Open,
    /// The refusal is being written, then the client is listened to for a while.
    Ending(Box<Ending>),
    /// Nothing is read any more, for this reason.
    Broken(Reject),
}

/// Where a request for another protocol stands.
#[derive(Debug)]
enum Upgrade {
    No,
    Asked(Status),
    Accepted,
}

impl std::fmt::Debug for Http1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http1")
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

impl Http1 {
    pub(crate) fn new(
        connection: Arc<Connection>,
        refuse: Arc<dyn Refuse>,
        limits: Arc<Limits>,
        rest: Rest,
    ) -> Self {
        Self {
            machine: Machine::default(),
            held: Vec::new(),
            taken: 0,
            ready: 0,
            ends: false,
            between: true,
            upgrade: Upgrade::No,
            deadline: None,
            wait: None,
            rest,
            limits,
            state: State::Open,
            refuse,
            connection,
        }
    }

    /// Sees what is written, for as long as it waits for a 101.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) {
        if let Upgrade::Asked(status) = &mut self.upgrade
            && let Some(accepted) = status.wrote(bytes)
        {
            self.upgrade = if accepted {
                Upgrade::Accepted
            } else {
                Upgrade::No
            };
        }
    }

    /// Reads what may go on; nothing at the end, and after a refusal.
    pub(crate) fn poll_read(
        &mut self,
        io: &mut impl Plain,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                State::Open => {}
                State::Ending(ending) => {
                    ready!(ending.poll(io, cx));
                    return Poll::Ready(Ok(()));
                }
                State::Broken(why) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, *why)));
                }
            }
            if matches!(self.upgrade, Upgrade::Accepted) {
                self.ready = self.held.len();
            }
            if self.taken < self.ready {
                self.hand_over(buf);
                return Poll::Ready(Ok(()));
            }
            if matches!(self.upgrade, Upgrade::Accepted) {
                return io.poll_plain(cx, buf);
            }
            let only_listens = self.between && buf.remaining() == 1;
            let done = match (self.held.is_empty(), only_listens) {
                (true, true) => ready!(self.listen(io, cx, buf))?,
                (true, false) => ready!(self.read_in_place(io, cx, buf))?,
                // It will ask again when it is done with this request; the end of the connection can wait until then.
                (false, true) => return Poll::Pending,
                (false, false) => ready!(self.judge_held(io, cx))?,
            };
            if done {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let waiting = self.held.get(self.taken..self.ready).unwrap_or_default();
        let now = waiting.get(..buf.remaining()).unwrap_or(waiting);
        buf.put_slice(now);
        self.taken += now.len();
        self.between = self.ends && self.taken >= self.ready;
        if self.taken >= self.held.len() {
            self.hold(Vec::new());
        }
    }

    fn hold(&mut self, bytes: Vec<u8>) {
        self.held = bytes;
        self.taken = 0;
        self.ready = 0;
    }

    /// One byte is read to see whether the client is still there. `Ok(true)`: it is not.
    fn listen(
        &mut self,
        io: &mut impl Plain,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(io.poll_plain(cx, buf))?;
        let came = buf.filled().get(before..).unwrap_or_default().to_vec();
        buf.set_filled(before);
        let ended = came.is_empty();
        self.hold(came);
        Poll::Ready(Ok(ended))
    }

    /// Reads into the reader's buffer and takes back what may not go on. `Ok(true)`: there is something, or the end.
    fn read_in_place(
        &mut self,
        io: &mut impl Plain,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        let Poll::Ready(read) = io.poll_plain(cx, buf) else {
            ready!(self.poll_waiting(cx));
            return Poll::Ready(Ok(false));
        };
        read?;
        let all = buf.filled().len();
        if all == before {
            return Poll::Ready(Ok(true));
        }
        self.came(all - before);
        let mut good = before;
        let mut ended = false;
        while good < all && !ended {
            let rest = buf.filled().get(good..).unwrap_or_default();
            let head = self.machine.is_in_head();
            match self.machine.step(rest) {
                Ok(Step::More) => break,
                Ok(Step::Pass {
                    skip: 0,
                    len,
                    end,
                    upgrade,
                }) => {
                    good += len;
                    ended = end;
                    self.passed(head, upgrade);
                }
                Ok(Step::Pass { skip, .. }) => {
                    // An empty line before a request, which hardly anybody sends: judged anew without it.
                    let held = rest.get(skip..).unwrap_or_default().to_vec();
                    self.machine = Machine::default();
                    buf.set_filled(before);
                    self.hold(held);
                    return Poll::Ready(Ok(false));
                }
                Err(why) => {
                    let rest = rest.to_vec();
                    buf.set_filled(good);
                    self.refuse(&rest, why);
                    // A head in front of a bad body is served, so that there is a request to refuse.
                    self.between = false;
                    return Poll::Ready(Ok(good > before));
                }
            }
        }
        let later = buf.filled().get(good..).unwrap_or_default();
        if !later.is_empty() {
            let later = later.to_vec();
            self.hold(later);
        }
        buf.set_filled(good);
        let some = good > before;
        self.between = if some { ended } else { self.between };
        Poll::Ready(Ok(some))
    }

    /// Judges what is held, after more has come if that is needed. `Ok(true)`: the client has ended.
    fn judge_held(&mut self, io: &mut impl Plain, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.taken > 0 {
            self.held.drain(..self.taken);
            self.taken = 0;
            self.ready = 0;
        }
        let head = self.machine.is_in_head();
        match self.machine.step(&self.held) {
            Ok(Step::More) => {}
            Ok(Step::Pass {
                skip,
                len,
                end,
                upgrade,
            }) => {
                self.taken = skip;
                self.ready = skip + len;
                self.ends = end;
                self.passed(head, upgrade);
                return Poll::Ready(Ok(false));
            }
            Err(why) => {
                let held = std::mem::take(&mut self.held);
                self.refuse(&held, why);
                return Poll::Ready(Ok(false));
            }
        }
        let mut scratch = [MaybeUninit::uninit(); MORE];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        match io.poll_plain(cx, &mut scratch) {
            Poll::Ready(Ok(())) => {
                self.came(scratch.filled().len());
                self.held.extend_from_slice(scratch.filled());
                Poll::Ready(Ok(scratch.filled().is_empty()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.poll_waiting(cx));
                Poll::Ready(Ok(false))
            }
        }
    }

    /// Nothing came. Ready once a head or a body has taken too long, which is then refused.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.machine.is_in_head() {
            let wait = self.wait.get_or_insert_with(Box::default);
            let why = ready!(wait.poll(cx, &self.limits));
            self.refuse(&[], why);
            return Poll::Ready(());
        }
        if self.held.is_empty() {
            self.wait = None;
            self.rest.set(self.between);
            return Poll::Pending;
        }
        let limit = self.limits.head_timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        let head = std::mem::take(&mut self.held);
        self.refuse(&head, Reject::HeadTimeout);
        Poll::Ready(())
    }

    /// So many bytes came.
    fn came(&mut self, bytes: usize) {
        self.rest.set(false);
        if let Some(wait) = &mut self.wait {
            wait.came(bytes);
        }
    }

    /// Something went on: a whole head, or bytes of a body.
    fn passed(&mut self, head: bool, upgrade: bool) {
        if self.deadline.is_some() {
            self.deadline = None;
        }
        if head {
            self.wait = None;
            self.upgrade = if upgrade {
                Upgrade::Asked(Status::default())
            } else {
                Upgrade::No
            };
        }
    }

    fn refuse(&mut self, head: &[u8], why: Reject) {
        RequestRefused {
            reason: why.as_str(),
        }
        .emit();
        self.deadline = None;
        self.wait = None;
        self.hold(Vec::new());
        self.state = if self.machine.is_in_head() {
            let answer = self.refuse.refuse(&self.connection, head, why);
            State::Ending(Box::new(Ending::new(answer)))
        } else {
            // The request is under way: whoever reads its body answers.
            State::Broken(why)
        };
    }
}
