//! Addresses, hosts and origins.

use super::is_name;
use super::scalar::{Scalar, Text, Wrong};
use crate::networks::{Network, NetworkError};
use crate::shape;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest name DNS can hold (RFC 1035 §2.3.4).
const DNS_NAME_MAX: usize = 253;
/// A name, a colon and a port.
const SERVER_MAX: usize = DNS_NAME_MAX + 6;

fn unspecified() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
}

fn read_address(text: &Text<'_>) -> Result<SocketAddr, Wrong> {
    let text = text.text;
    text.parse().map_err(|_| {
        if let Some(port) = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')) {
            Wrong::help(format!("for every address write \"[::]:{port}\""))
        } else if let Some(port) = text.strip_prefix("localhost:") {
            Wrong::help(format!("write 127.0.0.1:{port}"))
        } else if let Ok(port) = text.parse::<u16>() {
            Wrong::help(format!("for every address write \"[::]:{port}\""))
        } else if let Ok(ip) = text.parse::<IpAddr>() {
            Wrong::help(format!(
                "add a port, such as \"{}\"",
                SocketAddr::from((ip, 443))
            ))
        } else {
            Wrong::help("an address is an IP and a port, such as 192.0.2.1:443 or \"[::]:443\"")
        }
    })
}

/// `ip:port`.
pub(crate) fn address() -> Scalar<SocketAddr> {
    let shape = shape::Scalar::Text {
        what: "an address `ip:port`",
        pattern: "^[0-9A-Fa-f.:\\[\\]%]+:[0-9]+$",
        max: 64,
    };
    Scalar::new(shape, unspecified(), |text, _| read_address(text))
}

/// `ip:port` that only this machine can reach.
pub(crate) fn loopback() -> Scalar<SocketAddr> {
    let what = "a loopback address `ip:port`";
    let shape = shape::Scalar::Text {
        what,
        pattern: "^(127\\.[0-9.]+|\\[::1\\]):[0-9]+$",
        max: 64,
    };
    Scalar::new(shape, unspecified(), |text, _| {
        let address = read_address(text)?;
        if address.ip().is_loopback() {
            return Ok(address);
        }
        Err(Wrong::help(format!(
            "metrics are for this machine only; write 127.0.0.1:{}",
            address.port()
        )))
    })
}

/// An address or a network of addresses.
pub(crate) fn network() -> Scalar<Network> {
    let shape = shape::Scalar::Text {
        what: "an address or a network such as 10.0.0.0/8",
        pattern: "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$",
        max: 49,
    };
    Scalar::new(shape, unspecified().ip().into(), |text, _| {
        text.text.parse().map_err(|wrong| match wrong {
            NetworkError::HostBits(meant) => Wrong::help(format!(
                "{} has bits behind its length; write {meant}, or the address alone",
                text.text
            )),
            NetworkError::Form => Wrong::plain(),
        })
    })
}

/// An OpenTelemetry collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// `host:port`
    pub authority: String,
    /// Path before `/v1/traces`; empty for none.
    pub path: String,
}

/// `http://host:port`, perhaps with a path.
pub(crate) fn collector() -> Scalar<Collector> {
    let shape = shape::Scalar::Text {
        what: "a collector `http://host:port`",
        pattern: "^http://[^/?#@ ]+(/[A-Za-z0-9._~/-]*)?$",
        max: SERVER_MAX + 264,
    };
    let none = Collector {
        authority: String::new(),
        path: String::new(),
    };
    Scalar::new(shape, none, |text, _| {
        let Some(rest) = text.text.strip_prefix("http://") else {
            return Err(if text.text.starts_with("https://") {
                Wrong::help("spans go without TLS; let a collector on this machine pass them on")
            } else {
                Wrong::help("such as http://127.0.0.1:4318")
            });
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~/-".contains(&byte);
        if path.ends_with("/v1/traces") {
            return Err(Wrong::help("leave /v1/traces out; it is added"));
        }
        let authority = host_port(host, Some(4318)).filter(|_| path.bytes().all(plain));
        authority
            .map(|authority| Collector {
                authority,
                path: path.trim_end_matches('/').to_owned(),
            })
            .ok_or_else(Wrong::plain)
    })
}

/// Whether text is a host name as DNS has it, without a final dot; `_` is let through, because origins use it.
fn is_dns_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= DNS_NAME_MAX
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// `name`, IPv4 or `[IPv6]`, lower case.
fn bare_host(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('[') {
        let ip = inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
        return Some(format!("[{ip}]"));
    }
    // What has only digits and dots and is no address (`10.0.0.300`) is a slip, not a name.
    if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return text.parse::<Ipv4Addr>().ok().map(|ip| ip.to_string());
    }
    is_dns_name(text).then(|| text.to_ascii_lowercase())
}

/// `host:port`, lower case.
fn host_port(text: &str, default_port: Option<u16>) -> Option<String> {
    let after_brackets = text.rfind(']').unwrap_or(0);
    let colon = text
        .get(after_brackets..)?
        .find(':')
        .map(|at| at + after_brackets);
    let (host, port) = match colon {
        Some(colon) => {
            let (host, port) = text.split_at(colon);
            let port = port.get(1..)?;
            if !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            (host, port.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        None => (text, default_port?),
    };
    Some(format!("{}:{port}", bare_host(host)?))
}

/// An origin server, `host:port`.
pub(crate) fn server() -> Scalar<String> {
    let shape = shape::Scalar::Text {
        what: "a server `host:port`",
        pattern: "^[^/@?# ]+:[0-9]+$",
        max: SERVER_MAX,
    };
    Scalar::new(shape, String::new(), |text, _| {
        let text = text.text;
        if let Some(server) = host_port(text, None) {
            return Ok(server);
        }
        Err(if let Some(rest) = text.strip_prefix("https://") {
            let server = host_port(rest.trim_end_matches('/'), Some(443))
                .unwrap_or_else(|| "host:443".to_owned());
            Wrong::help(format!("write {server}, and `tls: {{}}` at the pool"))
        } else if let Some(rest) = text.strip_prefix("http://") {
            let server = host_port(rest.trim_end_matches('/'), Some(80))
                .unwrap_or_else(|| "host:80".to_owned());
            Wrong::help(format!("write {server}"))
        } else if let Some(server) = host_port(text, Some(80)) {
            Wrong::help(format!("add a port, such as {server}"))
        } else {
            Wrong::help("such as 10.0.0.5:8080, app.internal:8080 or \"[fd00::5]:8080\"")
        })
    })
}

/// A host of a site: a name, `*.name`, an IP, or `*`.
pub(crate) fn host() -> Scalar<String> {
    let shape = shape::Scalar::Text {
        what: "a host name, `*.name` or `*`",
        pattern: "^(\\*|(\\*\\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\\[[0-9A-Fa-f:.]+\\])$",
        max: DNS_NAME_MAX + 2,
    };
    Scalar::new(shape, String::new(), |text, _| {
        let text = text.text;
        if text == "*" {
            return Ok(text.to_owned());
        }
        if let Some(name) = text.strip_prefix("*.")
            && is_dns_name(name)
        {
            return Ok(text.to_ascii_lowercase());
        }
        if let Some(host) = bare_host(text) {
            return Ok(host);
        }
        Err(if text.contains("://") {
            Wrong::help("write the name alone, without scheme and path")
        } else if text.parse::<Ipv6Addr>().is_ok() {
            Wrong::help(format!("write \"[{text}]\""))
        } else if host_port(text, None).is_some() {
            Wrong::help("write the name without its port; a site answers on every listener")
        } else if text.strip_suffix('.').is_some_and(is_dns_name) {
            Wrong::help("write it without the final dot")
        } else if !text.is_ascii() {
            Wrong::help("write the name as DNS has it (`xn--…`)")
        } else if text.contains('*') {
            Wrong::help("`*` stands alone, or for the first label as in `*.example.com`")
        } else {
            Wrong::plain()
        })
    })
}

/// The name in an origin's certificate.
pub(crate) fn tls_name() -> Scalar<String> {
    let shape = shape::Scalar::Text {
        what: "a host name",
        pattern: "^[A-Za-z0-9_.-]+$",
        max: DNS_NAME_MAX,
    };
    Scalar::new(shape, String::new(), |text, _| {
        if is_dns_name(text.text) {
            Ok(text.text.to_ascii_lowercase())
        } else {
            Err(Wrong::plain())
        }
    })
}

/// A value of `Host`: a host, perhaps with a port.
pub(crate) fn host_header() -> Scalar<String> {
    let shape = shape::Scalar::Text {
        what: "a host name",
        pattern: "^[A-Za-z0-9_.:\\[\\]-]+$",
        max: SERVER_MAX,
    };
    Scalar::new(shape, String::new(), |text, _| {
        let text = text.text;
        bare_host(text)
            .or_else(|| host_port(text, None))
            .ok_or_else(Wrong::plain)
    })
}

/// Where a site's requests go, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A pool by name.
    Pool(String),
    /// One server by URL; it becomes a pool of that name.
    Url {
        /// `http://host:port` or `https://host:port`.
        url: String,
        /// `host:port`.
        server: String,
        /// By TLS.
        tls: bool,
    },
}

/// A URL of an origin, or the name of a pool.
pub(crate) fn origin() -> Scalar<Origin> {
    let shape = shape::Scalar::Text {
        what: "`http://host:port`, `https://host` or the name of a pool",
        pattern: "^(https?://[^/?#@ ]+/?|[A-Za-z0-9][A-Za-z0-9_-]*)$",
        max: SERVER_MAX + 9,
    };
    Scalar::new(shape, Origin::Pool(String::new()), |text, _| {
        read_origin(text.text)
    })
}

pub(crate) fn read_origin(text: &str) -> Result<Origin, Wrong> {
    let (scheme, rest, tls, port) = if let Some(rest) = text.strip_prefix("http://") {
        ("http", rest, false, 80)
    } else if let Some(rest) = text.strip_prefix("https://") {
        ("https", rest, true, 443)
    } else if is_name(text) {
        return Ok(Origin::Pool(text.to_owned()));
    } else {
        return Err(if host_port(text, None).is_some() {
            Wrong::help(format!("for a server write http://{text}"))
        } else if bare_host(text).is_some() {
            Wrong::help(format!("for a server write http://{text}:80"))
        } else {
            Wrong::plain()
        });
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if let Some(server) = host_port(host, Some(port)) {
        return Ok(Origin::Url {
            url: format!("{scheme}://{server}"),
            server,
            tls,
        });
    }
    Err(if host.contains('@') {
        // A password may stand there: it is not repeated.
        let help = "leave the user out; a request's own Authorization reaches the origin";
        Wrong {
            found: Some("a URL with a user".to_owned()),
            help: Some(help.to_owned()),
        }
    } else if host.contains(['/', '?', '#']) {
        Wrong::help("an origin has no path; requests keep theirs")
    } else {
        Wrong::plain()
    })
}
