//! Connections: their number, their time, their heads.

use super::Ask;
use super::answer::{Access, answer};
use super::who::Peer;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections open at a time, of each server.
const CONNECTIONS_MAX: usize = 64;
/// Time for a request's head, and so between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a head.
const HEAD_MAX: usize = 16 << 10;
/// A connection's whole life.
const LIFE_MAX: Duration = Duration::from_secs(120);
/// Pause after `accept` failed, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn tcp(listener: TcpListener, ask: Ask, access: Access) {
    let next = || async { Ok((listener.accept().await?.0, Peer::default())) };
    accept(next, ask, access).await;
}

pub(super) async fn unix(listener: UnixListener, ask: Ask, access: Access) {
    let next = || async {
        let (stream, _) = listener.accept().await?;
        let peer = stream.peer_cred().map_or_else(
            |_| Peer::default(),
            |cred| Peer {
                uid: Some(cred.uid()),
                pid: cred.pid(),
            },
        );
        Ok((stream, peer))
    };
    accept(next, ask, access).await;
}

async fn accept<S, F>(mut next: impl FnMut() -> F, ask: Ask, access: Access)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Peer)>>,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Aborts the connections when the server is dropped.
    let mut open = JoinSet::new();
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        while open.try_join_next().is_some() {}
        match next().await {
            Ok((stream, peer)) => {
                let ask = ask.clone();
                open.spawn(async move {
                    connection(stream, ask, access, peer).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<S>(stream: S, ask: Ask, access: Access, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let ask = ask.clone();
        async move { Ok::<_, Infallible>(answer(request, &ask, access, peer).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(LIFE_MAX, served).await {
        tracing::debug!(%error, "admin connection");
    }
}
