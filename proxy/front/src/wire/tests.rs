use super::*;
use crate::conn::Conn;
use async_trait::async_trait;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

mod http2;

const LONG: Duration = Duration::from_secs(60);

/// Counts writes; `TLS` stands for a transport of records.
#[derive(Debug)]
struct Counted<const TLS: bool> {
    conn: Conn,
    writes: Arc<AtomicUsize>,
    longest: Arc<AtomicUsize>,
}

impl<const TLS: bool> Transport for Counted<TLS> {
    const VECTORED: bool = !TLS;

    fn conn(&self) -> &Conn {
        &self.conn
    }
}

impl<const TLS: bool> Counted<TLS> {
    fn count(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(sent)) = result {
            self.writes.fetch_add(1, Ordering::Relaxed);
            self.longest.fetch_max(*sent, Ordering::Relaxed);
        }
    }
}

impl<const TLS: bool> AsyncRead for Counted<TLS> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.conn).poll_read(cx, buf)
    }
}

impl<const TLS: bool> AsyncWrite for Counted<TLS> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A record has at most 16 KiB.
        let buf = if TLS {
            &buf[..buf.len().min(16_384)]
        } else {
            buf
        };
        let result = Pin::new(&mut self.conn).poll_write(cx, buf);
        self.count(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.conn).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.conn).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(!TLS, "records are not written in parts");
        let result = Pin::new(&mut self.conn).poll_write_vectored(cx, bufs);
        self.count(&result);
        result
    }
}

#[async_trait]
impl<const TLS: bool> Shutdown for Counted<TLS> {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut self.conn).await;
    }
}

impl<const TLS: bool> UniqueID for Counted<TLS> {
    fn id(&self) -> UniqueIDType {
        self.conn.id()
    }
}

impl<const TLS: bool> GetTimingDigest for Counted<TLS> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.conn.get_timing_digest()
    }
}

impl<const TLS: bool> GetProxyDigest for Counted<TLS> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl<const TLS: bool> GetSocketDigest for Counted<TLS> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.conn.get_socket_digest()
    }
}

impl<const TLS: bool> Ssl for Counted<TLS> {}
impl<const TLS: bool> Peek for Counted<TLS> {}

async fn pair<const TLS: bool>(write_timeout: Duration) -> (Wire<Counted<TLS>>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(local), listener.accept());
    let (tcp, peer) = accepted.unwrap();
    let counted = Counted {
        conn: Conn::new(tcp, false),
        writes: Arc::default(),
        longest: Arc::default(),
    };
    let connection = Arc::new(Connection::new(7, peer, local, None));
    let pace = Pace {
        longest: write_timeout,
        rate: 0,
    };
    let wire = Wire::new(counted, connection, pace).unwrap();
    (wire, client.unwrap())
}

impl<const TLS: bool> Wire<Counted<TLS>> {
    fn writes(&self) -> usize {
        self.inner.writes.load(Ordering::Relaxed)
    }
}

fn numbers(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

async fn a_response_is_one_write<const TLS: bool>(body: usize) {
    let (mut wire, mut client) = pair::<TLS>(LONG).await;
    let body = numbers(body);
    wire.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    assert_eq!(wire.writes(), 0, "a head waits for its body");
    wire.write_all(&body).await.unwrap();
    wire.flush().await.unwrap();
    assert_eq!(wire.writes(), 1);
    assert_eq!(wire.out.capacity(), 0, "an idle connection holds no buffer");
    let mut got = vec![0; 19 + body.len()];
    client.read_exact(&mut got).await.unwrap();
    assert!(got[19..] == body[..]);
}

#[tokio::test]
async fn a_head_and_a_short_body_are_one_write() {
    a_response_is_one_write::<false>(1000).await;
    a_response_is_one_write::<true>(1000).await;
}

#[tokio::test]
async fn a_head_and_a_long_body_are_one_write_without_tls() {
    a_response_is_one_write::<false>(60_000).await;
}

#[tokio::test]
async fn a_long_body_fills_its_records() {
    let (mut wire, mut client) = pair::<true>(LONG).await;
    let body = numbers(60_000);
    wire.write_all(b"head").await.unwrap();
    wire.write_all(&body).await.unwrap();
    wire.flush().await.unwrap();
    assert_eq!(wire.writes(), 60_004_usize.div_ceil(16_384));
    assert_eq!(wire.inner.longest.load(Ordering::Relaxed), 16_384);
    let mut got = vec![0; 60_004];
    client.read_exact(&mut got).await.unwrap();
    assert!(got[4..] == body[..]);
}

#[tokio::test]
async fn parts_of_a_vectored_write_keep_their_order() {
    let (mut wire, mut client) = pair::<false>(LONG).await;
    wire.write_all(b"0").await.unwrap();
    let (a, b) = (vec![b'a'; 5000], vec![b'b'; 3000]);
    let parts = [
        IoSlice::new(&a),
        IoSlice::new(&[]),
        IoSlice::new(b"\r\n"),
        IoSlice::new(&b),
    ];
    assert_eq!(wire.write_vectored(&parts).await.unwrap(), 8002);
    assert_eq!(wire.writes(), 1);
    let mut got = vec![0; 8003];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(got, [b"0", &a[..], b"\r\n", &b[..]].concat());
}

async fn arrives_whole_and_in_order<const TLS: bool>() {
    let (mut wire, mut client) = pair::<TLS>(LONG).await;
    let pieces: Vec<Vec<u8>> = (0..400)
        .map(|n| {
            let mut piece = numbers((n * 7919) % 40_000);
            piece.iter_mut().for_each(|byte| *byte ^= n as u8);
            piece
        })
        .collect();
    let expected = pieces.concat();
    let writer = tokio::spawn(async move {
        for (n, piece) in pieces.iter().enumerate() {
            if n % 3 == 0 {
                let (a, b) = piece.split_at(piece.len() / 3);
                let mut rest = &mut [IoSlice::new(a), IoSlice::new(b)][..];
                while rest.iter().any(|part| !part.is_empty()) {
                    let sent = wire.write_vectored(rest).await.unwrap();
                    IoSlice::advance_slices(&mut rest, sent);
                }
            } else {
                wire.write_all(piece).await.unwrap();
            }
            if n % 7 == 0 {
                wire.flush().await.unwrap();
            }
        }
        wire.flush().await.unwrap();
        wire
    });
    let mut got = Vec::new();
    let mut chunk = vec![0; 1500];
    while got.len() < expected.len() {
        let read = client.read(&mut chunk).await.unwrap();
        assert!(read > 0);
        got.extend_from_slice(&chunk[..read]);
    }
    assert!(got == expected);
    writer.await.unwrap();
}

#[tokio::test]
async fn what_a_slow_client_takes_in_pieces_arrives_whole_and_in_order() {
    arrives_whole_and_in_order::<false>().await;
    arrives_whole_and_in_order::<true>().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let (mut wire, _client) = pair::<false>(Duration::from_millis(50)).await;
    let body = numbers(64 * 1024);
    let error = loop {
        if let Err(error) = wire.write_all(&body).await {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn first_bytes_are_waited_for_and_still_read() {
    let (mut wire, mut client) = pair::<false>(LONG).await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(wire.wait_for(3).await);
    client.write_all(b"Host: a\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    wire.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[tokio::test]
async fn first_bytes_are_read_in_pieces_too() {
    let (mut wire, mut client) = pair::<false>(LONG).await;
    client.write_all(b"0123456789").await.unwrap();
    assert!(wire.wait_for(10).await);
    let mut got = [0; 4];
    wire.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"0123");
    let mut got = [0; 6];
    wire.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"456789");
}

#[tokio::test]
async fn a_client_that_ends_before_its_first_byte_is_told_from_one_that_waits() {
    let (mut wire, client) = pair::<false>(LONG).await;
    drop(client);
    assert!(!wire.wait_for(1).await);
}

#[tokio::test]
async fn the_connection_reaches_the_app_through_the_digest() {
    let (wire, client) = pair::<false>(LONG).await;
    let stream: Box<dyn IO> = Box::new(wire);
    let digest = stream.get_proxy_digest().unwrap();
    let data = digest.user_data.as_ref().unwrap();
    let connection = data.downcast_ref::<Arc<Connection>>().unwrap();
    assert_eq!(connection.id, 7);
    assert_eq!(connection.peer, client.local_addr().unwrap());
    let socket = stream.get_socket_digest().unwrap();
    assert_eq!(
        socket.peer_addr().unwrap().as_inet(),
        Some(&client.local_addr().unwrap())
    );
}

#[tokio::test]
async fn an_answer_reaches_a_client_that_is_still_sending() {
    let (mut wire, mut client) = pair::<false>(LONG).await;
    let server = tokio::spawn(async move {
        wire.write_all(b"413").await.unwrap();
        Shutdown::shutdown(&mut wire).await;
    });
    // A close with bytes unread would reset the connection, and the client lose the answer.
    client.write_all(&vec![0; 1 << 20]).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"413");
    drop(client);
    server.await.unwrap();
}
