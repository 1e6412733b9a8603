//! A BoringSSL client: says which version, key share and protocol a server chose. curl's and openssl's TLS
//! libraries may not know the post-quantum groups yet.

use anyhow::{Context, Result, bail};
use boring::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use boring::x509::verify::X509VerifyFlags;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Groups in order of preference, as BoringSSL names them.
    pub groups: String,
    /// The only authority trusted; none = anything is accepted.
    pub ca: Option<PathBuf>,
}

/// What the server chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// `TLSv1.3`
    pub version: String,
    /// `X25519MLKEM768`
    pub group: String,
    /// Status of the GET.
    pub status: u16,
    /// Head of the answer.
    pub head: String,
    /// From the sent request to the first byte of the answer.
    pub first_byte: Duration,
}

impl Facts {
    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let fields = self.head.lines().filter_map(|l| l.split_once(':'));
        fields
            .into_iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map_or("", |(_, v)| v.trim())
    }
}

/// Connects to `to` and GETs `path` of `authority` (a host, maybe with a port) over HTTP/1.1.
pub fn get(to: impl ToSocketAddrs, authority: &str, path: &str, offer: &Offer) -> Result<Facts> {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    let tcp = TcpStream::connect(to)?;
    tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
    tcp.set_nodelay(true)?;
    let mut connector = SslConnector::builder(SslMethod::tls())?;
    connector
        .set_curves_list(&offer.groups)
        .with_context(|| format!("groups {}", offer.groups))?;
    match &offer.ca {
        Some(ca) => {
            connector
                .set_ca_file(ca)
                .with_context(|| ca.display().to_string())?;
            // A self-signed certificate is its own authority, without being one by its extensions.
            connector
                .cert_store_mut()
                .set_flags(X509VerifyFlags::PARTIAL_CHAIN);
        }
        None => connector.set_verify(SslVerifyMode::NONE),
    }
    let mut tls = match connector.build().connect(host, tcp) {
        Ok(tls) => tls,
        Err(error) => bail!("no TLS with {host}: {error}"),
    };
    let start = Instant::now();
    tls.write_all(
        format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
        .as_bytes(),
    )?;
    let (head, first_byte) = read_head(&mut tls, start)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    let group = tls.ssl().curve_name().unwrap_or("none").to_owned();
    Ok(Facts {
        version: tls.ssl().version_str().to_owned(),
        group,
        status,
        head,
        first_byte,
    })
}

/// A connection that is kept, over which HTTP/1.1 is spoken; the certificate is not checked.
pub fn open(to: impl ToSocketAddrs, name: &str) -> Result<SslStream<TcpStream>> {
    let tcp = TcpStream::connect(to)?;
    tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut connector = SslConnector::builder(SslMethod::tls())?;
    connector.set_verify(SslVerifyMode::NONE);
    match connector.build().connect(name, tcp) {
        Ok(tls) => Ok(tls),
        Err(error) => bail!("no TLS with {name}: {error}"),
    }
}

fn read_head(tls: &mut SslStream<TcpStream>, start: Instant) -> Result<(String, Duration)> {
    let (mut read, mut first_byte) = (Vec::new(), None);
    let mut buffer = [0; 4096];
    loop {
        let n = tls.read(&mut buffer)?;
        first_byte.get_or_insert_with(|| start.elapsed());
        read.extend_from_slice(buffer.get(..n).unwrap_or_default());
        let text = String::from_utf8_lossy(&read);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            return Ok((head.to_owned(), first_byte.unwrap_or_default()));
        }
        if n == 0 || read.len() > 64 * 1024 {
            bail!("no whole response head: {text}");
        }
    }
}

/// A connection to `to` for `host` on which HTTP/2 was agreed on; whatever certificate is shown.
pub fn http2(to: impl ToSocketAddrs, host: &str) -> Result<SslStream<TcpStream>> {
    let tcp = TcpStream::connect(to)?;
    tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
    tcp.set_nodelay(true)?;
    let mut connector = SslConnector::builder(SslMethod::tls())?;
    connector.set_verify(SslVerifyMode::NONE);
    connector.set_alpn_protos(b"\x02h2")?;
    let tls = match connector
        .build()
        .configure()?
        .verify_hostname(false)
        .connect(host, tcp)
    {
        Ok(tls) => tls,
        Err(error) => bail!("no TLS with {host}: {error}"),
    };
    if tls.ssl().selected_alpn_protocol() != Some(b"h2") {
        bail!("{host} does not speak HTTP/2");
    }
    Ok(tls)
}
