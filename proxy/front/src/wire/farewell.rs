//! How a connection ends after its last answer.

use super::Wire;
use crate::conn::Transport;
use async_trait::async_trait;
use pingora_core::protocols::Shutdown;
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// How long, and for how many bytes, a client that still sends is listened to after the last answer. Closing at once
/// would reset the connection, and it might never see that answer (RFC 9112 §9.6).
const FAREWELL: Duration = Duration::from_secs(5);
const FAREWELL_BYTES_MAX: usize = 16 << 20;

#[async_trait]
impl<S: Transport> Shutdown for Wire<S> {
    async fn shutdown(&mut self) {
        if AsyncWriteExt::shutdown(self).await.is_err() || self.ended {
            return;
        }
        let tcp = self.inner.conn().tcp();
        let farewell = async {
            let mut left = FAREWELL_BYTES_MAX;
            while tcp.readable().await.is_ok() {
                let mut scratch = [0; 4096];
                match tcp.try_read(&mut scratch) {
                    Ok(0) => break,
                    Ok(read) if read < left => left -= read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(_) | Err(_) => break,
                }
            }
        };
        // Either it has ended, or it has had its time.
        drop(timeout(FAREWELL, farewell).await);
    }
}
