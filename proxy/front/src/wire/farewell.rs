//! How a connection ends after its last answer.

use super::{Plain, Wire};
use crate::conn::Transport;
use crate::ending::{FAREWELL, FAREWELL_BYTES_MAX};
use crate::guard::Guard;
use async_trait::async_trait;
use pingora_core::protocols::Shutdown;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Waker};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

#[async_trait]
impl<S: Transport> Shutdown for Wire<S> {
    async fn shutdown(&mut self) {
        if AsyncWriteExt::shutdown(self).await.is_err() || self.ended {
            return;
        }
        let mut left = FAREWELL_BYTES_MAX;
        let farewell = poll_fn(|cx| self.poll_ignore(cx, &mut left));
        // Either it has ended, or it has had its time.
        drop(timeout(FAREWELL, farewell).await);
    }
}

/// A connection of HTTP/2 does not end without a GOAWAY (RFC 9113 §5.4.1), as far as it can be written without a wait: a
/// client that knows which of its requests were seen can ask again for the others.
impl<S: Transport> Drop for Wire<S> {
    fn drop(&mut self) {
        let Guard::Http2(guard) = &mut self.guard else {
            return;
        };
        if self.ended {
            return;
        }
        if let Some(frame) = guard.farewell() {
            guard.wrote_ours(&frame);
            self.gather(&frame);
            // What is not taken at once is lost with the connection, and there is no other turn.
            self.yielded = true;
            let _sent = Pin::new(self).poll_flush(&mut Context::from_waker(Waker::noop()));
        }
    }
}
