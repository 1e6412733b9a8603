//! An address or a network.

use crate::VerdictError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network in canonical form: no bits behind its length, and IPv4 mapped into IPv6 is IPv4. IPv4 /8 to /32, IPv6 /32
/// to /128; a single address is its longest prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Big end first, from the first byte on for both families. Bytes, so that what holds it needs no padding.
    bits: [u8; 16],
    length: u8,
    v6: bool,
}

impl Prefix {
    /// Lengths an IPv4 prefix may have.
    pub const V4: std::ops::RangeInclusive<u8> = 8..=32;
    /// Lengths an IPv6 prefix may have.
    pub const V6: std::ops::RangeInclusive<u8> = 32..=128;

    /// The network of this length an address is in.
    ///
    /// # Errors
    /// [`VerdictError::Length`].
    pub fn around(address: IpAddr, length: u8) -> Result<Self, VerdictError> {
        let whole = Self::from(address);
        let range = if whole.v6 { Self::V6 } else { Self::V4 };
        if !range.contains(&length) {
            let (min, max) = range.into_inner();
            return Err(VerdictError::Length { length, min, max });
        }
        Ok(whole.cut(length))
    }

    /// The network of any length, also wider than a verdict may be: for what is protected. Bits past the length and
    /// lengths past the family's longest are cut.
    pub fn wide(address: IpAddr, length: u8) -> Self {
        let whole = Self::from(address);
        whole.cut(length.min(whole.length))
    }

    /// How many bits count.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether it is a network of IPv6.
    pub fn is_v6(&self) -> bool {
        self.v6
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        let bits = u128::from_be_bytes(self.bits);
        if self.v6 {
            Ipv6Addr::from_bits(bits).into()
        } else {
            Ipv4Addr::from_bits((bits >> 96) as u32).into()
        }
    }

    /// Whether this address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.covers(&Self::from(address))
    }

    /// Whether all of `other` is in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.v6 == other.v6 && self.length <= other.length && other.cut(self.length) == *self
    }

    /// The same bits, fewer of them; `length` is at most its own.
    pub(crate) fn cut(&self, length: u8) -> Self {
        let mask = u128::MAX
            .checked_shl(128 - u32::from(length.min(128)))
            .unwrap_or(0);
        Self {
            bits: (u128::from_be_bytes(self.bits) & mask).to_be_bytes(),
            length,
            v6: self.v6,
        }
    }

    pub(crate) fn bits(&self) -> u128 {
        u128::from_be_bytes(self.bits)
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self {
                bits: (u128::from(v4.to_bits()) << 96).to_be_bytes(),
                length: 32,
                v6: false,
            },
            IpAddr::V6(v6) => Self {
                bits: v6.octets(),
                length: 128,
                v6: true,
            },
        }
    }
}

impl FromStr for Prefix {
    type Err = VerdictError;

    fn from_str(text: &str) -> Result<Self, VerdictError> {
        let wrong = || VerdictError::NotAPrefix(text.chars().take(64).collect());
        let Some((address, length)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Self::from).map_err(|_| wrong());
        };
        let given: IpAddr = address.parse().map_err(|_| wrong())?;
        // `u8::from_str` takes a sign and leading zeros.
        if length.is_empty() || length.len() > 3 || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let mut length: u8 = length.parse().map_err(|_| wrong())?;
        if given.is_ipv6() && given.to_canonical().is_ipv4() {
            length = length.checked_sub(96).ok_or_else(wrong)?;
        }
        let prefix = Self::around(given, length)?;
        if prefix.address() != given.to_canonical() {
            return Err(VerdictError::HostBits {
                given: text.chars().take(64).collect(),
                meant: prefix,
            });
        }
        Ok(prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = if self.v6 { 128 } else { 32 };
        self.address().fmt(f)?;
        if self.length == single {
            Ok(())
        } else {
            write!(f, "/{}", self.length)
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
