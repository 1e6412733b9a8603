//! Plays a row of [`crate::cases`] to a proxy that stands before a [`Tape`], and tells all that came of it.

use crate::cases::Case;
use crate::tape::{self, Asked, Tape};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Nothing takes longer, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(30);
const SECOND: &str = "GET /second HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// What came of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The final statuses the client got; 0 is an answer without a status line.
    pub answers: Vec<u16>,
    /// The proxy ended the connection by itself.
    pub closed: bool,
    /// The whole requests the origin saw, but for the second client's.
    pub origin: Vec<Asked>,
    /// What the origin could have read in more than one way.
    pub unclear: Vec<String>,
    /// What the second client got, whose request follows over the same connections.
    pub second: Second,
    /// What the client got, for a message.
    pub text: String,
}

/// The second client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// Its request reached the origin as it was, over a connection that had been used before.
    SameConnection,
    /// Over a new one.
    NewConnection,
    /// It got another answer than its own, or none.
    Harmed,
}

/// How long to wait for what may never come.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// So many answers come, or the test fails.
    Sure,
    /// A proxy that has said nothing for this long waits for more bytes.
    Quiet(Duration),
}

/// Plays one row. The proxy and its origin serve nobody else meanwhile.
#[must_use]
pub fn play(proxy: SocketAddr, tape: &Tape, case: &Case, patience: Patience) -> Outcome {
    let (before, requests) = (tape.bytes(), tape.requests().len());
    let mut client = Client::new(proxy);
    // The refusal may come while this is being sent.
    drop(client.socket.write_all(&case.bytes));
    client.listen(case, patience);
    let closed = client.ended;
    if !closed {
        // What still comes belongs to it; a proxy that waits for more now knows that none will come.
        drop(client.socket.shutdown(Shutdown::Write));
        client.drain();
    }
    let first = tape.bytes();
    let mut second = Client::new(proxy);
    drop(second.socket.write_all(SECOND.as_bytes()));
    second.until(1, DEADLINE);
    let served = statuses(&second.came) == [200];
    let mut outcome = Outcome {
        answers: statuses(&client.came),
        closed,
        origin: Vec::new(),
        unclear: Vec::new(),
        second: Second::Harmed,
        text: String::from_utf8_lossy(&client.came).into_owned(),
    };
    let mut seconds = 0;
    for (at, asked) in tape.requests().into_iter().skip(requests) {
        if asked.line == "GET /second" {
            seconds += 1;
            let used = first.get(at).is_some_and(|bytes| !bytes.is_empty());
            outcome.second = if used {
                Second::SameConnection
            } else {
                Second::NewConnection
            };
        } else {
            outcome.origin.push(asked);
        }
    }
    for (at, bytes) in tape.bytes().iter().enumerate() {
        let old = before.get(at).map_or(0, Vec::len);
        let read = tape::read(&bytes[old..]);
        outcome.unclear.extend(read.unclear);
    }
    if !served || seconds != 1 {
        outcome.second = Second::Harmed;
    }
    outcome
}

struct Client {
    socket: TcpStream,
    came: Vec<u8>,
    ended: bool,
}

impl Client {
    fn new(proxy: SocketAddr) -> Self {
        let socket = TcpStream::connect(proxy).expect("the proxy listens");
        socket.set_nodelay(true).expect("nodelay");
        Self {
            socket,
            came: Vec::new(),
            ended: false,
        }
    }

    /// Until all that can come has come.
    fn listen(&mut self, case: &Case, patience: Patience) {
        match patience {
            Patience::Sure if case.closes => self.drain(),
            Patience::Sure => self.until(case.answers.len(), DEADLINE),
            Patience::Quiet(wait) => self.until(usize::MAX, wait),
        }
    }

    /// Until there are so many answers, or it ends, or nothing comes for so long.
    fn until(&mut self, answers: usize, wait: Duration) {
        while statuses(&self.came).len() < answers && self.read(wait) {}
    }

    fn drain(&mut self) {
        while self.read(DEADLINE) {}
        assert!(self.ended, "the connection does not end");
    }

    fn read(&mut self, wait: Duration) -> bool {
        let mut buffer = [0; 16 * 1024];
        self.socket.set_read_timeout(Some(wait)).expect("a timeout");
        match self.socket.read(&mut buffer) {
            Ok(read @ 1..) => {
                self.came.extend_from_slice(&buffer[..read]);
                return true;
            }
            Ok(_) => self.ended = true,
            Err(error) => {
                use std::io::ErrorKind::{TimedOut, WouldBlock};
                self.ended = ![TimedOut, WouldBlock].contains(&error.kind());
            }
        }
        false
    }
}

/// The final statuses in what came. No body here has a line that looks like one.
fn statuses(came: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(came);
    if !text.is_empty() && !text.starts_with("HTTP/1.") {
        return vec![0];
    }
    let lines = text.split("HTTP/1.").skip(1);
    let status = |line: &str| line.get(2..5)?.parse().ok();
    lines
        .filter_map(status)
        .filter(|status| *status >= 200)
        .collect()
}
