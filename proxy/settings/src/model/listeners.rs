//! `listeners:` and `certificates:`, where clients connect.

use crate::define::{choices, default, optional, required, settings};
use crate::kind::file::{Secret, path, secret};
use crate::kind::net::address;
use crate::kind::scalar::{choice, flag};
use crate::kind::{maybe, section};
use std::net::SocketAddr;
use std::path::PathBuf;

settings! {
    /// An address that clients connect to.
    pub struct Listener {
        /// `ip:port`; `[::]` is every address, IPv6 and IPv4; port 0 lets the system choose.
        address: SocketAddr = address() => required(&["\"[::]:443\"", "\"[::]:80\""]);
        /// TLS; `{}` for the defaults below; without it plain HTTP is spoken.
        tls: Option<ListenerTls> = maybe(section()) => optional(&[]);
        /// Whether every connection begins with a header of the PROXY protocol; it is read from
        /// `node.client.trusted_proxies` only, and anybody else is not let in.
        proxy_protocol: ProxyProtocol = choice() => default("off");
        /// Share the address with another process that asks for the same (`SO_REUSEPORT`): the kernel deals connections
        /// out to both, so that one can take over from the other. Without it an address belongs to one process.
        reuse_port: bool = flag() => default("false");
    }
}

settings! {
    /// TLS of a listener.
    pub struct ListenerTls {
        /// Versions and ciphers, as in Mozilla's "Server Side TLS", version 5.
        preset: TlsPreset = choice() => default("intermediate");
        /// Offer HTTP/2.
        http2: bool = flag() => default("true");
    }
}

choices! {
    /// Header of the PROXY protocol. There is no third choice: where the header may be left out, whoever connects may
    /// write one himself.
    pub enum ProxyProtocol {
        /// There is none.
        Off = "off",
        /// Each connection begins with one, version 1 or 2.
        Required = "required",
    }
}

choices! {
    /// Versions and ciphers of TLS.
    pub enum TlsPreset {
        /// TLS 1.2 (RFC 5246), forward secret and authenticated cipher suites only, and TLS 1.3: all clients of the last ten years.
        Intermediate = "intermediate",
        /// TLS 1.3 (RFC 8446) alone.
        Modern = "modern",
    }
}

settings! {
    /// A certificate with its key.
    pub struct Certificate {
        /// PEM file with the chain, leaf first.
        cert: PathBuf = path() => required(&["tls/shop.example.com.pem"]);
        /// PEM private key.
        key: Secret = secret() => required(&["file:tls/shop.example.com.key"]);
    }
}
