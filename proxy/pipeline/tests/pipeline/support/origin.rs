//! An origin that writes down every byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as the origin got it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub head: String,
    /// Without chunk framing.
    pub body: Vec<u8>,
    /// All of it came.
    pub whole: bool,
    pub connection: usize,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).into_iter().next()
    }

    pub fn fields(&self, name: &str) -> Vec<&str> {
        let field = |line: &'_ str| {
            line.split_once(':')
                .is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
        };
        self.head
            .lines()
            .filter(|l| field(l))
            .filter_map(|l| l.split_once(':'))
            .map(|(_, v)| v.trim())
            .collect()
    }

    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }
}

/// What the origin does with a request.
pub enum Reply {
    /// Sends these bytes and keeps the connection.
    Bytes(Vec<u8>),
    /// Sends these bytes and closes.
    Last(Vec<u8>),
    /// Closes.
    Close,
    /// Never answers.
    Hang,
    /// Sends these bytes before it reads the body, then reads it.
    Early(Vec<u8>),
    /// Sends the first bytes before it reads the body, and the others after it.
    Halves(Vec<u8>, Vec<u8>),
    /// Sends the first bytes, waits for the signal, sends the rest.
    Gated(Vec<u8>, Arc<tokio::sync::Notify>, Vec<u8>),
}

/// `200` with this body.
pub fn ok(body: &str) -> Reply {
    Reply::Bytes(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )
}

/// A running origin.
#[derive(Clone)]
pub struct Origin {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    changed: Arc<tokio::sync::Notify>,
}

impl Origin {
    /// `reply` is asked with the head of each request and the number of requests before it.
    pub async fn start(reply: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = Self {
            address: listener.local_addr().expect("bound"),
            seen: Arc::default(),
            connections: Arc::default(),
            changed: Arc::default(),
        };
        let (this, reply) = (origin.clone(), Arc::new(reply));
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((socket, _)) = listener.accept().await {
                let (this, reply) = (this.clone(), Arc::clone(&reply));
                this.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move { this.serve(socket, connection, &*reply).await });
                connection += 1;
            }
        });
        origin
    }

    /// Answers everything with `200` and `body`.
    pub async fn ok(body: &'static str) -> Self {
        Self::start(move |_, _| ok(body)).await
    }

    /// Requests so far, in order of their heads.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// Connections that were made, whatever came on them.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request")
    }

    /// The request with this number, counted from 1, once its head is here.
    pub async fn request(&self, n: usize) -> Seen {
        self.until(|seen| seen.len() >= n).await;
        self.seen().swap_remove(n - 1)
    }

    /// Waits until it is so.
    pub async fn until(&self, done: impl Fn(&[Seen]) -> bool) {
        loop {
            let changed = self.changed.notified();
            if done(&self.seen()) {
                return;
            }
            changed.await;
        }
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().expect("no panic")[index]);
        self.changed.notify_waiters();
    }

    async fn serve(
        &self,
        mut socket: TcpStream,
        connection: usize,
        reply: &(dyn Fn(&Seen, usize) -> Reply + Send + Sync),
    ) {
        let mut buffer = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                    break at + 4;
                }
                if socket.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let head =
                String::from_utf8_lossy(&buffer.drain(..end).collect::<Vec<_>>()).into_owned();
            let seen = Seen {
                head,
                connection,
                ..Seen::default()
            };
            let index = {
                let mut all = self.seen.lock().expect("no panic");
                all.push(seen.clone());
                all.len() - 1
            };
            self.changed.notify_waiters();
            let reply = reply(&seen, index);
            if let Reply::Early(bytes) | Reply::Halves(bytes, _) = &reply {
                socket.write_all(bytes).await.ok();
            }
            let whole = self.body(&mut socket, &mut buffer, &seen, index).await;
            self.note(index, |seen| seen.whole = whole);
            if !whole {
                return;
            }
            match reply {
                Reply::Bytes(bytes) | Reply::Halves(_, bytes) => {
                    if socket.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Reply::Last(bytes) => {
                    socket.write_all(&bytes).await.ok();
                    return;
                }
                Reply::Close => return,
                Reply::Hang => std::future::pending::<()>().await,
                Reply::Early(_) => {}
                Reply::Gated(first, gate, rest) => {
                    socket.write_all(&first).await.ok();
                    gate.notified().await;
                    socket.write_all(&rest).await.ok();
                }
            }
        }
    }

    async fn body(
        &self,
        socket: &mut TcpStream,
        buffer: &mut Vec<u8>,
        seen: &Seen,
        index: usize,
    ) -> bool {
        if seen.field("transfer-encoding").is_some() {
            loop {
                let Some(line_end) =
                    until(socket, buffer, |b| b.windows(2).position(|w| w == b"\r\n")).await
                else {
                    return false;
                };
                let line: Vec<u8> = buffer.drain(..line_end + 2).collect();
                let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16)
                    .expect("a size");
                if until(socket, buffer, |b| (b.len() >= size + 2).then_some(0))
                    .await
                    .is_none()
                {
                    return false;
                }
                let data: Vec<u8> = buffer.drain(..size).collect();
                buffer.drain(..2);
                if size == 0 {
                    return true;
                }
                self.note(index, |seen| seen.body.extend(data));
            }
        }
        let mut left: usize = seen
            .field("content-length")
            .map_or(0, |l| l.parse().expect("a length"));
        while left > 0 {
            if buffer.is_empty() && socket.read_buf(buffer).await.unwrap_or(0) == 0 {
                return false;
            }
            let data: Vec<u8> = buffer.drain(..left.min(buffer.len())).collect();
            left -= data.len();
            self.note(index, |seen| seen.body.extend(data));
        }
        true
    }
}

async fn until(
    socket: &mut TcpStream,
    buffer: &mut Vec<u8>,
    found: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    loop {
        if let Some(at) = found(buffer) {
            return Some(at);
        }
        if socket.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// An address where nobody listens, and nobody can: the port stays bound until the process ends.
pub async fn nobody() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(any).expect("a free port");
    let address = socket.local_addr().expect("bound");
    std::mem::forget(socket);
    address
}
