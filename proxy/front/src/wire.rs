//! The stream an app gets.
//!
//! Writes are gathered until a flush: Pingora writes a response's head and body apart and flushes at its end, which
//! without gathering is a packet and a system call for each, and under TLS a record. What does not fit is sent at once
//! together with what was gathered.
//!
//! Over HTTP/2 a flush waits for one turn of the scheduler while other streams are open: a stream's answer wakes the
//! connection's task before the next stream's has had its turn, so each would be a record and a system call of its own.

mod facts;
mod farewell;
mod plain;
mod stall;

pub(crate) use plain::Plain;

use crate::conn::Transport;
use crate::guard::{Guard, Http2};
use crate::pace::Pace;
use aegis_identity::Connection;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_error::Result as PingoraResult;
use pingora_http::ResponseHeader;
use stall::Stall;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gathered at most. Under TLS it is a record's longest plain text, so that a long response is full records.
const GATHERED_TLS: usize = 16 * 1024;
/// Without TLS what is longer goes out beside what was gathered, uncopied.
const GATHERED_PLAIN: usize = 4 * 1024;
/// Parts of one vectored write.
const PARTS_MAX: usize = 16;
/// The preface of HTTP/2, the longest that is waited for before an app is asked (RFC 9113 §3.4).
pub(crate) const FIRST_MAX: usize = 24;
/// A client's stream of plain bytes.
#[derive(Debug)]
pub struct Wire<S: Transport> {
    inner: S,
    /// Gathered bytes; owns memory only while there are some.
    out: Vec<u8>,
    sent: usize,
    first: First,
    /// How long the client may take to take what waits for it.
    stall: Stall,
    /// The client has said that it sends no more.
    ended: bool,
    /// A flush has waited for what other streams have to say.
    yielded: bool,
    proxy: Arc<ProxyDigest>,
    /// Sees all bytes both ways.
    guard: Guard,
}

/// First bytes, read to see that there are some.
#[derive(Debug, Default)]
struct First {
    bytes: [u8; FIRST_MAX],
    len: usize,
    taken: usize,
}

impl<S: Transport> Wire<S> {
    /// Carries `connection` to every request. A client that takes what waits for it more slowly than `pace` is given up.
    ///
    /// # Errors
    /// Never in practice: Pingora could refuse the status 200.
    pub(crate) fn new(inner: S, connection: Arc<Connection>, pace: Pace) -> PingoraResult<Self> {
        let response = Box::new(ResponseHeader::build_no_case(200, Some(0))?);
        Ok(Self {
            inner,
            out: Vec::new(),
            sent: 0,
            first: First::default(),
            stall: Stall::new(pace),
            ended: false,
            yielded: false,
            proxy: Arc::new(ProxyDigest::new(response, Some(Box::new(connection)))),
            guard: Guard::Off,
        })
    }

    /// Lets `guard` judge what is read.
    pub(crate) fn guarded(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Waits until `min` (at most 24) bytes are there to be read. `false` if the client ends before.
    pub(crate) async fn wait_for(&mut self, min: usize) -> bool {
        while self.first.len < min {
            let read = std::future::poll_fn(|cx| {
                let room = self.first.bytes.get_mut(self.first.len..);
                let mut buf = ReadBuf::new(room.unwrap_or_default());
                ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
                Poll::Ready(io::Result::Ok(buf.filled().len()))
            });
            match read.await {
                Ok(0) | Err(_) => return false,
                Ok(read) => self.first.len += read,
            }
        }
        true
    }

    const fn gathered_max() -> usize {
        if S::VECTORED {
            GATHERED_PLAIN
        } else {
            GATHERED_TLS
        }
    }

    fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    fn gather(&mut self, bytes: &[u8]) {
        if self.out.capacity() == 0 {
            // Most heads fit, and the bodies of many.
            self.out.reserve(bytes.len().max(2048));
        }
        self.out.extend_from_slice(bytes);
    }

    fn took(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.out.len() {
            self.out = Vec::new();
            self.sent = 0;
        }
    }

    /// Sends what was gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent() > 0 {
            let rest = self.out.get(self.sent..).unwrap_or_default();
            let result = Pin::new(&mut self.inner).poll_write(cx, rest);
            match ready!(self.stall.judge(cx, result))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.took(sent),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what was gathered and `parts` in one write; says how much of `parts` went.
    fn poll_send_with(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let gathered = self.unsent();
            let result = if gathered == 0 {
                Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
            } else {
                let mut all = [IoSlice::new(&[]); PARTS_MAX];
                let head = self.out.get(self.sent..).unwrap_or_default();
                let sources = std::iter::once(head).chain(parts.iter().map(|part| &**part));
                let mut count = 0;
                for (place, source) in all.iter_mut().zip(sources) {
                    *place = IoSlice::new(source);
                    count += 1;
                }
                Pin::new(&mut self.inner)
                    .poll_write_vectored(cx, all.get(..count).unwrap_or_default())
            };
            let sent = ready!(self.stall.judge(cx, result))?;
            self.took(sent.min(gathered));
            match sent.saturating_sub(gathered) {
                0 if sent == 0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                0 => {}
                of_parts => return Poll::Ready(Ok(of_parts)),
            }
        }
    }
}

impl<S: Transport> Wire<S> {
    /// Reads frames of HTTP/2, and those that the guard puts between them.
    fn poll_frames(
        &mut self,
        guard: &mut Http2,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            guard.end_slow()?;
            if let Some(frames) = guard.take_outward() {
                guard.wrote_ours(&frames);
                self.gather(&frames);
                // What does not go at once goes with what is written next.
                if let Poll::Ready(sent) = self.poll_drain(cx) {
                    sent?;
                }
            }
            if guard.give_inward(buf) {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            if let Poll::Ready(read) = self.poll_plain(cx, buf) {
                guard.read(buf.filled().get(before..).unwrap_or_default())?;
                return Poll::Ready(read);
            }
            ready!(guard.poll_waiting(cx))?;
        }
    }

    /// Puts frames of the guard's own behind what was written.
    fn put_out(&mut self) {
        if let Guard::Http2(guard) = &mut self.guard
            && let Some(frames) = guard.take_outward()
        {
            guard.wrote_ours(&frames);
            self.gather(&frames);
        }
    }
}

impl<S: Transport> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match std::mem::take(&mut this.guard) {
            Guard::Off => this.poll_plain(cx, buf),
            Guard::Http1(mut guard) => {
                let read = guard.poll_read(this, cx, buf);
                this.guard = Guard::Http1(guard);
                read
            }
            Guard::Http2(mut guard) => {
                let read = this.poll_frames(&mut guard, cx, buf);
                this.guard = Guard::Http2(guard);
                read
            }
        }
    }
}

impl<S: Transport> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.poll_write_plain(cx, buf))?;
        this.guard.wrote(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.poll_write_parts(cx, bufs))?;
        let mut left = written;
        for part in bufs {
            let now = part.get(..left).unwrap_or(part);
            this.guard.wrote(now);
            left -= now.len();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.put_out();
        if this.unsent() > 0 && !this.yielded && this.guard.has_open_streams() {
            this.yielded = true;
            // To the end of the queue, behind the tasks of streams that are ready now.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.poll_drain(cx))?;
        this.yielded = false;
        let flushed = Pin::new(&mut this.inner).poll_flush(cx).map_ok(|()| 0);
        let flushed = ready!(this.stall.judge(cx, flushed));
        if let Guard::Http2(guard) = &mut this.guard {
            guard.poll_written(cx);
        }
        Poll::Ready(flushed.map(drop))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_shutdown_plain(cx)
    }
}

#[cfg(test)]
mod tests;
