//! The frames of HTTP/2 by which we end a stream or a connection, in the metric and in the log.

use super::frames::Ended;
use aegis_telemetry::metrics::HTTP2_ENDED;

/// Counts a frame by which we end something; gives the word for the log if the client did something wrong.
pub(super) fn counted(ended: Ended) -> Option<&'static str> {
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
