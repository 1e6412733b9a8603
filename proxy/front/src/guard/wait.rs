//! Waiting for the rest of a body over HTTP/1.

use super::Limits;
use crate::pace::Patience;
use aegis_identity::Reject;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Begun when a body did not come with its head; only the time counts in which somebody wanted its bytes and there were
/// none.
#[derive(Debug, Default)]
pub(super) struct Wait {
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    patience: Patience,
    /// When it began to wait for the next bytes.
    since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Wait {
    /// Nothing came. Ready when that has gone on too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, limits: &Limits) -> Poll<Reject> {
        let now = Instant::now();
        let begun = self.begun.get_or_insert_with(|| Begun {
            at: now,
            patience: Patience::new(limits.receive),
            since: None,
            timer: Box::pin(sleep_until(
                now + limits.receive.longest.min(limits.body_timeout),
            )),
        });
        let since = *begun.since.get_or_insert(now);
        loop {
            // The timer may run out early, for bytes have come since it was set; never late.
            ready!(begun.timer.as_mut().poll(cx));
            let now = Instant::now();
            let body = limits
                .body_timeout
                .saturating_sub(now.saturating_duration_since(begun.at));
            let left = begun
                .patience
                .left()
                .saturating_sub(now.saturating_duration_since(since));
            if body.is_zero() {
                return Poll::Ready(Reject::BodyTimeout);
            }
            if left.is_zero() {
                return Poll::Ready(Reject::BodyRate);
            }
            // Timers have a grain of a millisecond.
            let next = left.min(body).max(Duration::from_millis(1));
            begun.timer.as_mut().reset(now + next);
        }
    }

    /// So many bytes came.
    pub(super) fn came(&mut self, bytes: usize) {
        let Some(begun) = &mut self.begun else {
            return;
        };
        if let Some(since) = begun.since.take() {
            // What is left of the patience counts at the next wait.
            let _enough = begun.patience.waited(since.elapsed());
        }
        begun.patience.moved(bytes);
    }
}
