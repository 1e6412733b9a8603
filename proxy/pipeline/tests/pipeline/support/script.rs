//! An origin that answers when the test says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a test waits for comes within this, or the test has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A running origin.
pub struct Script {
    pub address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Exchange>,
    count: Arc<AtomicUsize>,
}

/// A request that waits for its answer; dropped, its connection ends.
pub struct Exchange {
    socket: TcpStream,
}

impl Script {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (sender, requests) = mpsc::unbounded_channel();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (sender, counter) = (sender.clone(), Arc::clone(&counter));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    counter.fetch_add(1, Ordering::SeqCst);
                    sender.send(Exchange { socket }).ok();
                });
            }
        });
        Self {
            address,
            requests,
            count,
        }
    }

    /// The next request.
    pub async fn next(&mut self) -> Exchange {
        let next = tokio::time::timeout(DEADLINE, self.requests.recv()).await;
        next.expect("a request in time").expect("an origin")
    }

    /// Requests so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Exchange {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.expect("sends");
    }

    /// A whole answer; the connection ends after it.
    pub async fn answer(mut self, fields: &str, body: &str) {
        let length = body.len();
        self.send(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        ))
        .await;
    }

    /// Waits for the other side to end the connection.
    pub async fn closes(mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(DEADLINE, self.socket.read(&mut byte)).await;
        matches!(read.expect("ends in time"), Ok(0) | Err(_))
    }
}
