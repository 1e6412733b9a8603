//! The application a connection is handed to: Pingora's proxy with our time-outs and our HTTP/2 bounds.

use crate::access;
use crate::cache::Cache;
use crate::connections;
use crate::fault::Fault;
use crate::h2;
use crate::live::Live;
use crate::proxy::Proxy;
use crate::refusal::{self, Refusals};
use crate::retry;
use crate::verdicts;
use aegis_identity::{Connection, Refuse, Reject};
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Decoded header list of an HTTP/2 request.
const H2_HEADERS_MAX: u32 = 64 * 1024;
/// What an HTTP/2 client may send before we have read it: a stream, and all of a connection.
///
/// It is memory an idle connection can make us keep. Both are opened again as bytes are read, so they bound the upload of
/// one stream to one window a round trip.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
const H2_CONNECTION_WINDOW: u32 = 256 * 1024;
/// What Pingora waits for a client beyond the door's own patience.
const SPARE: Duration = Duration::from_secs(5);
/// How long a body nobody wants is drained to keep a connection.
const DRAIN: Duration = Duration::from_secs(5);

/// What of a refused head is looked at for the page and the log.
const LOGGED: usize = 4096;

/// What front runs for each connection.
#[derive(Debug)]
pub struct App(Arc<Http>);

/// Pingora's proxy, with our time-outs.
pub(crate) struct Http {
    proxy: Arc<HttpProxy<Proxy>>,
    live: Arc<Live>,
    options: HttpServerOptions,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

/// Makes the application that serves by `live`, with the store `cache`.
#[must_use]
pub fn service(live: Arc<Live>, cache: &'static Cache) -> Arc<App> {
    let conf = ServerConf {
        threads: live.shared().workers,
        max_retries: retry::TRIES_MAX,
        upstream_keepalive_pool_size: live.shared().origins.kept,
        ..ServerConf::default()
    };
    let proxy = http_proxy(
        &Arc::new(conf),
        Proxy {
            live: Arc::clone(&live),
            cache,
        },
    );
    let mut options = HttpServerOptions::default();
    // So that CONNECT comes to our stages and gets our page; they refuse it.
    options.allow_connect_method_proxying = true;
    let mut proxy = proxy;
    proxy.server_options = Some(options.clone());
    Arc::new(App(Arc::new(Http {
        proxy: Arc::new(proxy),
        live,
        options,
    })))
}

#[async_trait]
impl HttpServerApp for Http {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let (idle, read) = {
            let client = &self.live.node().client;
            (client.idle_timeout, client.read_timeout)
        };
        // The door says first when a client is too slow, in sending and in taking, and counts it.
        session.set_read_timeout(Some(read + SPARE));
        session.set_total_drain_timeout(Some(DRAIN));
        session.set_pipelining_enabled(true);
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(idle.as_secs().max(1)));
        }
        self.proxy.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_concurrent_streams(self.live.node().client.h2_streams_max);
        options.max_header_list_size(H2_HEADERS_MAX);
        options.initial_window_size(H2_STREAM_WINDOW);
        options.initial_connection_window_size(H2_CONNECTION_WINDOW);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

impl Refuse for App {
    fn trusts(&self, peer: IpAddr) -> bool {
        self.0.live.node().hops.trusts(peer)
    }

    fn refuse(&self, connection: &Connection, head: &[u8], why: Reject) -> Vec<u8> {
        let head = head.get(..LOGGED).unwrap_or(head);
        refusal::answer(&self.0.live, Some(connection), head, Fault::Rejected(why))
    }

    fn admits(&self, connection: &Connection) -> bool {
        connections::admits(self.0.live.snapshot().as_deref(), connection)
    }

    fn keeps_out(&self, peer: IpAddr) -> bool {
        verdicts::keeps_out(&self.0.live.node().verdicts, peer)
    }

    fn cut(&self, connection: &Connection, why: &'static str) {
        access::cut(&self.0.live, connection, why);
    }
}

#[async_trait]
impl ServerApp for App {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        if stream.selected_alpn_proto() == Some(ALPN::H2) {
            h2::serve(&self.0, stream, shutdown).await;
            return None;
        }
        let stream = Box::new(Refusals::new(stream, Arc::clone(&self.0.live)));
        self.0.process_new(stream, shutdown).await
    }

    async fn cleanup(&self) {
        self.0.http_cleanup().await;
    }
}
