//! curl as the client: a real one, with TLS and HTTP/2, and the command a person can type again.

use crate::paths::shared_dir;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::NamedTempFile;

/// A request to make.
#[derive(Debug, Clone)]
pub struct Curl {
    url: String,
    args: Vec<String>,
    stdin: Option<Vec<u8>>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Status; 0 when there was no response.
    pub status: u16,
    /// `1.1`, `2`, …
    pub version: String,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Seconds from the sent request to the first byte of the answer.
    pub first_byte: f64,
    /// curl's exit code; 0 = a whole response.
    pub exit: i32,
    /// What curl said.
    pub error: String,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }

    /// A header; empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, v)| v)
    }
}

impl Curl {
    /// GET this URL.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            args: Vec::new(),
            stdin: None,
        }
    }

    /// Asks for this target at the same place instead.
    #[must_use]
    pub fn to(mut self, target: &str) -> Self {
        let start = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url[start..]
            .find('/')
            .map_or(self.url.len(), |at| start + at);
        self.url.truncate(end);
        self.url.push_str(target);
        self
    }

    /// Adds options as curl's manual names them.
    #[must_use]
    pub fn arg(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(self, line: &str) -> Self {
        self.arg(&["-H", line])
    }

    /// Sends these bytes as the body (POST unless `-X` says otherwise).
    #[must_use]
    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin(bytes)
            .arg(&["--data-binary", "@-", "-H", "Expect:"])
    }

    /// Gives these bytes to curl's standard input (`@-` in its options).
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// HTTP/2: by ALPN over TLS, with prior knowledge without.
    #[must_use]
    pub fn http2(self) -> Self {
        let flag = if self.url.starts_with("https:") {
            "--http2"
        } else {
            "--http2-prior-knowledge"
        };
        self.arg(&[flag])
    }

    /// HTTP/1.1 only.
    #[must_use]
    pub fn http1(self) -> Self {
        self.arg(&["--http1.1"])
    }

    /// Trusts this authority only.
    #[must_use]
    pub fn cacert(self, pem: &Path) -> Self {
        self.arg(&["--cacert", &pem.display().to_string()])
    }

    /// Connects to `to` whatever the URL's host and port are; SNI and Host stay those of the URL.
    #[must_use]
    pub fn connect_to(self, to: SocketAddr) -> Self {
        self.arg(&["--connect-to", &format!("::{}:{}", to.ip(), to.port())])
    }

    /// The command as a person would type it.
    #[must_use]
    pub fn typed(&self) -> String {
        let mut out = String::from("curl");
        for word in self.args.iter().chain([&self.url]) {
            let plain = word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c));
            let word = if plain {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            };
            out.push(' ');
            out.push_str(&word);
        }
        out
    }

    /// Makes the request. At most 60 s.
    pub fn send(&self) -> Answer {
        let dir = shared_dir();
        let head = NamedTempFile::new_in(&dir).expect("a file");
        let body = NamedTempFile::new_in(&dir).expect("a file");
        let mut command = Command::new("curl");
        command
            .args([
                "-sS",
                "--max-time",
                "60",
                "--path-as-is",
                "-w",
                "%{http_code} %{http_version} %{time_pretransfer} %{time_starttransfer}",
            ])
            .arg("-D")
            .arg(head.path())
            .arg("-o")
            .arg(body.path())
            .args(&self.args);
        let sent = self.stdin.as_ref().map(|bytes| {
            let file = NamedTempFile::new_in(&dir).expect("a file");
            std::fs::write(file.path(), bytes).expect("the body in a file");
            command.stdin(file.reopen().expect("the body"));
            file
        });
        let output = command
            .arg(&self.url)
            .output()
            .unwrap_or_else(|e| panic!("cannot run curl: {e}"));
        drop(sent);
        let facts = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut facts = facts.split(' ');
        let mut fact = || facts.next().unwrap_or_default().trim().to_owned();
        let (status, version, before, first) = (fact(), fact(), fact(), fact());
        Answer {
            status: status.parse().unwrap_or(0),
            version,
            headers: headers(&std::fs::read(head.path()).unwrap_or_default()),
            body: std::fs::read(body.path()).unwrap_or_default(),
            first_byte: (first.parse().unwrap_or(0.0) - before.parse().unwrap_or(0.0f64)).max(0.0),
            exit: output.status.code().unwrap_or(-1),
            error: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }
    }
}

/// The last head in what `-D` wrote (1xx heads come before it).
fn headers(dump: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(dump);
    let last = text
        .trim_end()
        .rsplit("\r\n\r\n")
        .next()
        .unwrap_or_default();
    let fields = last.lines().skip(1).filter_map(|l| l.split_once(':'));
    fields
        .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
        .collect()
}
