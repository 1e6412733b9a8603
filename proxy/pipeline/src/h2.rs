//! Connections of HTTP/2.
//!
//! The loop is Pingora's (`accept_downstream_sessions` in `pingora_core::protocols::http::v2::server`), written anew for
//! what waits in it: here an idle connection holds its state once, on the heap, there three times over. When a connection
//! is idle for too long is the door's business.

use crate::app::Http;
use ::h2::server::Connection;
use bytes::Bytes;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{self, H2Accept, HttpSession};
use pingora_core::protocols::{Digest, Stream};
use pingora_core::server::ShutdownWatch;
use std::sync::Arc;

/// Requests of one connection that are no requests; then it ends. As in Pingora's loop.
const MALFORMED_MAX: usize = 32;

/// Serves a connection to its end. Once `shutdown` says so its client is told by GOAWAY, and it ends with its last request.
pub(crate) async fn serve(app: &Arc<Http>, stream: Stream, shutdown: &ShutdownWatch) {
    // Its future is gone once it is done.
    let Some((mut connection, digest)) = Box::pin(begin(app, stream)).await else {
        return;
    };
    let mut stop = shutdown.clone();
    let mut told = false;
    let mut malformed = 0;
    loop {
        let accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest));
        let accepted = tokio::select! {
            biased;
            _ = stop.changed(), if !told => {
                told = true;
                connection.graceful_shutdown();
                continue;
            }
            accepted = accepted => accepted,
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                let (app, shutdown) = (Arc::clone(app), shutdown.clone());
                tokio::spawn(async move {
                    let session = ServerSession::new_http2(session);
                    app.process_new_http(session, &shutdown).await;
                });
            }
            Ok(Some(H2Accept::Rejected)) => {
                malformed += 1;
                if malformed >= MALFORMED_MAX {
                    return;
                }
            }
            // The end, or an error of the connection, of which the client has been told.
            Ok(None) | Err(_) => return,
        }
    }
}

/// What all requests of a connection share, once both sides have said how they begin.
async fn begin(
    app: &Http,
    stream: Stream,
) -> Option<(Box<Connection<Stream, Bytes>>, Arc<Digest>)> {
    let proxy_digest = stream.get_proxy_digest();
    // The door says there whose connection it is; nobody asks the socket then.
    let told = proxy_digest
        .as_ref()
        .is_some_and(|proxy| proxy.user_data.is_some());
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        // Nobody asks; the access log has times of its own.
        timing_digest: Vec::new(),
        socket_digest: if told {
            None
        } else {
            stream.get_socket_digest()
        },
        proxy_digest,
    });
    let connection = server::handshake(stream, app.h2_options()).await.ok()?;
    Some((Box::new(connection), digest))
}
