//! What can go wrong with an origin: while its pool is built ([`Error`]), and while it is asked ([`Fault`]).

use pingora_error::ErrorType;
use std::path::PathBuf;

/// A pool cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CA file of `tls.ca` cannot be read.
    #[error("pool `{pool}`: tls.ca {path} cannot be read: {source}; give a readable PEM file")]
    CaUnreadable {
        /// Pool name.
        pool: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The CA file holds no certificate.
    #[error(
        "pool `{pool}`: tls.ca {path} holds no PEM certificate; give the authority that signed the origin's"
    )]
    CaEmpty {
        /// Pool name.
        pool: String,
        /// The file.
        path: PathBuf,
    },
    /// `host:port` is wrong.
    #[error("pool `{pool}`: server `{server}` is not host:port")]
    Server {
        /// Pool name.
        pool: String,
        /// As written.
        server: String,
    },
    /// A route names a pool that does not exist.
    #[error("{route}: pool `{pool}` does not exist")]
    NoSuchPool {
        /// Key of the route.
        route: String,
        /// Pool name.
        pool: String,
    },
}

/// How an origin failed a request. The pipeline's page table turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No server has an address yet.
    NoServer,
    /// Nobody listens there.
    ConnectRefused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// No route, or another reason of the network.
    ConnectFailed,
    /// The TLS handshake failed, or the certificate does not convince.
    Tls,
    /// No byte of the response in time.
    ReadTimeout,
    /// It did not take the request in time.
    WriteTimeout,
    /// It closed the connection without a whole response.
    Closed,
    /// What came is not HTTP.
    BadResponse,
}

impl Fault {
    /// Sorts an error of Pingora that came from the upstream side.
    #[must_use]
    pub fn of(kind: &ErrorType) -> Self {
        use ErrorType as E;
        match kind {
            E::ConnectRefused => Self::ConnectRefused,
            E::ConnectTimedout | E::TLSHandshakeTimedout => Self::ConnectTimeout,
            E::TLSHandshakeFailure | E::InvalidCert | E::HandshakeError | E::TLSWantX509Lookup => {
                Self::Tls
            }
            E::ConnectNoRoute
            | E::ConnectError
            | E::ConnectProxyFailure
            | E::BindError
            | E::SocketError => Self::ConnectFailed,
            E::ReadTimedout => Self::ReadTimeout,
            E::WriteTimedout => Self::WriteTimeout,
            E::ReadError | E::WriteError | E::ConnectionClosed => Self::Closed,
            _ => Self::BadResponse,
        }
    }

    /// A short name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoServer => "origin_no_server",
            Self::ConnectRefused => "origin_refused",
            Self::ConnectTimeout => "origin_connect_timeout",
            Self::ConnectFailed => "origin_unreachable",
            Self::Tls => "origin_tls",
            Self::ReadTimeout => "origin_read_timeout",
            Self::WriteTimeout => "origin_write_timeout",
            Self::Closed => "origin_closed",
            Self::BadResponse => "origin_bad_response",
        }
    }
}
