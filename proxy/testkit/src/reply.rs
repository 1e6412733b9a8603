//! What an in-process origin answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use std::time::Duration;

/// An answer to build up: `Reply::text("hi").header("cache-control", "max-age=60")`.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) wait: Duration,
    pub(crate) body: Body,
}

/// How the body is sent.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// With Content-Length.
    Whole(Bytes),
    /// Chunked, each part after its wait.
    Parts(Vec<(Duration, Bytes)>),
    /// Chunked, and the connection breaks after the parts.
    Broken(Vec<Bytes>),
}

impl Reply {
    /// 200 with this body.
    #[must_use]
    pub fn new(content_type: &str, body: impl Into<Bytes>) -> Self {
        let reply = Self {
            status: StatusCode::OK,
            headers: Vec::new(),
            wait: Duration::ZERO,
            body: Body::Whole(body.into()),
        };
        reply.header("content-type", content_type)
    }

    /// 200 with text.
    #[must_use]
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self::new("text/plain; charset=utf-8", body)
    }

    /// This status with a line of text.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let mut reply = Self::text(format!("{status}\n"));
        reply.status = StatusCode::from_u16(status).expect("a status");
        reply
    }

    /// Text that may be kept for `seconds`.
    #[must_use]
    pub fn cacheable(body: impl Into<Bytes>, seconds: u32) -> Self {
        Self::text(body).header("cache-control", &format!("public, max-age={seconds}"))
    }

    /// Chunked, without a length; each part is sent after its wait.
    #[must_use]
    pub fn parts(parts: impl IntoIterator<Item = (Duration, Bytes)>) -> Self {
        let mut reply = Self::text("");
        reply.body = Body::Parts(parts.into_iter().collect());
        reply
    }

    /// Chunked; the connection breaks before the end.
    #[must_use]
    pub fn broken(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let mut reply = Self::text("");
        reply.body = Body::Broken(parts.into_iter().collect());
        reply
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a header name");
        self.headers
            .push((name, HeaderValue::try_from(value).expect("a header value")));
        self
    }

    /// Waits before the head is sent.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}
