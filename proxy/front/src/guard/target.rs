//! Request targets (RFC 9112 §3.2) and authorities (RFC 3986 §3.2, RFC 9110 §7.2).

use super::bytes::in_host;
use aegis_identity::Reject;
use std::net::Ipv6Addr;

/// A name of DNS has at most 253 bytes.
const NAME_MAX: usize = 255;

/// What a target says of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names<'a> {
    /// Nothing: origin-form and asterisk-form.
    Nothing,
    /// This authority.
    Authority(&'a [u8]),
    /// `CONNECT`: this host and port.
    Tunnel(&'a [u8]),
}

/// Checks the form of a target that has only allowed bytes.
pub(super) fn check<'a>(method: &[u8], target: &'a [u8]) -> Result<Names<'a>, Reject> {
    if std::str::from_utf8(target).is_err() {
        return Err(Reject::TargetByte);
    }
    if method == b"CONNECT" {
        // The port cannot be left out (RFC 9112 §3.2.3).
        return match authority(target)? {
            Some(_) => Ok(Names::Tunnel(target)),
            None => Err(Reject::TargetForm),
        };
    }
    match target.first() {
        Some(b'/') => path(target).map(|()| Names::Nothing),
        Some(b'*') if target.len() == 1 && method == b"OPTIONS" => Ok(Names::Nothing),
        _ => absolute(target).map(Names::Authority),
    }
}

/// Browsers take `\` in a path for `/`, servers partly; in a query it is a character like others. The backtick, which
/// browsers encode in paths and only there, is none that Pingora's paths may have.
fn path(target: &[u8]) -> Result<(), Reject> {
    match memchr::memchr3(b'?', b'\\', b'`', target) {
        Some(at) if target.get(at) != Some(&b'?') => Err(Reject::TargetByte),
        _ => Ok(()),
    }
}

/// The authority of an absolute-form; only for the schemes that are served here.
fn absolute(target: &[u8]) -> Result<&[u8], Reject> {
    let rest = [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (begin, rest) = target.split_at_checked(scheme.len())?;
            begin.eq_ignore_ascii_case(scheme).then_some(rest)
        });
    let rest = rest.ok_or(Reject::TargetForm)?;
    let end = rest.iter().position(|&b| matches!(b, b'/' | b'?' | b'\\'));
    let (found, after) = rest.split_at(end.unwrap_or(rest.len()));
    authority(found)?;
    path(after)?;
    Ok(found)
}

/// Checks `host [":" port]` and says where the port's colon is. User information is not allowed (RFC 9110 §4.2.4).
pub(super) fn authority(bytes: &[u8]) -> Result<Option<usize>, Reject> {
    let (host, rest) = match bytes.first() {
        Some(b'[') => {
            let end = bytes
                .iter()
                .position(|&b| b == b']')
                .ok_or(Reject::HostInvalid)?;
            bytes.split_at(end + 1)
        }
        _ => {
            let end = bytes
                .iter()
                .position(|&b| !in_host(b))
                .unwrap_or(bytes.len());
            bytes.split_at(end)
        }
    };
    if host.is_empty() || host.len() > NAME_MAX || (host.first() == Some(&b'[') && !is_ipv6(host)) {
        return Err(Reject::HostInvalid);
    }
    match rest {
        [] => Ok(None),
        [b':', port @ ..] if is_port(port) => Ok(Some(host.len())),
        _ => Err(Reject::HostInvalid),
    }
}

/// An address in brackets; zones and future versions have no meaning between machines.
fn is_ipv6(host: &[u8]) -> bool {
    let inner = host
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"));
    inner
        .and_then(|inner| std::str::from_utf8(inner).ok())
        .is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// 1 to 65535. RFC 3986 would allow an empty one, which no client sends and not every server reads alike.
fn is_port(port: &[u8]) -> bool {
    let number = port.iter().try_fold(0_u32, |number, &digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    });
    (1..=5).contains(&port.len()) && number.is_some_and(|number| (1..=65_535).contains(&number))
}

/// Whether target and `Host` name the same site. A proxy must then believe the target (RFC 9112 §3.2.2), an origin may
/// believe the other: so they have to agree to the byte.
pub(super) fn agree(names: Names<'_>, host: &[u8]) -> bool {
    match names {
        Names::Nothing => true,
        Names::Authority(authority) => authority == host,
        // `Host` of a CONNECT may leave out the port (RFC 9112 §3.2.3).
        Names::Tunnel(tunnel) => {
            tunnel == host
                || tunnel
                    .strip_prefix(host)
                    .is_some_and(|rest| rest.first() == Some(&b':'))
        }
    }
}
