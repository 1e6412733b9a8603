//! `openssl s_client` as the client: a TLS library that is not ours, which keeps a session in a file, shows a certificate
//! and says what became of both.

use aegis_testkit::certs::Pair;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// One connection with one request.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    to: SocketAddr,
    name: &'a str,
    host: &'a str,
    before: String,
    args: Vec<String>,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Called {
    /// A session of before was resumed.
    pub resumed: bool,
    /// Status of the last answer; 0 = none.
    pub status: u16,
    /// All that was said.
    pub text: String,
}

impl<'a> Call<'a> {
    /// Asks for `name` in the handshake (for none if it is empty), and for it as host.
    #[must_use]
    pub fn new(to: SocketAddr, name: &'a str) -> Self {
        Self {
            to,
            name,
            host: name,
            before: String::new(),
            args: Vec::new(),
        }
    }

    /// Asks for another host in the request.
    #[must_use]
    pub fn host(self, host: &'a str) -> Self {
        Self { host, ..self }
    }

    /// Sends another request over the same connection before.
    #[must_use]
    pub fn after(mut self, host: &str, target: &str) -> Self {
        self.before = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self
    }

    /// Options as the manual names them: `-tls1_2`.
    #[must_use]
    pub fn arg(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Shows this certificate when asked.
    #[must_use]
    pub fn show(self, pair: &Pair) -> Self {
        let (cert, key) = (
            pair.cert.display().to_string(),
            pair.key.display().to_string(),
        );
        self.arg(&["-cert", &cert, "-key", &key])
    }

    /// Keeps the session there.
    #[must_use]
    pub fn keep(self, session: &Path) -> Self {
        self.arg(&["-sess_out", &session.display().to_string()])
    }

    /// Tries to resume the session kept there.
    #[must_use]
    pub fn resume(self, session: &Path) -> Self {
        self.arg(&["-sess_in", &session.display().to_string()])
    }

    /// Makes the call.
    ///
    /// # Panics
    /// If openssl cannot be run.
    #[must_use]
    pub fn send(self) -> Called {
        let name = match self.name {
            "" => vec!["-noservername"],
            name => vec!["-servername", name],
        };
        let mut child = Command::new("openssl")
            .args(["s_client", "-ign_eof", "-connect", &self.to.to_string()])
            .args(name)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("openssl: {error}"));
        let request = format!(
            "{}GET /s_client HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.before, self.host
        );
        if let Some(mut stdin) = child.stdin.take() {
            // A server that refuses the handshake takes nothing.
            let _refused = stdin.write_all(request.as_bytes());
        }
        let output = child
            .wait_with_output()
            .unwrap_or_else(|error| panic!("openssl: {error}"));
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let status = text
            .rsplit("HTTP/1.1 ")
            .next()
            .and_then(|rest| rest.get(..3)?.parse().ok());
        Called {
            resumed: text.contains("Reused, TLS"),
            status: status.unwrap_or(0),
            text,
        }
    }
}
