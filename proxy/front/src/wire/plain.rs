//! The stream below the guard: plain bytes, judged by nobody.

use super::{GATHERED_TLS, Wire};
use crate::conn::Transport;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;

/// What a guard does with the stream it watches.
pub(crate) trait Plain {
    /// Reads.
    fn poll_plain(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;
    /// Writes, or gathers.
    fn poll_write_plain(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
    /// Sends what was gathered and says that nothing follows.
    fn poll_shutdown_plain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Reads and forgets up to `left` bytes; ready at the end of either.
    fn poll_ignore(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<io::Result<()>>;
}

impl<S: Transport> Plain for Wire<S> {
    fn poll_plain(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let first = &mut self.first;
        if first.taken < first.len {
            let waiting = first.bytes.get(first.taken..first.len).unwrap_or_default();
            let now = waiting.get(..buf.remaining()).unwrap_or(waiting);
            buf.put_slice(now);
            first.taken += now.len();
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let waited = buf.filled().len() > before;
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            // What goes wrong after the first bytes is told at the next read.
            Poll::Pending | Poll::Ready(Err(_)) if waited => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) => {
                self.ended |= !waited && buf.filled().len() == before;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                self.ended = true;
                Poll::Ready(Err(error))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write_plain(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let room = Self::gathered_max().saturating_sub(self.out.len());
        if buf.len() <= room {
            self.gather(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        if S::VECTORED {
            return self.poll_send_with(cx, &[IoSlice::new(buf)]);
        }
        // Fill the record, so that what is long becomes full ones.
        if self.unsent() > 0 {
            let now = buf.get(..room).unwrap_or_default();
            self.gather(now);
            let drained = self.poll_drain(cx)?;
            if !now.is_empty() {
                return Poll::Ready(Ok(now.len()));
            }
            ready!(drained);
        }
        if buf.len() < GATHERED_TLS {
            self.gather(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.stall.judge(cx, result)
    }

    fn poll_shutdown_plain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx).map_ok(|()| 0);
        self.stall.judge(cx, shut).map_ok(drop)
    }

    fn poll_ignore(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<io::Result<()>> {
        let tcp = self.inner.conn().tcp();
        loop {
            ready!(tcp.poll_read_ready(cx))?;
            let mut scratch = [0; 4096];
            match tcp.try_read(&mut scratch) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(read) if read < *left => *left -= read,
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<S: Transport> Wire<S> {
    pub(super) fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = bufs.iter().map(|part| part.len()).sum::<usize>();
        let room = Self::gathered_max().saturating_sub(self.out.len());
        if total <= room {
            for part in bufs {
                self.gather(part);
            }
            return Poll::Ready(Ok(total));
        }
        if S::VECTORED {
            return self.poll_send_with(cx, bufs);
        }
        // A short part is gathered and the next one fills its record, so nothing is lost by taking one at a time.
        let part = bufs.iter().find(|part| !part.is_empty());
        self.poll_write_plain(cx, part.map_or(&[], |part| part))
    }
}
