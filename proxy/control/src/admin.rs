//! What a person or a scraper can ask: the admin socket, and on loopback the metrics and probes.
//!
//! The TCP side has metrics and probes and nothing else. On the socket, `GET` asks and `POST` changes; who may do what is in
//! [`who`]. Every connection has a bound on its head, its idle time and its whole life, and there is a bound on
//! connections, so that a stuck scraper costs one slot. Both sides answer only to loopback names in `Host`, so that a web
//! page cannot reach them through a rebound DNS name, or through a program that lets browsers reach sockets.

mod answer;
mod bind;
mod serve;
mod waf;
mod who;
mod write;

use crate::error::ControlError;
use crate::orders::Orders;
use crate::plane::Questions;
use crate::state::State;
use answer::Access;
use bind::Socket;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};

/// What the servers ask.
#[derive(Clone)]
pub struct Ask {
    /// The node's state.
    pub state: Arc<State>,
    /// The data plane.
    pub questions: Arc<dyn Questions>,
    /// What knows of verdicts.
    pub orders: Arc<dyn Orders>,
}

/// Both servers, bound.
#[derive(Debug)]
pub struct Servers {
    socket: Socket,
    metrics: std::net::TcpListener,
}

impl Servers {
    /// Binds the socket (0660) and the metrics address. Needs no runtime.
    ///
    /// # Errors
    /// Either cannot be bound; the text names it and the key that sets it.
    pub fn bind(socket: &Path, metrics: SocketAddr) -> Result<Self, ControlError> {
        Ok(Self {
            metrics: bind::tcp(metrics)?,
            socket: Socket::bind(socket)?,
        })
    }

    /// Where the metrics are: the port, if port 0 was asked for.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.local_addr().ok()
    }

    /// The admin socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.path().to_path_buf()
    }

    /// Serves until it is dropped.
    ///
    /// # Errors
    /// The runtime does not take the listeners.
    pub async fn run(self, ask: Ask) -> Result<(), ControlError> {
        let metrics = TcpListener::from_std(self.metrics)?;
        let socket = UnixListener::from_std(self.socket.listener()?)?;
        let on_loopback = serve::tcp(metrics, ask.clone(), Access::Loopback);
        let on_socket = serve::unix(socket, ask, Access::Socket);
        tokio::join!(on_loopback, on_socket);
        Ok(())
    }
}
