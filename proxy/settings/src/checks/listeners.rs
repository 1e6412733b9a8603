//! Addresses that cannot both be bound, and TLS without a certificate.

use crate::context::Checker;
use crate::model::Settings;
use std::net::{IpAddr, SocketAddr};

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_, '_>) {
    let key = |index: usize| format!("listeners[{index}].address");
    let good: Vec<(String, SocketAddr)> = settings
        .listeners
        .iter()
        .enumerate()
        .map(|(index, listener)| (key(index), listener.address))
        .filter(|(key, _)| !checker.is_bad(key))
        .collect();
    for (later, (key, address)) in good.iter().enumerate() {
        if let Some((other, before)) = good
            .iter()
            .take(later)
            .find(|(_, before)| overlap(*before, *address))
        {
            let what = if before == address {
                format!(" {address} is also {other}")
            } else {
                format!(" {address} overlaps {other} {before}")
            };
            checker.error(key, &what, "remove one, or give one of them another port");
        }
    }
    let metrics = settings.node.admin.metrics;
    if let Some((other, before)) = good.iter().find(|(_, before)| overlap(*before, metrics))
        && !checker.is_bad("node.admin.metrics")
    {
        let what = format!(" {metrics} overlaps {other} {before}");
        checker.error("node.admin.metrics", &what, "give one of them another port");
    }
    let tls = settings
        .listeners
        .iter()
        .position(|listener| listener.tls.is_some());
    if let Some(index) = tls
        && settings.certificates.is_empty()
        && !checker.is_bad("certificates")
    {
        let what = ": there is no certificate, so a self-signed one is made and used";
        checker.warn(
            &format!("listeners[{index}].tls"),
            what,
            "browsers will warn; add one under `certificates:`",
        );
    }
}

/// Whether two sockets cannot be bound at once. `[::]` takes IPv4 as well, as Linux does by default.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let all = |ip: IpAddr| ip.is_unspecified();
    let both = |ip: IpAddr| ip.is_ipv6() && ip.is_unspecified();
    let same_family = a.is_ipv4() == b.is_ipv4();
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip()
            || both(a.ip())
            || both(b.ip())
            || (same_family && (all(a.ip()) || all(b.ip()))))
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn addresses_overlap_when_the_system_would_refuse_the_second() {
        for (a, b, expected) in [
            ("0.0.0.0:443", "0.0.0.0:443", true),
            ("0.0.0.0:443", "[::]:443", true),
            ("[::]:443", "127.0.0.1:443", true),
            ("0.0.0.0:443", "192.0.2.1:443", true),
            ("192.0.2.1:443", "192.0.2.2:443", false),
            ("[::1]:443", "127.0.0.1:443", false),
            ("0.0.0.0:443", "[2001:db8::1]:443", false),
            ("[::]:443", "[::]:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let (a, b) = (a.parse().expect(a), b.parse().expect(b));
            assert_eq!(overlap(a, b), expected, "{a} {b}");
            assert_eq!(overlap(b, a), expected, "{b} {a}");
        }
    }
}
