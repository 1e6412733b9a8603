//! Whom nobody may ban by accident: what this node needs to be reached, and to reach.

use aegis_pipeline::Snapshot;
use aegis_settings::Network;
use aegis_settings::model::Settings;
use aegis_verdicts::{NeverBan, Prefix};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What of a table of routes is read: a default route stands near its beginning, and a router's table has no end.
const ROUTES_MAX: u64 = 256 << 10;

/// Loopback, `never_ban`, trusted proxies, own addresses, gateways, origins.
pub(super) fn find(settings: &Settings, snapshot: Option<&Snapshot>) -> NeverBan {
    let mut found: Vec<(Prefix, String)> = Vec::new();
    let mut add = |prefix: Prefix, what: &str| found.push((prefix, what.to_owned()));
    for network in &settings.node.verdicts.never_ban {
        add(prefix(network), "node.verdicts.never_ban");
    }
    // Who trusts everyone knows his proxies by nothing.
    if !settings.node.client.trust_everyone {
        for network in &settings.node.client.trusted_proxies {
            add(prefix(network), "trusted proxy");
        }
    }
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces
            .iter()
            .for_each(|interface| add(interface.ip().into(), "own address")),
        Err(error) => tracing::debug!(%error, "own addresses are not known"),
    }
    for listener in &settings.listeners {
        if !listener.address.ip().is_unspecified() {
            add(listener.address.ip().into(), "own address");
        }
    }
    for gateway in gateways() {
        add(gateway.into(), "gateway");
    }
    for pool in snapshot
        .into_iter()
        .flat_map(|snapshot| snapshot.pools.iter())
    {
        for server in pool.view() {
            add(server.address.ip().into(), "origin");
        }
    }
    found.sort();
    found.dedup();
    NeverBan::new(found)
}

fn prefix(network: &Network) -> Prefix {
    Prefix::wide(network.address(), network.length())
}

fn gateways() -> Vec<IpAddr> {
    let read = |path: &str| {
        let mut bytes = Vec::new();
        // Where there is no such file there is no such route.
        let _absent =
            File::open(path).and_then(|file| file.take(ROUTES_MAX).read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let v4 = read("/proc/net/route");
    let v6 = read("/proc/net/ipv6_route");
    let v4 = v4.lines().filter_map(gateway_v4).map(IpAddr::from);
    v4.chain(v6.lines().filter_map(gateway_v6).map(IpAddr::from))
        .collect()
}

/// `eth0 00000000 0100A8C0 0003 …`: destination and gateway, as the machine keeps them (proc_net_route).
fn gateway_v4(line: &str) -> Option<Ipv4Addr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (destination, gateway) = (fields.next()?, fields.next()?);
    let gateway = u32::from_str_radix(gateway, 16).ok()?;
    (destination == "00000000" && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
}

/// Destination, its length, source, its length, gateway, …
fn gateway_v6(line: &str) -> Option<Ipv6Addr> {
    let fields: Vec<_> = line.split_ascii_whitespace().take(5).collect();
    let [destination, length, _, _, gateway] = fields[..] else {
        return None;
    };
    let default = length == "00" && destination.bytes().all(|b| b == b'0');
    let gateway = u128::from_str_radix(gateway, 16).ok()?;
    (default && gateway != 0).then(|| Ipv6Addr::from_bits(gateway))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_read_as_the_kernel_writes_them() {
        let v4 = if cfg!(target_endian = "little") {
            "eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0"
        } else {
            "eth0\t00000000\tC0A80001\t0003\t0\t0\t100\t00000000\t0\t0\t0"
        };
        assert_eq!(gateway_v4(v4), Some("192.168.0.1".parse().unwrap()));
        for other in [
            "Iface\tDestination\tGateway \tFlags",
            "eth0\t0000A8C0\t00000000\t0001",
            "eth0\t00000000\t00000000\t0001",
            "eth0\t00000000\tzz",
            "",
        ] {
            assert_eq!(gateway_v4(other), None, "{other}");
        }
        let zeros = "0".repeat(32);
        let v6 =
            format!("{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 1 0 3 eth0");
        assert_eq!(gateway_v6(&v6), Some("fe80::1".parse().unwrap()));
        let on_link = format!(
            "fe80{} 40 {zeros} 00 {zeros} 00000100 1 0 1 eth0",
            "0".repeat(28)
        );
        assert_eq!(gateway_v6(&on_link), None);
        assert_eq!(gateway_v6("x"), None);
    }
}
