//! How a connection ends after its last answer.

use super::{Plain, Wire};
use crate::conn::Transport;
use crate::ending::{FAREWELL, FAREWELL_BYTES_MAX};
use async_trait::async_trait;
use pingora_core::protocols::Shutdown;
use std::future::poll_fn;
use tokio::io::AsyncWriteExt;
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
