//! A node without front (a plain accept loop), an origin that writes down what it gets, and a raw client.
#![allow(unreachable_pub, reason = "shared by the test files")]

pub mod door;
pub mod guard;
pub mod origin;
pub mod script;
pub mod settings;
pub mod wire;

use aegis_pipeline::{App, Cache, Limits, Live, NodeParts, service};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_core::protocols::{ALPN, GetSocketDigest, SocketDigest, l4::stream::Stream};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A running node.
pub struct Node {
    pub live: Arc<Live>,
    pub address: SocketAddr,
    app: Arc<App>,
    stop: watch::Sender<bool>,
}

impl Node {
    /// Serves nothing but 503 yet.
    pub async fn starting() -> Self {
        Self::holding(256 << 20, 1 << 30, None).await
    }

    /// Has budgets of so many bytes for held and spooled bodies; every connection comes from `peer`, if one is given.
    async fn holding(bodies_held_max: u64, bodies_spooled_max: u64, peer: Option<IpAddr>) -> Self {
        let live = Live::starting(
            NodeParts {
                origin_connections_max: usize::MAX,
                client: settings::client(),
                hops: Arc::default(),
                tracer: None,
                access: None,
                bodies_held_max,
                bodies_spooled_max,
                spool_dir: std::env::temp_dir(),
                verdicts: settings::desk(),
                limits: Limits::new(1024),
            },
            2,
        );
        let app = service(Arc::clone(&live), Cache::new(64 << 20));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, watch) = watch::channel(false);
        let (accepting, given) = (Arc::clone(&app), peer);
        tokio::spawn(async move {
            while let Ok((socket, peer)) = listener.accept().await {
                let (app, watch) = (Arc::clone(&accepting), watch.clone());
                let peer = SocketAddr::new(given.unwrap_or(peer.ip()), peer.port());
                tokio::spawn(async move {
                    let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
                    digest
                        .peer_addr
                        .set(Some(PingoraAddr::Inet(peer)))
                        .expect("fresh");
                    let mut stream = Stream::from(socket);
                    stream.set_socket_digest(digest);
                    app.process_new(Box::new(stream), &watch).await;
                });
            }
        });
        Self {
            live,
            address,
            app,
            stop,
        }
    }

    /// Serves `sites`.
    pub async fn serving(sites: settings::Sites) -> Self {
        let snapshot = sites.snapshot();
        let parts = &snapshot.node;
        let (held, spooled) = (parts.bodies_held_max, parts.bodies_spooled_max);
        let node = Self::holding(held, spooled, sites.peer).await;
        node.live.ready(Arc::new(snapshot));
        node
    }

    /// Another address, on which every connection is HTTP/2 over TLS made for `sni`.
    pub async fn also_http2(&self, sni: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (app, watch) = (Arc::clone(&self.app), self.stop.subscribe());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (app, watch) = (Arc::clone(&app), watch.clone());
                let wire = wire::Wire::tls(socket, ALPN::H2, sni);
                tokio::spawn(async move { app.process_new(Box::new(wire), &watch).await });
            }
        });
        address
    }

    /// One connection.
    pub async fn connect(&self) -> Client {
        Client(
            TcpStream::connect(self.address).await.expect("connects"),
            Vec::new(),
        )
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    /// `GET` with this host and target.
    pub async fn get(&self, host: &str, target: &str) -> Answer {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await
    }
}

/// A client that speaks bytes.
pub struct Client(pub TcpStream, Vec<u8>);

impl Client {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("sends");
    }

    /// Reads one answer, framed by length, chunks, or the end of the connection. Skips 100.
    pub async fn answer(&mut self) -> Answer {
        loop {
            let answer = self.one().await;
            if answer.status != 100 {
                return answer;
            }
        }
    }

    async fn one(&mut self) -> Answer {
        let head_end = loop {
            if let Some(at) = self.1.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.read().await,
                "closed before an answer; got {:?}",
                String::from_utf8_lossy(&self.1)
            );
        };
        let head = String::from_utf8(self.1.drain(..head_end).collect()).expect("a head in ASCII");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
            whole: true,
        };
        if status < 200 || status == 204 || status == 304 {
            return answer;
        }
        if answer.field("transfer-encoding").is_some() {
            answer.whole = self.chunks(&mut answer.body).await;
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().expect("a length");
            while self.1.len() < length && self.read().await {}
            answer.whole = self.1.len() >= length;
            answer.body = self.1.drain(..length.min(self.1.len())).collect();
        } else {
            while self.read().await {}
            answer.body = std::mem::take(&mut self.1);
        }
        answer
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let line_end = loop {
                if let Some(at) = self.1.windows(2).position(|w| w == b"\r\n") {
                    break at;
                }
                if !self.read().await {
                    return false;
                }
            };
            let line: Vec<u8> = self.1.drain(..line_end + 2).collect();
            let size =
                usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a size");
            while self.1.len() < size + 2 {
                if !self.read().await {
                    return false;
                }
            }
            body.extend(self.1.drain(..size));
            self.1.drain(..2);
            if size == 0 {
                return true;
            }
        }
    }

    /// Reads more; false at the end.
    pub async fn read(&mut self) -> bool {
        let mut buffer = [0; 16384];
        match self.0.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.1.extend_from_slice(&buffer[..n]);
                true
            }
        }
    }

    /// Waits for a whole head, and leaves it for [`Client::answer`].
    pub async fn peek_head(&mut self) {
        while !self.1.windows(4).any(|w| w == b"\r\n\r\n") && self.read().await {}
    }

    /// The next `n` bytes, fewer only at the end.
    pub async fn bytes(&mut self, n: usize) -> Vec<u8> {
        while self.1.len() < n && self.read().await {}
        self.1.drain(..n.min(self.1.len())).collect()
    }

    /// True if the node closed the connection and sent nothing more.
    pub async fn is_closed(&mut self) -> bool {
        !self.read().await && self.1.is_empty()
    }
}

/// What a client got.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// The body ended as it said it would.
    pub whole: bool,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
