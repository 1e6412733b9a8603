//! Networks of addresses, and sets of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Where the IPv6 addresses lie that are given out to anybody (RFC 4291 §2.4, 2000::/3).
const GLOBAL_V6: (u128, u128) = (0x2 << 124, (0x4 << 124) - 1);

/// A network in canonical form: no bits behind its length; IPv4 mapped into IPv6 is IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

/// Why text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkError {
    /// No address, or no length that its family has.
    Form,
    /// It has bits behind its length; this is the network it lies in.
    HostBits(Network),
}

impl Network {
    /// The network of this length an address lies in; `None` for a length its family does not have.
    #[must_use]
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if length <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) if length <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
            _ => return None,
        };
        Some(Self { address, length })
    }

    /// Its first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits count.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let length = if address.is_ipv4() { 32 } else { 128 };
        Self { address, length }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let Some((address, length)) = text.split_once('/') else {
            let address: IpAddr = text.parse().map_err(|_| NetworkError::Form)?;
            return Ok(address.into());
        };
        let given: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        // `u8::from_str` takes a sign and leading zeros.
        let plain = length.bytes().all(|byte| byte.is_ascii_digit())
            && (length == "0" || !length.starts_with('0'));
        let mut length: u8 = length
            .parse()
            .ok()
            .filter(|_| plain)
            .ok_or(NetworkError::Form)?;
        let canonical = given.to_canonical();
        if canonical != given {
            length = length.checked_sub(96).ok_or(NetworkError::Form)?;
        }
        let network = Self::around(canonical, length).ok_or(NetworkError::Form)?;
        if network.address == canonical {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        self.address.fmt(f)?;
        if self.length == whole {
            Ok(())
        } else {
            write!(f, "/{}", self.length)
        }
    }
}

/// A set of addresses: networks, merged, asked in a few steps however many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// All addresses of these networks.
    #[must_use]
    pub fn new<'a>(networks: impl IntoIterator<Item = &'a Network>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network.address {
                IpAddr::V4(first) => {
                    let rest = u32::MAX.checked_shr(network.length.into()).unwrap_or(0);
                    v4.push((first.to_bits(), first.to_bits() | rest));
                }
                IpAddr::V6(first) => {
                    let rest = u128::MAX.checked_shr(network.length.into()).unwrap_or(0);
                    v6.push((first.to_bits(), first.to_bits() | rest));
                }
            }
        }
        Self {
            v4: merged(v4, |end| end.checked_add(1)),
            v6: merged(v6, |end| end.checked_add(1)),
        }
    }

    /// Whether an address is among them; IPv4 mapped into IPv6 is IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => holds(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => holds(&self.v6, v6.to_bits()),
        }
    }

    /// The family of which these are half of all addresses or more; of IPv6, of those that are given out (2000::/3).
    #[must_use]
    pub fn half_of(&self) -> Option<&'static str> {
        let v4: u64 = self
            .v4
            .iter()
            .map(|(first, last)| u64::from(last - first) + 1)
            .sum();
        if v4 >= 1 << 31 {
            return Some("IPv4");
        }
        let (low, high) = GLOBAL_V6;
        let global = self
            .v6
            .iter()
            .map(|(first, last)| ((*first).max(low), (*last).min(high)))
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| last - first + 1)
            .sum::<u128>();
        (global >= 1 << 124).then_some("IPv6")
    }
}

/// In order, without gaps or overlaps between neighbours.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>, after: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some((_, end)) if after(*end).is_none_or(|next| first <= next) => {
                *end = last.max(*end);
            }
            _ => out.push((first, last)),
        }
    }
    out
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], one: T) -> bool {
    let before = ranges.partition_point(|(first, _)| *first <= one);
    before
        .checked_sub(1)
        .and_then(|place| ranges.get(place))
        .is_some_and(|(_, last)| one <= *last)
}

#[cfg(test)]
mod tests {
    use super::{Network, NetworkError, Networks};

    fn set(texts: &[&str]) -> Networks {
        let networks: Vec<Network> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Networks::new(&networks)
    }

    #[test]
    fn a_network_reads_as_it_is_written() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::1", "::1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(
                text.parse::<Network>().map(|n| n.to_string()),
                Ok(shown.to_owned())
            );
        }
        for text in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "::/129",
            "::ffff:10.0.0.0/8",
            "10.0.0/8",
            "fe80::1%eth0",
            "/8",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Form), "{text}");
        }
        let meant = "10.0.0.0/8".parse().unwrap();
        assert_eq!(
            "10.1.0.0/8".parse::<Network>(),
            Err(NetworkError::HostBits(meant))
        );
    }

    #[test]
    fn a_set_holds_the_addresses_of_its_networks_and_no_others() {
        let set = set(&[
            "10.0.0.0/9",
            "10.128.0.0/9",
            "192.0.2.7",
            "fd00::/8",
            "0.0.0.0/32",
        ]);
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "192.0.2.7",
            "::ffff:10.1.2.3",
            "fd12::1",
            "0.0.0.0",
        ] {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "192.0.2.6",
            "192.0.2.8",
            "fe00::",
            "fcff::",
            "0.0.0.1",
        ] {
            assert!(!set.contains(outside.parse().unwrap()), "{outside}");
        }
        assert_eq!(set.v4.len(), 3, "neighbours are one");
        assert!(!Networks::default().contains("::1".parse().unwrap()));
    }

    #[test]
    fn half_of_all_addresses_is_noticed_however_it_is_cut() {
        for everyone in [
            &["0.0.0.0/0"][..],
            &["0.0.0.0/1", "128.0.0.0/1"],
            &["0.0.0.0/2", "192.0.0.0/2"],
            &["128.0.0.0/1"],
            &["::/0"],
            &["::/1", "8000::/1"],
            &["2000::/3"],
            &["2000::/5", "2800::/5"],
        ] {
            assert!(set(everyone).half_of().is_some(), "{everyone:?}");
        }
        for few in [
            &["64.0.0.0/2"][..],
            &["10.0.0.0/8", "fc00::/7"],
            &["2000::/5"],
            &["8000::/1"],
            &[],
        ] {
            assert_eq!(set(few).half_of(), None, "{few:?}");
        }
    }
}
