//! What a request asks of the cache (RFC 9111 §5.2.1).

use crate::directives::{MaxStale, RequestDirectives};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, IF_MATCH, IF_UNMODIFIED_SINCE, PRAGMA,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method};
use std::time::SystemTime;

/// Why a request has nothing to do with the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    /// Not GET or HEAD.
    Method,
    /// It has a body, which is no part of the key.
    Body,
    /// It wants another protocol.
    Upgrade,
    /// `no-store` (§5.2.1.5).
    NoStore,
    /// `If-Match` or `If-Unmodified-Since`: only the origin can say (§4.3.2).
    Precondition,
    /// Its `Cache-Control` cannot be read, so what it forbids is unknown.
    Malformed,
}

/// A request that may be answered from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub(super) directives: RequestDirectives,
    /// Its method is HEAD.
    pub head: bool,
    /// It has `Authorization`.
    pub authorized: bool,
    /// When its head had been read.
    pub arrived: SystemTime,
}

impl Request {
    /// Reads what matters here.
    ///
    /// # Errors
    /// The reason why it must go to the origin as it is, and the answer back as it is.
    pub fn read(method: &Method, headers: &HeaderMap, arrived: SystemTime) -> Result<Self, Bypass> {
        let head = match *method {
            Method::GET => false,
            Method::HEAD => true,
            _ => return Err(Bypass::Method),
        };
        if headers.contains_key(TRANSFER_ENCODING)
            || headers
                .get(CONTENT_LENGTH)
                .is_some_and(|length| length != "0")
        {
            return Err(Bypass::Body);
        }
        if headers.contains_key(UPGRADE) {
            return Err(Bypass::Upgrade);
        }
        if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
            return Err(Bypass::Precondition);
        }
        let mut directives = RequestDirectives::default();
        if headers.contains_key(CACHE_CONTROL) {
            directives = RequestDirectives::parse(headers).map_err(|_| Bypass::Malformed)?;
        } else if headers
            .get_all(PRAGMA)
            .iter()
            .any(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"))
        {
            // §5.4: only in the absence of Cache-Control.
            directives.no_cache = true;
        }
        if directives.no_store {
            return Err(Bypass::NoStore);
        }
        Ok(Self {
            directives,
            head,
            authorized: headers.contains_key(AUTHORIZATION),
            arrived,
        })
    }

    /// `only-if-cached` (§5.2.1.7): without a usable stored answer the reply is 504.
    #[must_use]
    pub fn only_if_cached(&self) -> bool {
        self.directives.only_if_cached
    }

    pub(super) fn max_stale(&self) -> MaxStale {
        self.directives.max_stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn read(method: &Method, fields: &[(&str, &str)]) -> Result<Request, Bypass> {
        let headers = fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::try_from(*name).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        Request::read(method, &headers, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn only_plain_get_and_head_come_near_the_store() {
        assert!(!read(&Method::GET, &[("content-length", "0")]).unwrap().head);
        assert!(read(&Method::HEAD, &[]).unwrap().head);
        for (method, fields, why) in [
            (&Method::POST, vec![], Bypass::Method),
            (&Method::OPTIONS, vec![], Bypass::Method),
            (&Method::GET, vec![("content-length", "5")], Bypass::Body),
            (
                &Method::GET,
                vec![("transfer-encoding", "chunked")],
                Bypass::Body,
            ),
            (
                &Method::GET,
                vec![("upgrade", "websocket")],
                Bypass::Upgrade,
            ),
            (
                &Method::GET,
                vec![("if-match", "\"a\"")],
                Bypass::Precondition,
            ),
            (
                &Method::GET,
                vec![("if-unmodified-since", "x")],
                Bypass::Precondition,
            ),
            (
                &Method::GET,
                vec![("cache-control", "no-store")],
                Bypass::NoStore,
            ),
            (
                &Method::GET,
                vec![("cache-control", "max-age=\"")],
                Bypass::Malformed,
            ),
        ] {
            assert_eq!(read(method, &fields), Err(why), "{fields:?}");
        }
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        assert!(
            read(&Method::GET, &[("pragma", "No-Cache")])
                .unwrap()
                .directives
                .no_cache
        );
        assert!(
            !read(
                &Method::GET,
                &[("pragma", "no-cache"), ("cache-control", "max-age=5")]
            )
            .unwrap()
            .directives
            .no_cache
        );
    }
}
