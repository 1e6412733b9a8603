//! A connection as front hands it over: the facts of the client attached, and the protocol TLS would have agreed on.

use aegis_identity::{Connection, TlsFacts};
use async_trait::async_trait;
use http::Response;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_http::ResponseHeader;
use std::io::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One such connection.
#[derive(Debug)]
pub struct Wire {
    io: TcpStream,
    alpn: ALPN,
    facts: Arc<ProxyDigest>,
}

impl Wire {
    /// A TLS connection made for `sni`.
    pub fn tls(io: TcpStream, alpn: ALPN, sni: &str) -> Self {
        let peer = io.peer_addr().expect("connected");
        let local = io.local_addr().expect("connected");
        let facts = TlsFacts {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            sni: Some(sni.into()),
            alpn: None,
            group: Some("X25519MLKEM768"),
            ja4: None,
            asked: None,
        };
        let connection = Arc::new(Connection::new(1, peer, local, Some(facts)));
        let head = ResponseHeader::from(Response::new(()).into_parts().0);
        let facts = Arc::new(ProxyDigest::new(Box::new(head), Some(Box::new(connection))));
        Self { io, alpn, facts }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        // The client may be gone already.
        tokio::io::AsyncWriteExt::shutdown(&mut self.io).await.ok();
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        1
    }
}

impl Ssl for Wire {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(self.alpn.clone())
    }
}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.facts))
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for Wire {}
