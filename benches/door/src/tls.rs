//! TLS as a client that believes every certificate.

use anyhow::{Context, Result};
use boring::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for anything.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// What connections are made with.
pub(crate) fn connector(h2: bool) -> Result<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls())?;
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_alpn_protos(if h2 { b"\x02h2" } else { b"\x08http/1.1" })?;
    Ok(builder.build())
}

pub(crate) fn tcp(to: SocketAddr) -> Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&to, WAIT)?;
    tcp.set_read_timeout(Some(WAIT))?;
    tcp.set_write_timeout(Some(WAIT))?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

pub(crate) fn connect(connector: &SslConnector, to: SocketAddr) -> Result<SslStream<TcpStream>> {
    let mut configured = connector.configure()?;
    configured.set_verify_hostname(false);
    let host = "localhost";
    configured
        .connect(host, tcp(to)?)
        .ok()
        .context("the handshake fails")
}
