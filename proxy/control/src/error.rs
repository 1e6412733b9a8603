//! What can go wrong here.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A failure of the control plane itself; refused settings are a [`crate::Rejection`].
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The admin socket cannot be made.
    #[error(
        "cannot listen on {path}: {error}; choose a directory this user may write to with node.state_dir or node.admin.socket"
    )]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The metrics address cannot be bound.
    #[error(
        "cannot listen on {address} for metrics: {error}; choose another one with node.admin.metrics"
    )]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// Last known good cannot be written or read.
    #[error("last good settings, {what} {path}: {error}")]
    Store {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// Last known good is there and is not what was written.
    #[error("last good settings in {path} are damaged: {what}")]
    Damaged {
        /// The generation.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
}

impl ControlError {
    pub(crate) fn store(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Store { what, path, error }
    }
}
