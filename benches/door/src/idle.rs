//! Many idle connections of HTTP/2, each of which still works at the end.

use crate::h2::Client;
use crate::tls;
use anyhow::{Context, Result};
use boring::ssl::SslStream;
use std::net::{SocketAddr, TcpStream};

/// Idle connections.
pub(crate) struct Idle(Vec<Client<SslStream<TcpStream>>>);

/// Opens `count` and asks once on each, as a browser has.
pub(crate) fn open(to: SocketAddr, count: usize) -> Result<Idle> {
    let connector = tls::connector(true)?;
    let open = || -> Result<_> {
        let mut client = Client::new(tls::connect(&connector, to)?)?;
        client.get("localhost", "/c/x")?;
        Ok(client)
    };
    (0..count)
        .map(|n| open().with_context(|| format!("connection {n}")))
        .collect::<Result<Vec<_>>>()
        .map(Idle)
}

impl Idle {
    /// Asks once more on each; how many answer.
    pub(crate) fn ask(&mut self) -> usize {
        let answers = self
            .0
            .iter_mut()
            .map(|c| c.get("localhost", "/c/x").is_ok());
        answers.filter(|answers| *answers).count()
    }
}
