//! Many idle connections of HTTP/2, each of which still works at the end.

use crate::{h2, tls};
use anyhow::{Context, Result};
use boring::ssl::SslStream;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// Idle connections.
pub(crate) struct Idle(Vec<SslStream<TcpStream>>);

/// Opens `count` and asks once on each, as a browser has.
pub(crate) fn open(to: SocketAddr, count: usize) -> Result<Idle> {
    let connector = tls::connector(true)?;
    let open = || -> Result<_> {
        let mut stream = tls::connect(&connector, to)?;
        stream.write_all(&h2::opening(None))?;
        h2::get(&mut stream, 1, "localhost", "/c/x")?;
        Ok(stream)
    };
    (0..count)
        .map(|n| open().with_context(|| format!("connection {n}")))
        .collect::<Result<Vec<_>>>()
        .map(Idle)
}

impl Idle {
    /// Asks once more on each; how many answer.
    pub(crate) fn ask(&mut self) -> usize {
        let answers = |stream: &mut _| h2::get(stream, 3, "localhost", "/c/x").is_ok();
        self.0
            .iter_mut()
            .filter_map(|s| answers(s).then_some(()))
            .count()
    }
}
