//! HTTP/1 by hand: for bytes that no well-behaved client sends, and for sockets curl has no name for.

use bytes::Bytes;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// One connection over which exactly the given bytes are sent.
#[derive(Debug)]
pub struct Raw<S> {
    stream: S,
    read: Vec<u8>,
}

/// A response as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// Status line and headers, without the empty line.
    pub head: String,
    /// The body, chunks joined.
    pub body: Bytes,
}

impl RawAnswer {
    /// Status code; 0 when there is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0)
    }

    /// A header's value, name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, v) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| v.trim())
        })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Raw<TcpStream> {
    /// Connects; reads and writes give up after 30 s.
    #[must_use]
    pub fn tcp(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap_or_else(|e| panic!("connect to {to}: {e}"));
        Self::patient(stream)
    }

    /// Connects from an address of this machine (IPv4).
    pub fn tcp_from(from: IpAddr, to: SocketAddr) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddr::new(from, 0)).unwrap_or_else(|e| panic!("bind to {from}: {e}"));
        connect(&socket, &to).unwrap_or_else(|e| panic!("connect to {to}: {e}"));
        Self::patient(TcpStream::from(socket))
    }

    fn patient(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        stream.set_nodelay(true).expect("nodelay");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Whether the peer closes without another byte within `deadline`.
    pub fn closes_within(&mut self, deadline: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(deadline))
            .expect("a timeout");
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(n) => n == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Whether the peer answers or closes within `deadline`.
    pub fn answers_or_closes_within(&mut self, deadline: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(deadline))
            .expect("a timeout");
        let quiet = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
        let waited = self.stream.read_exact(&mut [0]);
        waited
            .err()
            .is_none_or(|error| !quiet.contains(&error.kind()))
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        // The other side may have closed already.
        drop(self.stream.shutdown(std::net::Shutdown::Write));
    }
}

impl Raw<UnixStream> {
    /// Connects to a unix socket.
    pub fn unix(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }
}

impl<S: Read + Write> Raw<S> {
    /// Over a stream that is connected already.
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the peer takes the bytes");
        self
    }

    /// As [`Raw::send`], but tells whether the peer still takes them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a GET and reads the answer.
    pub fn get(&mut self, host: &str, target: &str) -> RawAnswer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.answer()
    }

    /// Reads one response; panics if the connection ends before it does.
    pub fn answer(&mut self) -> RawAnswer {
        match self.try_answer() {
            Some(answer) => answer,
            None => panic!(
                "no whole response; read: {:?}",
                String::from_utf8_lossy(&self.read)
            ),
        }
    }

    /// Reads one response; `None` if the connection ends before it does.
    pub fn try_answer(&mut self) -> Option<RawAnswer> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at;
            }
            if !self.fill() {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end + 4);
        let mut answer = RawAnswer {
            head,
            body: Bytes::new(),
        };
        let chunked = answer
            .header("transfer-encoding")
            .is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        let length = answer
            .header("content-length")
            .and_then(|v| v.parse::<usize>().ok());
        answer.body = match (answer.status(), chunked, length) {
            (100..=199 | 204 | 304, ..) => Bytes::new(),
            (_, true, _) => self.chunks()?,
            (_, false, Some(length)) => self.take(length)?,
            (_, false, None) => self.rest(),
        };
        Some(answer)
    }

    /// Everything until the peer closes.
    pub fn rest(&mut self) -> Bytes {
        while self.fill() {}
        std::mem::take(&mut self.read).into()
    }

    /// Whether the peer closes the connection without another byte.
    pub fn is_closed(&mut self) -> bool {
        !self.fill()
    }

    /// So many bytes; `None` if the connection ends before.
    pub fn take(&mut self, length: usize) -> Option<Bytes> {
        while self.read.len() < length {
            if !self.fill() {
                return None;
            }
        }
        Some(self.read.drain(..length).collect::<Vec<_>>().into())
    }

    fn chunks(&mut self) -> Option<Bytes> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Some(body.into());
            }
            body.extend_from_slice(&self.take(size)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.read, b"\r\n") {
                let line = String::from_utf8_lossy(&self.read[..at]).into_owned();
                self.read.drain(..at + 2);
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.read.extend_from_slice(&buffer[..n]);
                true
            }
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|w| w == part)
}

/// GET over a new connection to `to`, for probes; `None` while nobody listens or answers.
#[must_use]
pub fn try_get(to: SocketAddr, target: &str) -> Option<RawAnswer> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(1)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    let mut raw = Raw {
        stream,
        read: Vec::new(),
    };
    raw.try_send(format!(
        "GET {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"
    ));
    raw.try_answer()
}

/// A listener that takes no connection any more, or takes them and never reads.
#[derive(Debug)]
pub struct Unwilling {
    address: SocketAddr,
    _sockets: Vec<rustix::fd::OwnedFd>,
    _clients: Vec<TcpStream>,
}

impl Unwilling {
    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A listener whose queue is full: the kernel drops further connection requests, which look as if they were on a
/// long way.
#[must_use]
pub fn full_listener() -> Unwilling {
    let (address, socket) = listen(0);
    // A queue of length 0 takes one; connections past it hang, which shows that it is full.
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        clients.push(client);
        assert!(clients.len() < 64, "the queue of {address} never fills");
    }
    Unwilling {
        address,
        _sockets: vec![socket],
        _clients: clients,
    }
}

/// A listener whose connections are taken by the kernel and never read.
#[must_use]
pub fn deaf_listener() -> Unwilling {
    let (address, socket) = listen(64);
    Unwilling {
        address,
        _sockets: vec![socket],
        _clients: Vec::new(),
    }
}

fn listen(queue: i32) -> (SocketAddr, rustix::fd::OwnedFd) {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    let address = crate::ports::free_address();
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_reuseaddr(&socket, true).expect("SO_REUSEADDR");
    bind(&socket, &address).expect("a free address");
    listen(&socket, queue).expect("a listener");
    (address, socket)
}
