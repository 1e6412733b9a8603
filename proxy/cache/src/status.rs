//! The `Cache-Status` field (RFC 9211), as this cache writes it.

use std::io::Write;

/// The name this cache goes by.
pub const NAME: &str = "aegis";

/// Why a request went to the origin, in the RFC's words (§2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// The cache was not to be used: switched off, or known not to store this URL.
    Bypass,
    /// Its method.
    Method,
    /// Nothing stored for the URL.
    UriMiss,
    /// Something stored for the URL, but not for these request fields.
    VaryMiss,
    /// What is stored is not for this request.
    Miss,
    /// What is stored would do, but the request asked for the origin.
    Request,
    /// What is stored is past its time.
    Stale,
}

impl Forward {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Why it was, or would have been, forwarded; `None` = a hit.
    pub forward: Option<Forward>,
    /// The status the origin gave, where the client got another.
    pub forward_status: Option<u16>,
    /// The origin's answer is being stored.
    pub stored: bool,
    /// Another request's fetch brought the answer.
    pub collapsed: bool,
    /// Remaining lifetime of what is sent.
    pub ttl: Option<i64>,
    /// More, as a token.
    pub detail: Option<&'static str>,
}

impl Status {
    /// Appends the field's value to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME.as_bytes());
        match self.forward {
            None => out.extend_from_slice(b"; hit"),
            Some(forward) => {
                out.extend_from_slice(b"; fwd=");
                out.extend_from_slice(forward.as_str().as_bytes());
            }
        }
        // Writing to memory does not fail.
        if let Some(status) = self.forward_status {
            write!(out, "; fwd-status={status}").unwrap_or_default();
        }
        if self.stored {
            out.extend_from_slice(b"; stored");
        }
        if self.collapsed {
            out.extend_from_slice(b"; collapsed");
        }
        if let Some(ttl) = self.ttl {
            write!(out, "; ttl={ttl}").unwrap_or_default();
        }
        if let Some(detail) = self.detail {
            write!(out, "; detail={detail}").unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_the_rfc() {
        let none = Status::default();
        for (status, text) in [
            (
                Status {
                    ttl: Some(376),
                    ..none
                },
                "aegis; hit; ttl=376",
            ),
            (
                Status {
                    forward: Some(Forward::UriMiss),
                    stored: true,
                    ttl: Some(60),
                    ..none
                },
                "aegis; fwd=uri-miss; stored; ttl=60",
            ),
            (
                Status {
                    forward: Some(Forward::UriMiss),
                    collapsed: true,
                    ..none
                },
                "aegis; fwd=uri-miss; collapsed",
            ),
            (
                Status {
                    forward: Some(Forward::Stale),
                    forward_status: Some(304),
                    ttl: Some(60),
                    ..none
                },
                "aegis; fwd=stale; fwd-status=304; ttl=60",
            ),
            (
                Status {
                    forward: Some(Forward::Stale),
                    forward_status: Some(503),
                    ttl: Some(-30),
                    ..none
                },
                "aegis; fwd=stale; fwd-status=503; ttl=-30",
            ),
            (
                Status {
                    forward: Some(Forward::Bypass),
                    detail: Some("hit-for-miss"),
                    ..none
                },
                "aegis; fwd=bypass; detail=hit-for-miss",
            ),
            (
                Status {
                    forward: Some(Forward::Method),
                    ..none
                },
                "aegis; fwd=method",
            ),
        ] {
            let mut out = Vec::new();
            status.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
