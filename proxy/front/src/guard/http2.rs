//! A connection of HTTP/2 with its [`Frames`] counted.

use super::frames::{Ended, Flood, Frames};
use aegis_identity::{Connection, Refuse};
use aegis_telemetry::events::ConnectionCut;
use aegis_telemetry::metrics::HTTP2_ENDED;
use std::io;
use std::sync::Arc;
use tokio::time::Instant;

/// The counts of a connection, and whether they were too high.
pub(crate) struct Http2 {
    frames: Frames,
    began: Instant,
    flood: Option<Flood>,
    /// A line was written for a stream of it: one a connection is enough.
    stream_told: bool,
    connection: Arc<Connection>,
    refuse: Arc<dyn Refuse>,
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl Http2 {
    pub(crate) fn new(connection: Arc<Connection>, refuse: Arc<dyn Refuse>) -> Self {
        Self {
            frames: Frames::default(),
            began: Instant::now(),
            flood: None,
            stream_told: false,
            connection,
            refuse,
        }
    }

    /// Counts what was read.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.flood.is_none() {
            let counted = self.frames.received(bytes, self.began.elapsed());
            self.judge(counted);
        }
        match self.flood {
            Some(flood) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                flood.as_str(),
            )),
            None => Ok(()),
        }
    }

    /// Counts what was written. What is too much ends the connection at its next read.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) {
        let (began, refuse, connection) = (self.began, &self.refuse, &self.connection);
        let stream_told = &mut self.stream_told;
        let tell = |ended: Ended| {
            let Some(line) = counted(ended) else { return };
            if ended.connection || !std::mem::replace(stream_told, true) {
                refuse.cut(connection, line);
            }
        };
        let sent = self.frames.sent(bytes, || began.elapsed(), tell);
        self.judge(sent);
    }

    fn judge(&mut self, counted: Result<(), Flood>) {
        if let (None, Err(flood)) = (self.flood, counted) {
            self.flood = Some(flood);
            let reason = flood.as_str();
            ConnectionCut { reason }.emit();
            self.refuse.cut(&self.connection, reason);
        }
    }
}

/// Counts a frame by which we end something; gives the word for the log if the client did something wrong.
fn counted(ended: Ended) -> Option<&'static str> {
    let frame = if ended.connection {
        "goaway"
    } else {
        "rst_stream"
    };
    let (code, line) = words(ended);
    HTTP2_ENDED.with(&[frame, code]).inc();
    line
}

/// The code's name for the metric, and the word for the log. No word have the ends that are no refusals: of a connection
/// that closes in peace, and of a stream whose request has a line of its own.
const fn words(ended: Ended) -> (&'static str, Option<&'static str>) {
    /// The same for both frames, apart from their names.
    macro_rules! words {
        ($($code:literal $word:literal,)*) => {
            match (ended.connection, ended.code) {
                (_, 0) => ("no_error", None),
                (false, 2) => ("internal_error", None),
                (true, 2) => ("internal_error", Some("h2_goaway_internal_error")),
                (false, 8) => ("cancel", None),
                $((false, $code) => ($word, Some(concat!("h2_stream_", $word))),
                (true, $code) => ($word, Some(concat!("h2_goaway_", $word))),)*
                (false, _) => ("other", Some("h2_stream_other")),
                (true, _) => ("other", Some("h2_goaway_other")),
            }
        };
    }
    words! {
        1 "protocol_error",
        3 "flow_control_error",
        4 "settings_timeout",
        5 "stream_closed",
        6 "frame_size_error",
        7 "refused_stream",
        9 "compression_error",
        10 "connect_error",
        11 "enhance_your_calm",
        12 "inadequate_security",
        13 "http_1_1_required",
    }
}
