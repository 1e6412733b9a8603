//! Why bytes of a client are no request that can be served, and who says so to the client.
//!
//! The door finds it out before there is a request; the page, the log line and the status come from the application
//! behind it. This is the word both know.

use crate::Connection;
use std::fmt;
use std::net::IpAddr;

/// Makes [`Reject`] out of one table, so that word, status and sentence stand beside each other.
macro_rules! rejects {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:literal, $sentence:literal;)*) => {
        /// What a client sent that cannot be served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reject { $($(#[$doc])* $name,)* }

        impl Reject {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in logs and in the metric's label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The status that says it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// What happened, for the person who sees the page.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

rejects! {
    /// More than one empty line before a request (RFC 9112 §2.2).
    EmptyLines = "empty_lines", 400, "There are empty lines where a request should begin.";
    /// The method is no token (RFC 9110 §9.1).
    Method = "method_token", 400, "Its method is not a word.";
    /// A byte that cannot be part of a target (RFC 9112 §3.2).
    TargetByte = "target_byte", 400, "Its address has characters that must be written in another way.";
    /// A target in a form that does not go with the method (RFC 9112 §3.2).
    TargetForm = "target_form", 400, "Its address does not have the form its method needs.";
    /// The target is longer than the limit.
    TargetTooLong = "target_too_long", 414, "Its address is too long.";
    /// No version, or none that can be read (RFC 9112 §2.3).
    Version = "version", 400, "It does not say which version of HTTP it is.";
    /// A version that is not spoken here.
    VersionUnknown = "version_unknown", 505, "Its version of HTTP is not spoken here.";
    /// CR without LF, or LF without CR (RFC 9112 §2.2).
    LineEnding = "line_ending", 400, "Its lines do not end as lines of HTTP do.";
    /// NUL or another control byte.
    Control = "control_byte", 400, "It has bytes that no head may have.";
    /// A field name that is no token, or a line without a colon (RFC 9112 §5).
    FieldName = "field_name", 400, "One of its fields has no proper name.";
    /// White space between a field's name and the colon (RFC 9112 §5.1).
    FieldSpace = "field_space", 400, "There is a space after the name of one of its fields.";
    /// A line that continues the one before (RFC 9112 §5.2).
    Folding = "folding", 400, "One of its fields goes on in the next line.";
    /// No `Host` in HTTP/1.1 (RFC 9112 §3.2).
    HostMissing = "host_missing", 400, "It does not say which site it is for.";
    /// More than one `Host` (RFC 9112 §3.2).
    HostSeveral = "host_several", 400, "It says more than once which site it is for.";
    /// `Host`, or the authority of the target, is no host and port (RFC 9110 §7.2).
    HostInvalid = "host_invalid", 400, "The name of the site it is for is not a name.";
    /// The target names another site than `Host` (RFC 9112 §3.2.2).
    HostDisagrees = "host_disagrees", 400, "It names two different sites.";
    /// `Content-Length` that is no number (RFC 9110 §8.6).
    LengthInvalid = "length_invalid", 400, "The length of its body is not a number.";
    /// More than one `Content-Length` (RFC 9112 §6.3).
    LengthSeveral = "length_several", 400, "It says more than once how long its body is.";
    /// `Content-Length` past what can be counted.
    LengthTooLarge = "length_too_large", 413, "Its body is too long.";
    /// `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.3).
    LengthAndCoding = "length_and_coding", 400, "It says in two ways how long its body is.";
    /// `Transfer-Encoding` not `chunked` once and last (RFC 9112 §6.1).
    CodingInvalid = "coding_invalid", 400, "It does not say clearly where its body ends.";
    /// A transfer coding that is not understood here (RFC 9112 §6.1).
    CodingUnknown = "coding_unknown", 501, "Its body is coded in a way that is not understood here.";
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 §6.1).
    CodingIn10 = "coding_in_http10", 400, "It uses chunks, which its version of HTTP does not have.";
    /// A framing field under a name some servers take for it, such as `Content_Length`.
    FramingName = "framing_name", 400, "One of its fields looks like another one.";
    /// `Connection` names a field that says where the message goes or ends (RFC 9110 §7.6.1).
    ConnectionOption = "connection_option", 400, "It asks to drop a field it cannot be without.";
    /// The head is larger than the limit.
    HeadTooLarge = "head_too_large", 431, "Its head is too large.";
    /// The head has more fields than the limit.
    FieldsTooMany = "fields_too_many", 431, "It has too many fields.";
    /// A field is longer than the limit.
    FieldTooLong = "field_too_long", 431, "One of its fields is too long.";
    /// The head did not arrive within its time.
    HeadTimeout = "head_timeout", 408, "It took too long to arrive.";
    /// The body did not arrive within its time.
    BodyTimeout = "body_timeout", 408, "Its body took too long to arrive.";
    /// The body arrived too slowly.
    BodyRate = "body_rate", 408, "Its body arrived too slowly.";
    /// The answer was taken too slowly; nobody is there to be told.
    SlowReader = "slow_reader", 408, "Its answer was taken too slowly.";
    /// A chunk size that is not one to sixteen hexadecimal digits (RFC 9112 §7.1).
    ChunkSize = "chunk_size", 400, "Its body is not made of proper chunks.";
    /// A chunk extension that is none, or that is too long (RFC 9112 §7.1.1).
    ChunkExtension = "chunk_extension", 400, "Its body is not made of proper chunks.";
    /// No CRLF after a chunk's size or its bytes (RFC 9112 §7.1).
    ChunkEnd = "chunk_end", 400, "Its body is not made of proper chunks.";
    /// A trailer that is no field, or one that may not be a trailer (RFC 9110 §6.5.1).
    Trailer = "trailer", 400, "What follows its body are no proper fields.";
    /// Trailers larger than the limit.
    TrailersTooLarge = "trailers_too_large", 431, "What follows its body is too large.";
}

/// Error codes of HTTP/2 from here on stand for a [`Reject`]; RFC 9113 §7 gives them no meaning.
const RESET_CODES: u32 = 0xae61_5000;

impl Reject {
    /// The code by which a stream of HTTP/2 is ended on its way to the application, so that this knows why.
    #[must_use]
    pub const fn reset_code(self) -> u32 {
        RESET_CODES + self as u32
    }

    /// The reason that a code stands for, of those for which the door ends streams. A client can send such a code too; then
    /// its own log line says that it was slow, and of nothing worse can it accuse itself.
    #[must_use]
    pub fn of_reset_code(code: u32) -> Option<Self> {
        [Self::BodyRate, Self::BodyTimeout, Self::SlowReader]
            .into_iter()
            .find(|why| why.reset_code() == code)
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Reject {}

/// What answers a client whose bytes are refused, and knows whose word is believed.
pub trait Refuse: Send + Sync {
    /// Whether a peer may say, by the PROXY protocol, for whom it connects.
    fn trusts(&self, _peer: IpAddr) -> bool {
        false
    }

    /// The whole answer, head and page, after which the connection ends; counted and logged by whoever makes it.
    /// `head` is what has come of the request's head, however little.
    fn refuse(&self, connection: &Connection, head: &[u8], why: Reject) -> Vec<u8>;

    /// Whether a connection whose handshake named a server may stay; asked once, before its first request.
    fn admits(&self, connection: &Connection) -> bool;

    /// Whether the other end of a socket is kept out by a verdict; asked before anything is spent on it, and counted there.
    fn keeps_out(&self, peer: IpAddr) -> bool {
        let _ = peer;
        false
    }

    /// A connection, or a stream of it, was ended in a way that HTTP cannot tell its client: by a close, a TLS alert,
    /// `RST_STREAM` or `GOAWAY`. Whoever calls has counted it; this writes the line.
    fn cut(&self, connection: &Connection, why: &'static str);
}

#[cfg(test)]
mod tests {
    use super::Reject;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_a_word_of_its_own_a_status_of_a_client_or_a_server_and_a_sentence() {
        let words: HashSet<_> = Reject::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(words.len(), Reject::ALL.len());
        for one in Reject::ALL {
            assert!((400..600).contains(&one.status()), "{one}");
            assert!(one.sentence().ends_with('.'), "{one}");
        }
    }

    #[test]
    fn a_stream_is_ended_by_code_for_slowness_and_for_nothing_else() {
        for one in Reject::ALL {
            let slow = ["body_rate", "body_timeout", "slow_reader"].contains(&one.as_str());
            let read = Reject::of_reset_code(one.reset_code());
            assert_eq!(read, slow.then_some(*one));
        }
        for code in [0, 8, 11, u32::MAX] {
            assert_eq!(Reject::of_reset_code(code), None);
        }
    }
}
