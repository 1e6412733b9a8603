//! The text of an address without an allocation.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Deref;

/// Whom an address stands for where clients are counted: itself in IPv4, its /64 in IPv6, of which one customer has at
/// least one.
#[must_use]
pub fn source(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
        v4 => v4,
    }
}

/// The one form of an address: a client that came over IPv4 has an IPv4 address, whatever the socket is, and a link-local
/// one has no scope.
#[must_use]
pub const fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Longest text of an [`IpAddr`]: eight groups of four digits.
const LEN_MAX: usize = 39;

/// An IP address as people and `X-Forwarded-For` write it: no brackets, no port, no scope.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AddressText {
    bytes: [u8; LEN_MAX],
    len: u8,
}

impl AddressText {
    /// Writes `address`, in its canonical form.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        let mut text = Self {
            bytes: [0; LEN_MAX],
            len: 0,
        };
        // A canonical address always fits; were it not so, an empty text would be the answer.
        if write!(text, "{}", address.to_canonical()).is_err() {
            text.len = 0;
        }
        text
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let written = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }
}

impl Write for AddressText {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let start = usize::from(self.len);
        let end = start + part.len();
        let room = self.bytes.get_mut(start..end).ok_or(fmt::Error)?;
        room.copy_from_slice(part.as_bytes());
        self.len = u8::try_from(end).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

impl Deref for AddressText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_address_fits() {
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
        assert_eq!(longest.len(), LEN_MAX);
        assert_eq!(&*AddressText::new(longest.parse().unwrap()), longest);
    }

    #[test]
    fn an_ipv4_client_of_a_dual_stack_socket_has_an_ipv4_text() {
        assert_eq!(
            &*AddressText::new("::ffff:192.0.2.7".parse().unwrap()),
            "192.0.2.7"
        );
    }

    #[test]
    fn an_ipv6_address_is_shortened() {
        assert_eq!(
            AddressText::new("2001:db8:0:0:0:0:0:1".parse().unwrap()).to_string(),
            "2001:db8::1"
        );
    }
}
