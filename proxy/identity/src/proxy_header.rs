//! The header of the PROXY protocol, versions 1 and 2: `doc/proxy-protocol.txt` of HAProxy, its sections 2.1 and 2.2.
//!
//! Strict: what is not exactly a header is refused, and whoever reads a connection that must begin with one ends it.
//! Bounds: 107 bytes of version 1, [`PROXY_HEADER_MAX`] of version 2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 2: addresses, and room for the fields that load balancers add (a name, an id, TLS, a
/// checksum).
pub const PROXY_HEADER_MAX: usize = 1024;
/// The longest line of version 1, with CRLF.
const LINE_MAX: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// `PP2_TYPE_CRC32C`
const CRC32C: u8 = 0x03;

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How many bytes it has; the client's own come after them.
    pub len: usize,
    /// The client; `None` where the load balancer speaks for itself, or for somebody it has no address of: then the
    /// other end of the socket is the client.
    pub client: Option<SocketAddr>,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyHeaderError {
    /// It begins like neither version.
    Absent,
    /// It is longer than is read.
    TooLong,
    /// It begins like a header and is none.
    Malformed,
    /// Its checksum is not that of its bytes.
    Checksum,
}

/// Reads a header at the start of `bytes`; `None` = there is more to come.
///
/// # Errors
/// Why the connection cannot go on.
pub fn read_proxy_header(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    if begins(bytes, SIGNATURE) {
        if bytes.len() < FIXED {
            return Ok(None);
        }
        return binary(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return line(bytes);
    }
    Err(ProxyHeaderError::Absent)
}

/// As far as there are bytes.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(a, b)| a == b)
}

/// Version 1.
fn line(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let seen = bytes.get(..LINE_MAX).unwrap_or(bytes);
    let Some(end) = seen.iter().position(|&byte| matches!(byte, b'\r' | b'\n')) else {
        return if seen.len() < LINE_MAX {
            Ok(None)
        } else {
            Err(ProxyHeaderError::TooLong)
        };
    };
    match (seen.get(end), seen.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\r'), None) if seen.len() < LINE_MAX => return Ok(None),
        _ => return Err(ProxyHeaderError::Malformed),
    }
    let text = seen
        .get(..end)
        .and_then(|line| std::str::from_utf8(line).ok());
    let client = text.and_then(words).ok_or(ProxyHeaderError::Malformed)?;
    Ok(Some(ProxyHeader {
        len: end + 2,
        client,
    }))
}

/// `PROXY TCP4 source destination port port`
fn words(line: &str) -> Option<Option<SocketAddr>> {
    let line = line.strip_prefix("PROXY ")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().ok().map(IpAddr::V4),
            "TCP6" => word.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _destination) = (address()?, address()?);
    let (from, _to) = (port(words.next()?)?, port(words.next()?)?);
    words
        .next()
        .is_none()
        .then(|| Some(canonical(source, from)))
}

/// Digits without leading zeros.
fn port(word: &str) -> Option<u16> {
    let plain = word.len() <= 5 && word.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (word == "0" || !word.starts_with('0')))
        .then(|| word.parse().ok())
        .flatten()
}

/// Version 2, of which at least the fixed part is there.
fn binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    use ProxyHeaderError::Malformed;
    let (Some(&version), Some(&family)) = (bytes.get(12), bytes.get(13)) else {
        return Ok(None);
    };
    let length = bytes.get(14..FIXED).and_then(|two| two.try_into().ok());
    let len = FIXED + usize::from(length.map_or(0, u16::from_be_bytes));
    let local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    if family >> 4 > 3 || family & 15 > 2 {
        return Err(Malformed);
    }
    if len > PROXY_HEADER_MAX {
        return Err(ProxyHeaderError::TooLong);
    }
    let Some(header) = bytes.get(..len) else {
        return Ok(None);
    };
    let block = header.get(FIXED..).unwrap_or_default();
    let (client, addresses) = match (local, family) {
        // TCP, IPv4 and IPv6.
        (false, 0x11) => {
            let (ip, rest) = block.split_first_chunk::<4>().ok_or(Malformed)?;
            (Some((IpAddr::V4(Ipv4Addr::from(*ip)), rest.get(4..6))), 12)
        }
        (false, 0x21) => {
            let (ip, rest) = block.split_first_chunk::<16>().ok_or(Malformed)?;
            (
                Some((IpAddr::V6(Ipv6Addr::from(*ip)), rest.get(16..18))),
                36,
            )
        }
        // A datagram on a stream is nothing that can be.
        (false, 0x12 | 0x22 | 0x32) => return Err(Malformed),
        // A client on a Unix socket of the load balancer's host.
        (false, 0x31) => (None, 216),
        // LOCAL, and what has no address: the block is not looked at, but for fields that must be whole.
        (false, _) => (None, 0),
        (true, _) => {
            return Ok(Some(ProxyHeader { len, client: None }));
        }
    };
    let fields = block.get(addresses..).ok_or(Malformed)?;
    if family & 15 != 0 && family >> 4 != 0 {
        check_fields(header, fields)?;
    }
    let client = match client {
        Some((ip, port)) => {
            let port = port.and_then(|two| two.try_into().ok()).ok_or(Malformed)?;
            Some(canonical(ip, u16::from_be_bytes(port)))
        }
        None => None,
    };
    Ok(Some(ProxyHeader { len, client }))
}

/// Type, length, value; each whole, and the checksum right if there is one (§2.2.3). What they say is not used.
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), ProxyHeaderError> {
    use ProxyHeaderError::{Checksum, Malformed};
    let mut seen = false;
    while let Some((kind, rest)) = fields.split_first() {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        if *kind == CRC32C {
            let sent: [u8; 4] = value.try_into().map_err(|_| Malformed)?;
            if seen {
                return Err(Malformed);
            }
            seen = true;
            let after = header.len() - rest.len();
            let before = header.get(..after - 4).unwrap_or_default();
            let crc = crc32c(crc32c(crc32c(!0, before), &[0; 4]), rest);
            if !crc != u32::from_be_bytes(sent) {
                return Err(Checksum);
            }
        }
        fields = rest;
    }
    Ok(())
}

/// CRC-32C (RFC 3720 appendix B.4), bit by bit: at most 1 KiB a connection, and only if its sender adds one.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

fn canonical(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

#[cfg(test)]
#[path = "proxy_header_tests.rs"]
mod tests;
