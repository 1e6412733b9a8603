//! What the stream tells of itself: its connection, and what the layers below know.

use super::Wire;
use crate::conn::Transport;
use aegis_identity::Connection;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::sync::Arc;

impl<S: Transport> UniqueID for Wire<S> {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl<S: Transport> Ssl for Wire<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl<S: Transport> GetTimingDigest for Wire<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl<S: Transport> GetProxyDigest for Wire<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.proxy))
    }
}

impl<S: Transport> GetSocketDigest for Wire<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        let conn = self.inner.conn();
        let user = self.proxy.user_data.as_ref();
        match user.and_then(|user| user.downcast_ref::<Arc<Connection>>()) {
            Some(known) => Some(conn.socket_between(known.peer, known.local)),
            None => conn.get_socket_digest(),
        }
    }
}

impl<S: Transport> Peek for Wire<S> {}
