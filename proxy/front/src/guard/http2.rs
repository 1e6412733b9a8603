//! A connection of HTTP/2 with its [`Frames`] counted.

use super::frames::{Flood, Frames};
use aegis_identity::Connection;
use aegis_telemetry::events::ConnectionCut;
use aegis_telemetry::metrics::HTTP2_ENDED;
use std::io;
use std::sync::Arc;
use tokio::time::Instant;

/// The counts of a connection, and whether they were too high.
#[derive(Debug)]
pub(crate) struct Http2 {
    frames: Frames,
    began: Instant,
    flood: Option<Flood>,
    connection: Arc<Connection>,
}

impl Http2 {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self {
            frames: Frames::default(),
            began: Instant::now(),
            flood: None,
            connection,
        }
    }

    /// Counts what was read.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.flood.is_none() {
            let counted = self.frames.received(bytes, self.began.elapsed());
            self.flood = counted.err();
            if let Some(flood) = self.flood {
                ConnectionCut {
                    reason: flood.as_str(),
                    client: self.connection.client(),
                    connection: self.connection.id,
                }
                .emit();
            }
        }
        match self.flood {
            Some(flood) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                flood.as_str(),
            )),
            None => Ok(()),
        }
    }

    /// Counts what was written.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) {
        let ended = self.frames.sent(bytes);
        for (count, frame) in [(ended.streams, "rst_stream"), (ended.connections, "goaway")] {
            if count > 0 {
                HTTP2_ENDED.with(&[frame]).inc_by(u64::from(count));
            }
        }
    }
}
