//! What clients send over HTTP/1, and all that may become of it: the one table the guard is held to, alone (in front),
//! in the whole proxy (in pipeline), and beside other proxies (in e2e).
//!
//! A row is bytes on one connection; [`NEXT`] follows in each, so that it shows whether both sides agree where the row
//! ended. What an origin may see of a row that is good is read from the row by [`crate::tape`], which shares no line with
//! the guard.

mod bodies;
mod heads;
mod refused;
mod sizes;

pub use refused::Refused;

use crate::tape::{self, Asked};
use Then::{Good, No, Ours};

/// A good request that follows each row: it is answered only if the row itself is good.
pub const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// What comes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is served, and the connection goes on.
    Good,
    /// It is a request that no origin is asked for, as its method is not taken (405) or no site has its host (404); the
    /// connection goes on.
    Ours(u16),
    /// It is refused, and the connection ends.
    No(Refused),
}

/// One row.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its group and its text; no two have the same.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Requests that are whole and have no fault of framing.
    pub good: usize,
    /// What comes after them: nothing, or a refusal.
    pub refused: Option<Refused>,
    /// The final statuses the client gets.
    pub answers: Vec<u16>,
    /// Whether the connection ends with the last of them.
    pub closes: bool,
    /// All that an origin may see.
    pub origin: Vec<Asked>,
    /// It may also see one that is broken off, since the fault lies in the body.
    pub breaks_off: bool,
}

/// All rows.
#[must_use]
pub fn all() -> Vec<Case> {
    let get = |middle: &[u8]| [b"GET / HTTP/1.1\r\n", middle, b"\r\n"].concat();
    let mut all = Vec::new();
    let mut add = |group: &str, row: &[u8], bytes: Vec<u8>, then| {
        all.push(case(
            format!("{group}: {}", row.escape_ascii()),
            bytes,
            then,
        ));
    };
    for (line, then) in heads::REQUEST_LINES {
        let bytes = format!("{line}\r\nHost: a.example\r\n\r\n");
        add("line", line.as_bytes(), bytes.into_bytes(), *then);
    }
    for (target, then) in heads::TARGETS {
        let bytes = [b"GET ", *target, b" HTTP/1.1\r\nHost: a.example\r\n\r\n"];
        add("target", target, bytes.concat(), *then);
    }
    for (lines, then) in heads::HOSTS {
        add("host", lines.as_bytes(), get(lines.as_bytes()), *then);
    }
    for (lines, then) in heads::FIELDS {
        let middle = [b"Host: a.example\r\n", *lines, b"\r\n"].concat();
        add("field", lines, get(&middle), *then);
    }
    for (lines, body, then) in bodies::FRAMINGS {
        let bytes = format!("POST / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n\r\n{body}");
        let row = format!("{lines} + {body}");
        add("framing", row.as_bytes(), bytes.into_bytes(), *then);
    }
    for (text, then) in heads::WHOLE {
        add("whole", text.as_bytes(), text.as_bytes().to_vec(), *then);
    }
    for (body, then) in bodies::CHUNKS {
        let bytes = [CHUNKED.as_bytes(), *body].concat();
        let mut row = case(format!("chunks: {}", body.escape_ascii()), bytes, *then);
        row.breaks_off = row.refused.is_some();
        all.push(row);
    }
    all.extend(sizes::all());
    all.extend(bodies::NOT_SWITCHED.iter().map(|frames| {
        let mut row = case(
            format!("not switched: {}", frames.escape_ascii()),
            [ASK_FOR_ANOTHER_PROTOCOL.as_bytes(), frames].concat(),
            No(Refused::Method),
        );
        row.follows(ASK_FOR_ANOTHER_PROTOCOL);
        row
    }));
    all
}

/// The head of a chunked request.
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
/// No origin here knows the protocol.
const ASK_FOR_ANOTHER_PROTOCOL: &str =
    "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn case(name: String, row: impl AsRef<[u8]>, then: Then) -> Case {
    let row = row.as_ref();
    let mut bytes = row.to_vec();
    bytes.extend_from_slice(NEXT.as_bytes());
    let (mut answers, mut origin) = (vec![200, 200], Vec::new());
    let refused = match then {
        Good => {
            let read = tape::read(&bytes);
            assert_eq!(read.requests.len(), 2, "{name}: {read:?}");
            origin = read.requests;
            None
        }
        Ours(status) => {
            answers[0] = status;
            origin.extend(tape::read(NEXT.as_bytes()).requests);
            None
        }
        No(refused) => {
            answers = vec![refused.status()];
            Some(refused)
        }
    };
    let good = if refused.is_none() { 2 } else { 0 };
    // An answer to HTTP/1.0 is the last one.
    let line = row.split(|&byte| byte == b'\n').next();
    let old = good > 0 && line.is_some_and(|line| line.ends_with(b"HTTP/1.0\r"));
    if old {
        answers.truncate(1);
        origin.truncate(1);
    }
    Case {
        name,
        bytes,
        good,
        closes: refused.is_some() || old,
        refused,
        answers,
        origin,
        breaks_off: false,
    }
}

impl Case {
    /// The row comes behind these good requests.
    fn follows(&mut self, requests: &str) {
        let before = tape::read(requests.as_bytes()).requests;
        self.good += before.len();
        self.answers
            .splice(0..0, std::iter::repeat_n(200, before.len()));
        self.origin.splice(0..0, before);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn there_are_many_rows_and_each_has_a_name_of_its_own() {
        let all = super::all();
        let names: HashSet<_> = all.iter().map(|case| &case.name).collect();
        let twice: Vec<_> = all
            .iter()
            .filter(|case| all.iter().filter(|other| other.name == case.name).count() > 1)
            .map(|case| &case.name)
            .collect();
        assert_eq!(names.len(), all.len(), "{twice:?}");
        assert!(all.len() >= 200, "{}", all.len());
        assert!(!all.iter().any(|case| case.name.contains(['\n', '\t'])));
    }
}
