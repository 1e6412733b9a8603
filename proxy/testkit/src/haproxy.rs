//! HAProxy as a peer.

use crate::process::Process;
use crate::wait;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use tempfile::TempDir;

/// A running HAProxy. Dropping it ends it.
#[derive(Debug)]
pub struct Haproxy {
    _process: Process,
    _dir: TempDir,
}

impl Haproxy {
    /// One proxy for each pair: where it listens, and its origin.
    #[must_use]
    pub fn before(pairs: &[(SocketAddr, SocketAddr)]) -> Self {
        let mut text = "global\n  maxconn 4096\ndefaults\n  mode http\n  option http-keep-alive\n  http-reuse always\n  \
                        timeout connect 10s\n  timeout client 20s\n  timeout server 20s\n"
            .to_owned();
        for (at, (listen, origin)) in pairs.iter().enumerate() {
            text += &format!("listen p{at}\n  bind {listen}\n  server o {origin}\n");
        }
        let dir = TempDir::new().expect("a folder");
        let config = dir.path().join("haproxy.cfg");
        std::fs::write(&config, text).expect("haproxy.cfg");
        let config = config.display().to_string();
        // In the foreground, without a master: nothing is left behind when a test is killed.
        let process = Process::start(Path::new("haproxy"), ["-db", "-f", &config]);
        for (listen, _) in pairs {
            wait::eventually(process.told(format!("listens on {listen}")), || {
                TcpStream::connect(listen).ok()
            });
        }
        Self {
            _process: process,
            _dir: dir,
        }
    }
}
