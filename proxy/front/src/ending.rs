//! The last answer of a connection, written below the app.

use crate::wire::Plain;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// How long, and for how many bytes, a client that still sends is listened to after the last answer. Closing at once
/// would reset the connection, and it might never see that answer (RFC 9112 §9.6).
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);
pub(crate) const FAREWELL_BYTES_MAX: usize = 16 << 20;

/// Writes an answer, says that nothing follows, and listens for a while.
#[derive(Debug)]
pub(crate) struct Ending {
    answer: Vec<u8>,
    written: usize,
    part: Part,
    left: usize,
    time: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Write,
    Close,
    Listen,
    Done,
}

impl Ending {
    pub(crate) const fn new(answer: Vec<u8>) -> Self {
        Self {
            answer,
            written: 0,
            part: Part::Write,
            left: FAREWELL_BYTES_MAX,
            time: None,
        }
    }

    /// Ready when the connection can be dropped, also because the client takes nothing or is gone.
    pub(crate) fn poll(&mut self, io: &mut impl Plain, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.poll_parts(io, cx)).is_err() {
            self.part = Part::Done;
        }
        Poll::Ready(())
    }

    fn poll_parts(&mut self, io: &mut impl Plain, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.part = match self.part {
                Part::Write => {
                    let rest = self.answer.get(self.written..).unwrap_or_default();
                    if rest.is_empty() {
                        self.answer = Vec::new();
                        Part::Close
                    } else {
                        match ready!(io.poll_write_plain(cx, rest))? {
                            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                            written => self.written += written,
                        }
                        Part::Write
                    }
                }
                Part::Close => {
                    ready!(io.poll_shutdown_plain(cx))?;
                    Part::Listen
                }
                Part::Listen => {
                    let time = self.time.get_or_insert_with(|| Box::pin(sleep(FAREWELL)));
                    if time.as_mut().poll(cx).is_pending() {
                        ready!(io.poll_ignore(cx, &mut self.left))?;
                    }
                    Part::Done
                }
                Part::Done => {
                    self.time = None;
                    return Poll::Ready(Ok(()));
                }
            };
        }
    }
}
