//! One connection of a client.

use crate::{AddressText, Behalf, Ja4, Place, canonical};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

/// What is known of a connection before its first request. Shared by all its requests.
#[derive(Debug)]
pub struct Connection {
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// The client: who a trusted load balancer says is at its other end (PROXY protocol), else the peer.
    pub client: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// TLS; `None` on a plain connection.
    pub tls: Option<TlsFacts>,
    /// Counts connections since the start of the process.
    pub id: u64,
    /// Its place among the connections of a site that has a bound on them: of the site that the handshake named, else of
    /// its first request.
    pub site: OnceLock<Place>,
    client_text: AddressText,
    unnamed: bool,
}

impl Connection {
    /// A connection whose addresses are canonical.
    #[must_use]
    pub fn new(id: u64, peer: SocketAddr, local: SocketAddr, tls: Option<TlsFacts>) -> Self {
        let peer = canonical(peer);
        Self {
            peer,
            client: peer,
            local: canonical(local),
            tls,
            id,
            site: OnceLock::new(),
            client_text: AddressText::new(peer.ip()),
            unnamed: false,
        }
    }

    /// Made on behalf of somebody, says the peer, who is trusted.
    #[must_use]
    pub fn on_behalf_of(mut self, behalf: Behalf) -> Self {
        match behalf {
            Behalf::Itself => {}
            Behalf::Unnamed => self.unnamed = true,
            Behalf::Address(client) => {
                self.client = canonical(client);
                self.client_text = AddressText::new(self.client.ip());
            }
        }
        self
    }

    /// Whether a load balancer made it for an outside client of whom it tells no address. The client then shares the
    /// address of the load balancer, and not what is believed of that one.
    #[must_use]
    pub const fn is_unnamed(&self) -> bool {
        self.unnamed
    }

    /// The client's address.
    #[must_use]
    pub const fn client(&self) -> IpAddr {
        self.client.ip()
    }

    /// Whether the client's address is what somebody told, and not the other end of the socket.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.client != self.peer
    }

    /// The client's address as text; written once for all requests.
    #[must_use]
    pub fn client_text(&self) -> &str {
        self.client_text.as_str()
    }

    /// `https` or `http`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The server name the client asked for in the handshake.
    #[must_use]
    pub fn sni(&self) -> Option<&str> {
        self.tls.as_ref()?.sni.as_deref()
    }

    /// Fingerprint of the client's TLS.
    #[must_use]
    pub fn ja4(&self) -> Option<&str> {
        self.tls.as_ref()?.ja4.as_ref().map(Ja4::as_str)
    }

    /// What the client was asked for in the handshake, if it was.
    #[must_use]
    pub fn asked(&self) -> Option<&Asked> {
        self.tls.as_ref()?.asked.as_deref()
    }

    /// Version of TLS, as in `TLSv1.3`.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        self.tls.as_ref().map(|tls| tls.version)
    }
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// As in `TLSv1.3`.
    pub version: &'static str,
    /// IANA's or OpenSSL's name of the cipher suite, as in `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// Server name the client asked for, lower case; absent for clients that name an address or nothing.
    pub sni: Option<Box<str>>,
    /// Application protocol.
    pub alpn: Option<Alpn>,
    /// Key exchange group, as in `X25519MLKEM768`; a resumed TLS 1.2 session has none.
    pub group: Option<&'static str>,
    /// Fingerprint of what the client offered.
    pub ja4: Option<Ja4>,
    /// The client was asked for a certificate.
    pub asked: Option<Box<Asked>>,
}

/// A client that was asked for a certificate, by the rules of the site whose name it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Tells those rules from all others; a site serves requests of connections with its own only.
    pub rules: [u8; 32],
    /// What the client showed; checked by those rules.
    pub certificate: Option<ClientCertificate>,
}

/// A certificate by which a client is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject (RFC 4514), as in `CN=anna,O=Example`; ASCII.
    pub subject: Box<str>,
    /// SHA-256 of it, in hexadecimal.
    pub fingerprint: Box<str>,
    /// All of it as `Client-Cert` has it: base64 between colons (RFC 9440 §2.1).
    pub field: Box<str>,
}

/// Application protocols of a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /** `h2` */
    H2,
    /** `http/1.1` */
    Http1,
}

impl Alpn {
    /// Reads the name of the TLS registry.
    #[must_use]
    pub const fn from_wire(name: &[u8]) -> Option<Self> {
        match name {
            b"h2" => Some(Self::H2),
            b"http/1.1" => Some(Self::Http1),
            _ => None,
        }
    }

    /// The name of the TLS registry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http1 => "http/1.1",
        }
    }
}

impl fmt::Display for Alpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_peer_is_an_ipv4_client() {
        let connection = Connection::new(
            1,
            "[::ffff:192.0.2.7]:5000".parse().unwrap(),
            "[::ffff:127.0.0.1]:443".parse().unwrap(),
            None,
        );
        assert_eq!(connection.peer, "192.0.2.7:5000".parse().unwrap());
        assert_eq!(connection.local, "127.0.0.1:443".parse().unwrap());
        assert_eq!(connection.client_text(), "192.0.2.7");
        assert_eq!(connection.scheme(), "http");
    }

    #[test]
    fn a_connection_on_behalf_of_somebody_has_his_address_and_keeps_the_peers() {
        let (peer, local) = (
            "10.0.0.1:5".parse().unwrap(),
            "10.0.0.2:443".parse().unwrap(),
        );
        let direct = Connection::new(1, peer, local, None);
        assert!(!direct.is_told());
        let itself = direct.on_behalf_of(Behalf::Itself);
        assert!(!itself.is_told() && !itself.is_unnamed());
        let told = itself.on_behalf_of(Behalf::Address("[::ffff:192.0.2.7]:4711".parse().unwrap()));
        assert_eq!(
            (told.peer, told.client),
            (peer, "192.0.2.7:4711".parse().unwrap())
        );
        assert_eq!(told.client_text(), "192.0.2.7");
        assert!(told.is_told() && !told.is_unnamed());
        let unnamed = Connection::new(1, peer, local, None).on_behalf_of(Behalf::Unnamed);
        assert!(unnamed.is_unnamed() && !unnamed.is_told());
        assert_eq!(unnamed.client, peer);
    }

    #[test]
    fn a_link_local_scope_is_not_part_of_an_identity() {
        let peer = SocketAddr::V6(std::net::SocketAddrV6::new(
            "fe80::1".parse().unwrap(),
            5000,
            0,
            3,
        ));
        let connection = Connection::new(1, peer, peer, None);
        assert_eq!(connection.peer, "[fe80::1]:5000".parse().unwrap());
    }

    #[test]
    fn alpn_names_read_as_they_are_written() {
        for alpn in [Alpn::H2, Alpn::Http1] {
            assert_eq!(Alpn::from_wire(alpn.as_str().as_bytes()), Some(alpn));
        }
        assert_eq!(Alpn::from_wire(b"h3"), None);
    }
}
