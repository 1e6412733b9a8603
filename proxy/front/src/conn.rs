//! The lowest layer: a client's TCP socket.

use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr as DigestAddr;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslStream;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// What is read from the socket at once for TLS. A request is mostly one record of less; a record of an upload is longer
/// and for the most part read to its place.
const AHEAD: usize = 4096;

/// A client's TCP socket.
#[derive(Debug)]
pub struct Conn {
    tcp: TcpStream,
    /// Read from the socket and not asked for yet; owns memory only while there is some.
    ahead: Vec<u8>,
    taken: usize,
    read_ahead: bool,
    hello: Hello,
    /// Made when it is asked for: connections of HTTP/2 do without, and it is larger than all else here.
    socket: OnceLock<Arc<SocketDigest>>,
    accepted: SystemTime,
}

/// Where a ClientHello stands. A server says nothing before it has the whole of it, so the first write is its end.
#[derive(Debug)]
enum Hello {
    /// None is waited for.
    No,
    /// It has until the timer runs out.
    Waited(Pin<Box<Sleep>>),
    /// It did not come whole in its time.
    Late,
}

impl Conn {
    /// Takes an accepted socket; `read_ahead` for a reader that asks for little at a time.
    #[must_use]
    pub fn new(tcp: TcpStream, read_ahead: bool) -> Self {
        Self {
            tcp,
            ahead: Vec::new(),
            taken: 0,
            read_ahead,
            hello: Hello::No,
            socket: OnceLock::new(),
            accepted: SystemTime::now(),
        }
    }

    /// Waits until there is something to read; `false` if the client ends before.
    ///
    /// It reads, because a socket's readiness is a guess until somebody has.
    pub(crate) async fn wait_for_byte(&mut self) -> bool {
        self.taken < self.ahead.len() || self.read_more().await
    }

    /// What was read and not asked for yet.
    pub(crate) fn ahead(&self) -> &[u8] {
        self.ahead.get(self.taken..).unwrap_or_default()
    }

    /// Forgets the first bytes of [`Conn::ahead`].
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= self.ahead.len() {
            self.ahead = Vec::new();
            self.taken = 0;
        }
    }

    /// Reads once and adds to [`Conn::ahead`]; `false` if the client ends before.
    pub(crate) async fn read_more(&mut self) -> bool {
        // The scratch is not part of the future, which waits in memory for as long as the client is silent.
        let read = poll_fn(|cx| {
            let mut scratch = [MaybeUninit::uninit(); AHEAD];
            let mut scratch = ReadBuf::uninit(&mut scratch);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut scratch))?;
            self.ahead.extend_from_slice(scratch.filled());
            Poll::Ready(io::Result::Ok(!scratch.filled().is_empty()))
        });
        read.await.unwrap_or(false)
    }

    /// Gives a ClientHello until `deadline` to come whole; the reads fail after that.
    pub(crate) fn expect_hello(&mut self, deadline: Instant) {
        self.hello = Hello::Waited(Box::pin(sleep_until(deadline)));
    }

    /// Whether a ClientHello was cut for being late.
    pub(crate) const fn is_hello_late(&self) -> bool {
        matches!(self.hello, Hello::Late)
    }

    /// Nothing came.
    fn poll_hello(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Hello::Waited(timer) = &mut self.hello {
            ready!(timer.as_mut().poll(cx));
            self.hello = Hello::Late;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// What the app is told of the socket, with its addresses, which the kernel is not asked for then.
    pub(crate) fn socket_between(&self, peer: SocketAddr, local: SocketAddr) -> Arc<SocketDigest> {
        self.socket(|socket| {
            // Both are empty.
            let _set = socket.peer_addr.set(Some(DigestAddr::Inet(peer)));
            let _set = socket.local_addr.set(Some(DigestAddr::Inet(local)));
        })
    }

    fn socket(&self, know: impl FnOnce(&SocketDigest)) -> Arc<SocketDigest> {
        let made = self.socket.get_or_init(|| {
            let socket = SocketDigest::from_raw_fd(self.tcp.as_raw_fd());
            know(&socket);
            Arc::new(socket)
        });
        Arc::clone(made)
    }

    /// The socket itself. What was read ahead is not there any more.
    #[must_use]
    pub const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

/// A stream with a [`Conn`] at its bottom.
pub trait Transport: IO {
    /// Whether one vectored write is one write of the socket.
    const VECTORED: bool;
    /// The bottom.
    fn conn(&self) -> &Conn;
}

impl Transport for Conn {
    const VECTORED: bool = true;

    fn conn(&self) -> &Conn {
        self
    }
}

impl Transport for SslStream<Conn> {
    // Each part would be a record of its own.
    const VECTORED: bool = false;

    fn conn(&self) -> &Conn {
        self.get_ref()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let waiting = this.ahead();
        if !waiting.is_empty() {
            let now = waiting.get(..buf.remaining()).unwrap_or(waiting);
            buf.put_slice(now);
            let taken = now.len();
            this.skip(taken);
            return Poll::Ready(Ok(()));
        }
        if !this.read_ahead || buf.remaining() >= AHEAD {
            return match Pin::new(&mut this.tcp).poll_read(cx, buf) {
                Poll::Pending => this.poll_hello(cx),
                read => read,
            };
        }
        let mut scratch = [MaybeUninit::uninit(); AHEAD];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        match Pin::new(&mut this.tcp).poll_read(cx, &mut scratch) {
            Poll::Pending => return this.poll_hello(cx),
            Poll::Ready(read) => read?,
        }
        let read = scratch.filled();
        let (now, later) = read.split_at(read.len().min(buf.remaining()));
        buf.put_slice(now);
        if !later.is_empty() {
            this.ahead = later.to_vec();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if matches!(self.hello, Hello::Waited(_)) {
            self.hello = Hello::No;
        }
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[async_trait]
impl Shutdown for Conn {
    async fn shutdown(&mut self) {
        // A client that is gone needs no farewell.
        drop(tokio::io::AsyncWriteExt::shutdown(&mut self.tcp).await);
    }
}

impl UniqueID for Conn {
    fn id(&self) -> UniqueIDType {
        self.tcp.as_raw_fd()
    }
}

impl GetTimingDigest for Conn {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        // Room for the one of TLS.
        let mut digests = Vec::with_capacity(2);
        digests.push(Some(TimingDigest {
            established_ts: self.accepted,
            ..TimingDigest::default()
        }));
        digests
    }
}

impl GetProxyDigest for Conn {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

/// The kernel is asked for the addresses if somebody asks for them here.
impl GetSocketDigest for Conn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket(|_| {}))
    }
}

impl Ssl for Conn {}
impl Peek for Conn {}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_is_read_ahead_arrives_whole_and_in_order_whatever_is_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(local), listener.accept());
        let (mut client, (tcp, _)) = (client.unwrap(), accepted.unwrap());
        let mut conn = Conn::new(tcp, true);
        let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            for part in sent.chunks(7_777) {
                client.write_all(part).await.unwrap();
            }
        });
        assert!(conn.wait_for_byte().await);
        let mut got = Vec::new();
        // As a reader of records asks: a head of five bytes, then the rest; and other ways.
        for size in [5, 16_384, 1, 4_095, 4_096, 100].into_iter().cycle() {
            let mut part = vec![0; size];
            let read = conn.read(&mut part).await.unwrap();
            if read == 0 {
                break;
            }
            got.extend_from_slice(&part[..read]);
        }
        assert!(got == expected);
        assert_eq!(conn.ahead.capacity(), 0, "an idle connection holds nothing");
        writer.await.unwrap();
    }
}
