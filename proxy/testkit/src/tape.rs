//! An origin that writes down every byte, and a reader of what was written down.
//!
//! The reader takes only what all readers take in one way: a head in which something could be read in another way makes
//! the whole tape [`Read::unclear`]. It is short and slow, and shares nothing with what it is held against.

use parking_lot::Mutex;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// A request as an origin reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Method and target in origin form.
    pub line: String,
    /// The value of `Host`; empty without one.
    pub host: String,
    /// The body without its framing.
    pub body: Vec<u8>,
}

/// What stands on a tape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Requests that are whole.
    pub requests: Vec<Asked>,
    /// Bytes behind them that are not a whole request.
    pub rest: usize,
    /// What could be read in more than one way, or not at all.
    pub unclear: Option<String>,
}

/// One connection: its bytes so far.
type Connection = Arc<Mutex<Vec<u8>>>;

/// A running origin. It answers each whole request with `200` and goes on, until something is unclear; then it closes.
#[derive(Debug, Clone)]
pub struct Tape {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Connection>>>,
    requests: Arc<Mutex<Vec<(usize, Asked)>>>,
}

impl Tape {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let tape = Self {
            address: listener.local_addr().expect("bound"),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let this = tape.clone();
        // It ends with the program.
        thread::spawn(move || {
            for (at, socket) in listener.incoming().flatten().enumerate() {
                let connection = Connection::default();
                this.connections.lock().push(Arc::clone(&connection));
                let requests = Arc::clone(&this.requests);
                thread::spawn(move || {
                    serve(socket, &connection, |asked| {
                        requests.lock().push((at, asked));
                    });
                });
            }
        });
        tape
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes of each connection so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        let connections = self.connections.lock();
        connections.iter().map(|one| one.lock().clone()).collect()
    }

    /// The requests that were whole, each with the number of its connection, in the order they became so.
    #[must_use]
    pub fn requests(&self) -> Vec<(usize, Asked)> {
        self.requests.lock().clone()
    }
}

fn serve(mut socket: TcpStream, connection: &Connection, whole: impl Fn(Asked)) {
    let mut answered = 0;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = socket.read(&mut buffer) {
        let all = {
            let mut bytes = connection.lock();
            bytes.extend_from_slice(&buffer[..read]);
            self::read(&bytes)
        };
        for asked in all.requests.iter().skip(answered) {
            let body = if asked.line.starts_with("HEAD ") {
                ""
            } else {
                "fine"
            };
            whole(asked.clone());
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
            if socket.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        answered = all.requests.len();
        if all.unclear.is_some() {
            return;
        }
    }
}

/// Reads all requests of a connection.
#[must_use]
pub fn read(bytes: &[u8]) -> Read {
    let mut read = Read::default();
    let mut at = 0;
    while at < bytes.len() {
        // Some clients send an empty line behind a body (RFC 9112 §2.2).
        if bytes[at..].starts_with(b"\r\n") {
            at += 2;
            continue;
        }
        match request(&bytes[at..]) {
            Ok(Some((asked, length))) => {
                read.requests.push(asked);
                at += length;
            }
            Ok(None) => break,
            Err(unclear) => {
                read.unclear = Some(unclear);
                break;
            }
        }
    }
    read.rest = bytes.len() - at;
    read
}

type Found<T> = Result<Option<T>, String>;

/// The first request and its length; none if it is not whole.
fn request(bytes: &[u8]) -> Found<(Asked, usize)> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let unclear = |what: &str| Err(format!("{what} in {:?}", shortened(&head)));
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return unclear("a line end or NUL of its own");
    }
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = words[..] else {
        return unclear("no request line");
    };
    let mut fields: Vec<(String, &str)> = Vec::new();
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
                let value = value.trim_matches([' ', '\t']);
                let name = name.to_ascii_lowercase();
                if ["content_length", "transfer_encoding"].contains(&&*name) {
                    return unclear("a name that some servers take for another one");
                }
                fields.push((name, value));
            }
            _ => return unclear("a line that is no field"),
        }
    }
    let all = |name: &str| -> Vec<&str> {
        let named = fields.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| *value).collect()
    };
    let (line, host) = asked(method, target, &all("host"))?;
    let body = &bytes[end + 4..];
    let body = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Some((Vec::new(), 0)),
        ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) && !length.is_empty() => {
            let length: usize = length.parse().map_err(|_| "a length past counting")?;
            body.get(..length).map(|body| (body.to_vec(), length))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => chunks(body)?,
        _ => return unclear("two framings"),
    };
    Ok(body.map(|(body, length)| (Asked { line, host, body }, end + 4 + length)))
}

/// Method and target in origin form, and the host.
fn asked(method: &str, target: &str, hosts: &[&str]) -> Result<(String, String), String> {
    let mut host = match hosts {
        [] => "",
        [one] => one,
        _ => return Err("several hosts".to_owned()),
    };
    let mut path = target.to_owned();
    if let Some((scheme, rest)) = target.split_once("://")
        && ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str())
    {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        host = &rest[..end];
        let slash = if rest[end..].starts_with('/') {
            ""
        } else {
            "/"
        };
        path = format!("{slash}{}", &rest[end..]);
    }
    Ok((format!("{method} {path}"), host.to_owned()))
}

/// The bytes of all chunks, and the length of them with their framing.
fn chunks(bytes: &[u8]) -> Found<(Vec<u8>, usize)> {
    let line = |at: usize| {
        let rest = bytes.get(at..)?;
        let end = find(rest, b"\r\n")?;
        Some((
            String::from_utf8_lossy(&rest[..end]).into_owned(),
            at + end + 2,
        ))
    };
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some((size, next)) = line(at) else {
            return Ok(None);
        };
        let digits = size.split(';').next().unwrap_or_default();
        let digit = |b: u8| b.is_ascii_hexdigit();
        let size = match usize::from_str_radix(digits, 16) {
            Ok(size) if digits.bytes().all(digit) => size,
            _ => return Err(format!("a chunk size {size:?}")),
        };
        at = next;
        if size == 0 {
            loop {
                match line(at) {
                    None => return Ok(None),
                    Some((trailer, next)) if trailer.is_empty() => return Ok(Some((body, next))),
                    Some((_, next)) => at = next,
                }
            }
        }
        let (Some(data), Some(end)) = (
            bytes.get(at..at + size),
            bytes.get(at + size..at + size + 2),
        ) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err("a chunk without its end".to_owned());
        }
        body.extend_from_slice(data);
        at += size + 2;
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn requests_are_read_and_what_is_unclear_is_told() {
        let good = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: u\r\n\r\n\
                    GET http://b/?q HTTP/1.1\r\nHost: b\r\n\r\nPUT /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nab";
        let read_good = read(good.as_bytes());
        let lines: Vec<_> = read_good.requests.iter().map(|one| &*one.line).collect();
        assert_eq!(lines, ["POST /", "GET /?q"]);
        assert_eq!(read_good.requests[0].body, b"abc");
        assert!(read_good.rest > 0 && read_good.unclear.is_none());
        for bad in [
            "GET / HTTP/1.1\r\nX: y\nZ: a\r\n\r\n",
            "GET / HTTP/1.1\r\n X: y\r\n\r\n",
            "GET / HTTP/1.1\r\nX : y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent_Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: x, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        ] {
            let read = read(bad.as_bytes());
            assert!(
                read.unclear.is_some() && read.requests.is_empty(),
                "{bad:?}"
            );
        }
    }
}
