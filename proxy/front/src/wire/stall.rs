//! A client that does not take what waits for it.

use crate::pace::{Pace, Patience};
use aegis_identity::Reject;
use aegis_telemetry::events::ConnectionCut;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep, sleep};

/// The patience with a client that reads slowly. It comes back with the bytes that go and with the time in which nothing
/// waits, so that only a client is given up that keeps us waiting again and again.
#[derive(Debug)]
pub(super) struct Stall {
    patience: Patience,
    /// A wait that goes on, or when the last one ended.
    wait: Wait,
    given_up: bool,
}

#[derive(Debug)]
enum Wait {
    Never,
    Since(Instant, Pin<Box<Sleep>>),
    Until(Instant),
}

impl Stall {
    pub(super) const fn new(pace: Pace) -> Self {
        Self {
            patience: Patience::new(pace),
            wait: Wait::Never,
            given_up: false,
        }
    }

    /// Passes on how many bytes a write took, unless the client has kept it waiting for too long.
    pub(super) fn judge(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                if let Wait::Since(since, _) = &self.wait {
                    let now = Instant::now();
                    // One that came to its end was told so below.
                    let _enough = self.patience.waited(now.saturating_duration_since(*since));
                    self.wait = Wait::Until(now);
                }
                self.patience.moved(bytes);
                written
            }
            Poll::Ready(Err(_)) => written,
            Poll::Pending => {
                if !matches!(self.wait, Wait::Since(..)) {
                    let now = Instant::now();
                    if let Wait::Until(before) = self.wait {
                        self.patience.rested(now.saturating_duration_since(before));
                    }
                    let timer = Box::pin(sleep(self.patience.left()));
                    self.wait = Wait::Since(now, timer);
                }
                let Wait::Since(_, timer) = &mut self.wait else {
                    return Poll::Pending;
                };
                ready!(timer.as_mut().poll(cx));
                if !std::mem::replace(&mut self.given_up, true) {
                    // The line is that of the request whose answer it is.
                    let reason = Reject::SlowReader.as_str();
                    ConnectionCut { reason }.emit();
                }
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    Reject::SlowReader,
                )))
            }
        }
    }
}
