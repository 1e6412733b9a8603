//! The names in a certificate, and how a host is matched with them (RFC 9525 §6).

use boring::nid::Nid;
use boring::x509::X509Ref;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One name a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertName {
    /** A host, lower case, without the final dot. */
    Host(Box<str>),
    /** `*.` and this: every host that has one label more. */
    Wildcard(Box<str>),
    /** An address. */
    Address(IpAddr),
}

impl CertName {
    /// Reads a DNS name as certificates and sites write it; `None` if it can match nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        if let Some(parent) = name.strip_prefix("*.") {
            let usable = !parent.is_empty() && !parent.contains('*');
            return usable.then(|| Self::Wildcard(parent.into()));
        }
        // A wildcard in any other place is not one (RFC 9525 §6.3).
        (!name.is_empty() && !name.contains('*')).then(|| Self::Host(name.into()))
    }
}

impl fmt::Display for CertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The subject alternative names, or if there are none the common name.
pub(crate) fn names(certificate: &X509Ref) -> Vec<CertName> {
    if let Some(alternatives) = certificate.subject_alt_names() {
        let mut names = Vec::with_capacity(alternatives.len());
        for alternative in &alternatives {
            let name = match (alternative.dnsname(), alternative.ipaddress()) {
                (Some(dns), _) => CertName::parse(dns),
                (None, Some(bytes)) => address(bytes).map(CertName::Address),
                (None, None) => None,
            };
            names.extend(name.filter(|name| !names.contains(name)));
        }
        return names;
    }
    certificate
        .subject_name()
        .entries_by_nid(Nid::COMMONNAME)
        .filter_map(|entry| entry.data().as_utf8().ok())
        .filter_map(|text| CertName::parse(&text))
        .take(1)
        .collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(Ipv6Addr::from(v6)).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        assert_eq!(
            CertName::parse("Shop.Example.COM."),
            Some(CertName::Host("shop.example.com".into()))
        );
        assert_eq!(
            CertName::parse("*.Example.com"),
            Some(CertName::Wildcard("example.com".into()))
        );
        assert_eq!(
            CertName::parse("[2001:DB8::1]"),
            Some(CertName::Address("2001:db8::1".parse().unwrap()))
        );
        assert_eq!(
            CertName::parse("::ffff:192.0.2.1"),
            Some(CertName::Address("192.0.2.1".parse().unwrap()))
        );
    }

    #[test]
    fn only_a_whole_first_label_is_a_wildcard() {
        for text in ["*", "*.", "w*.example.com", "a.*.com", "*.*.com", "", "."] {
            assert_eq!(CertName::parse(text), None, "{text}");
        }
    }
}
