//! The header of the PROXY protocol, versions 1 and 2: `doc/proxy-protocol.txt` of HAProxy, its sections 2.1 and 2.2.
//!
//! Strict: what is not exactly a header is refused, and whoever reads a connection that must begin with one ends it.
//! Bounds: 107 bytes of version 1, 1 KiB of version 2.

use crate::canonical;
use std::net::{IpAddr, SocketAddr};

/// Longest header of version 2: addresses, and room for the fields that load balancers add (a name, an id, TLS, a
/// checksum).
const PROXY_HEADER_MAX: usize = 1024;
/// The longest line of version 1, with CRLF.
const LINE_MAX: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// `PP2_TYPE_CRC32C`
const CRC32C: u8 = 0x03;

/// For whom a load balancer has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behalf {
    /// For itself (`LOCAL`), to see whether this node lives: the other end of the socket is the client.
    Itself,
    /// For a client of whom it has no address that could be told (`UNKNOWN`, `AF_UNSPEC`, a Unix socket). He is no more
    /// trusted than any other.
    Unnamed,
    /// For the client at this address.
    Address(SocketAddr),
}

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How many bytes it has; the client's own come after them.
    pub len: usize,
    /// Who the client is.
    pub behalf: Behalf,
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
    let behalf = text.and_then(words).ok_or(ProxyHeaderError::Malformed)?;
    Ok(Some(ProxyHeader {
        len: end + 2,
        behalf,
    }))
}

/// `PROXY TCP4 source destination port port`
fn words(line: &str) -> Option<Behalf> {
    let line = line.strip_prefix("PROXY ")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Behalf::Unnamed);
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
        .then(|| Behalf::Address(canonical(SocketAddr::new(source, from))))
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
    let behalf = match (local, family) {
        (true, _) => Behalf::Itself,
        // TCP, IPv4 and IPv6.
        (false, 0x11) => Behalf::Address(source::<4>(block).ok_or(Malformed)?),
        (false, 0x21) => Behalf::Address(source::<16>(block).ok_or(Malformed)?),
        // A datagram on a stream is nothing that can be.
        (false, 0x12 | 0x22 | 0x32) => return Err(Malformed),
        // A Unix socket of the load balancer's host, or a family or protocol that is not told.
        (false, _) => Behalf::Unnamed,
    };
    let addresses = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    // Where no addresses are told the block is not to be looked at (§2.2), and may be anything; but a checksum that is found
    // in it has to be right.
    let is_told = !local && family & 15 != 0 && family >> 4 != 0;
    match block
        .get(addresses..)
        .map(|fields| check_fields(header, fields))
    {
        Some(Ok(())) => {}
        Some(Err(Malformed)) | None if !is_told => {}
        Some(Err(error)) => return Err(error),
        None => return Err(Malformed),
    }
    Ok(Some(ProxyHeader { len, behalf }))
}

/// The source in a block that begins with two addresses of `N` bytes and two ports.
fn source<const N: usize>(block: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let (ip, rest) = block.split_first_chunk::<N>()?;
    let port = rest.get(N..)?.first_chunk()?;
    let address = SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port));
    Some(canonical(address))
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

#[cfg(test)]
#[path = "proxy_header_tests.rs"]
mod tests;
