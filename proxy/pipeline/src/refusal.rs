//! Heads that are refused: our page and our log line.
//!
//! Nearly all are refused by the door, which asks for an [`answer`]. What is left are heads that Pingora's parser refuses
//! though the door let them pass, and those of a node without a door: there the page replaces Pingora's bare `400`.
//!
//! Pingora answers such a head before any hook runs. So each HTTP/1 connection is wrapped: when what is written is that
//! very answer, the page is written in its place. Nothing else is touched, and what an origin answers can not be taken
//! for it: every answer that comes through the stages carries our `X-Request-Id`.
//!
//! Limits: the first [`KEPT`] bytes of the latest read are kept, to name method and target in the log.

use crate::access;
use crate::fault::Fault;
use crate::live::Live;
use crate::page::Page;
use aegis_identity::{Connection, RequestId};
use async_trait::async_trait;
use http::StatusCode;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes kept of the latest read.
const KEPT: usize = 1024;
/// How Pingora's own answer begins, and what only ours have.
const BARE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nServer: Pingora\r\n";
const OURS: &[u8] = b"X-Request-Id:";

/// An HTTP/1 connection whose refusals are ours.
pub(crate) struct Refusals {
    inner: Stream,
    live: Arc<Live>,
    read: Box<[u8; KEPT]>,
    read_len: usize,
    /// Our page, and how much of it is written.
    page: Option<(Vec<u8>, usize)>,
}

impl std::fmt::Debug for Refusals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Refusals {
    pub(crate) fn new(inner: Stream, live: Arc<Live>) -> Self {
        Self {
            inner,
            live,
            read: Box::new([0; KEPT]),
            read_len: 0,
            page: None,
        }
    }

    /// Keeps the beginning of what was read.
    fn keep(&mut self, read: &[u8]) {
        let len = read.len().min(KEPT);
        if let (Some(kept), Some(read)) = (self.read.get_mut(..len), read.get(..len)) {
            kept.copy_from_slice(read);
            self.read_len = len;
        }
    }

    /// The page for the head that was read last; counted and logged.
    fn refuse(&self) -> Vec<u8> {
        let head = self.read.get(..self.read_len).unwrap_or_default();
        let fault = Fault::BadRequest("Its head does not follow the rules of HTTP.");
        answer(&self.live, self.connection().as_deref(), head, fault)
    }

    fn connection(&self) -> Option<Arc<Connection>> {
        let facts = self.inner.get_proxy_digest()?;
        facts
            .user_data
            .as_ref()?
            .downcast_ref::<Arc<Connection>>()
            .map(Arc::clone)
    }

    /// Writes the rest of the page.
    fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some((page, written)) = &mut self.page {
            let rest = page.get(*written..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                n => *written += n,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Head and page for a request that never was one; counted and logged.
pub(crate) fn answer(
    live: &Live,
    connection: Option<&Connection>,
    head: &[u8],
    fault: Fault,
) -> Vec<u8> {
    let (id, now) = (RequestId::generate(), SystemTime::now());
    let page = Page::new(fault, id.as_str(), now, field(head, b"accept"), None);
    access::refused(live, connection, &id, head, fault, page.body.len());
    let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut bytes = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nX-Request-Id: {id}\r\nDate: {}\r\nConnection: close\r\n\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or("Error"),
        page.content_type,
        page.body.len(),
        httpdate::fmt_http_date(now),
    )
    .into_bytes();
    bytes.extend_from_slice(&page.body);
    bytes
}

/// The value of a field in a head that may be no head at all.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|&b| b == b'\n').find_map(|line| {
        let (key, value) = line.split_at(memchr::memchr(b':', line)?);
        key.eq_ignore_ascii_case(name)
            .then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

fn is_bare(bytes: &[u8]) -> bool {
    bytes.starts_with(BARE) && memchr::memmem::find(bytes, OURS).is_none()
}

impl AsyncRead for Refusals {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.keep(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Refusals {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        if self.page.is_none() {
            if !is_bare(bytes) {
                return Pin::new(&mut self.inner).poll_write(cx, bytes);
            }
            self.page = Some((self.refuse(), 0));
        }
        // The connection ends with it: whatever else Pingora writes belongs to its own answer.
        ready!(self.poll_page(cx))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match (bytes.first(), &self.page) {
            (Some(first), None) if !is_bare(first) => {
                Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
            }
            (Some(first), _) => self.poll_write(cx, first),
            (None, _) => Poll::Ready(Ok(0)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Refusals {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for Refusals {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Refusals {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Refusals {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Refusals {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Refusals {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Refusals {
    async fn try_peek(&mut self, buf: &mut [u8]) -> Result<bool> {
        self.inner.try_peek(buf).await
    }
}

#[cfg(test)]
mod tests {
    use super::{field, is_bare};

    #[test]
    fn only_pingoras_own_answer_is_replaced() {
        assert!(is_bare(
            b"HTTP/1.1 400 Bad Request\r\nServer: Pingora\r\nContent-Length: 0\r\n\r\n"
        ));
        assert!(!is_bare(
            b"HTTP/1.1 400 Bad Request\r\nServer: Pingora\r\nX-Request-Id: 1\r\n\r\n"
        ));
        assert!(!is_bare(
            b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n"
        ));
        assert!(!is_bare(b"HTTP/1.1 200 OK\r\n\r\n"));
    }

    #[test]
    fn fields_of_what_is_no_head_are_found_or_not() {
        assert_eq!(
            field(b"G E T\r\nACCEPT : x\r\naccept: text/html\r\n", b"accept"),
            Some(&b"text/html"[..])
        );
        assert_eq!(field(b"\xff\x00:::\n:", b"accept"), None);
    }
}
