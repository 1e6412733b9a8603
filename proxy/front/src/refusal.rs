//! Why a connection ended before a request could be read.

use aegis_identity::{Connection, Refuse};
use aegis_telemetry::events::ConnectionRefused;
use boring::ssl::Error as TlsError;

/// The reasons, as the metric's label has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `node.client.connections_max` is reached, and no connection is idle.
    Cap,
    /// `node.client.connections_per_address` is reached.
    AddressCap,
    /// The site that the handshake named has all its connections.
    SiteCap,
    /// A verdict of the node keeps the peer out.
    Banned,
    /// The kernel gave no socket: too many open files, no memory.
    Accept,
    /// No whole ClientHello within its time.
    HelloTimeout,
    /// No handshake within its time.
    HandshakeTimeout,
    /// The client went away during the handshake.
    HandshakeClosed,
    /// What came is no TLS, plain HTTP for instance.
    NotTls,
    /// No version of TLS in common.
    TlsVersion,
    /// No cipher, group or signature in common.
    TlsNothingShared,
    /// No application protocol in common.
    TlsAlpn,
    /// The client refused us, most often our certificate.
    TlsAlert,
    /// Anything else in a handshake.
    TlsError,
    /// There is no certificate to show.
    NoCertificate,
    /// A header of the PROXY protocol is due, and the peer is none whose word is believed.
    ProxyUntrusted,
    /// No header of the PROXY protocol within the time of a ClientHello.
    ProxyTimeout,
    /// The peer went away before its header was whole; health checks of load balancers do.
    ProxyClosed,
    /// What came is no header of the PROXY protocol.
    ProxyAbsent,
    /// A header of the PROXY protocol that is longer than is read.
    ProxyTooLong,
    /// A header of the PROXY protocol that is none.
    ProxyMalformed,
    /// The site asks clients for a certificate, and this one showed none.
    NoClientCertificate,
    /// The client's certificate is of nobody the site believes, over, revoked or too long.
    ClientCertificate,
    /// Not one byte of a request within the idle time.
    Silent,
}

impl Refusal {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::AddressCap => "address_cap",
            Self::SiteCap => "site_cap",
            Self::Banned => "banned",
            Self::Accept => "accept",
            Self::HelloTimeout => "hello_timeout",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeClosed => "handshake_closed",
            Self::NotTls => "not_tls",
            Self::TlsVersion => "tls_version",
            Self::TlsNothingShared => "tls_nothing_shared",
            Self::TlsAlpn => "tls_alpn",
            Self::TlsAlert => "tls_alert",
            Self::TlsError => "tls_error",
            Self::NoCertificate => "no_certificate",
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::ProxyTimeout => "proxy_timeout",
            Self::ProxyClosed => "proxy_closed",
            Self::ProxyAbsent => "proxy_absent",
            Self::ProxyTooLong => "proxy_too_long",
            Self::ProxyMalformed => "proxy_malformed",
            Self::NoClientCertificate => "no_client_certificate",
            Self::ClientCertificate => "client_certificate",
            Self::Silent => "silent",
        }
    }

    /// Counts it.
    pub(crate) fn count(self) {
        ConnectionRefused {
            reason: self.as_str(),
        }
        .emit();
    }

    /// Counts it, and has the line written. Who left by himself was not refused, and has none: the probes of load
    /// balancers would fill the log.
    pub(crate) fn tell(self, app: &dyn Refuse, connection: &Connection) {
        self.count();
        if !matches!(self, Self::HandshakeClosed | Self::ProxyClosed) {
            app.cut(connection, self.as_str());
        }
    }

    /// Reads the TLS library's mind.
    pub(crate) fn of_handshake(error: &TlsError) -> Self {
        let Some(stack) = error.ssl_error() else {
            return Self::HandshakeClosed;
        };
        let reason = stack
            .errors()
            .iter()
            .find_map(boring::error::Error::reason)
            .unwrap_or_default();
        match reason {
            "HTTP_REQUEST" | "HTTPS_PROXY_REQUEST" | "WRONG_VERSION_NUMBER" => Self::NotTls,
            "UNSUPPORTED_PROTOCOL" => Self::TlsVersion,
            "NO_SHARED_CIPHER" | "NO_SHARED_GROUP" | "NO_COMMON_SIGNATURE_ALGORITHMS" => {
                Self::TlsNothingShared
            }
            "NO_APPLICATION_PROTOCOL" => Self::TlsAlpn,
            "CONNECTION_REJECTED" => Self::NoCertificate,
            "PEER_DID_NOT_RETURN_A_CERTIFICATE" => Self::NoClientCertificate,
            "CERTIFICATE_VERIFY_FAILED" => Self::ClientCertificate,
            _ if reason.contains("ALERT") => Self::TlsAlert,
            _ => Self::TlsError,
        }
    }
}
