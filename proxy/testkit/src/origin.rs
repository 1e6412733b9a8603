//! An origin inside this process that records what arrives and answers by a closure.
//!
//! Limits: a request body past 64 MiB ends the connection; a test's origin keeps every request, one that
//! stays up ([`Origin::unrecorded`]) keeps none.

use crate::reply::{Body as ReplyBody, Reply};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

const BODY_MAX: usize = 64 * 1024 * 1024;

/// Where all in-process origins run; tests themselves need no async.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
});

/// A request as the origin got it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, whole.
    pub body: Bytes,
    /// The connection it came over, counted from 0.
    pub connection: usize,
    /// Whether the body ended as announced; `false` = the connection broke.
    pub complete: bool,
}

impl Received {
    /// Path without query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A header as text; empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let value = self
            .headers
            .get(name)
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        value.unwrap_or_default()
    }
}

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    requests: Mutex<Vec<Received>>,
    connections: Mutex<usize>,
    stop: watch::Sender<bool>,
    record: bool,
}

/// A running origin. Dropping it closes the port and all connections.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Origin {
    /// Listens on a free port of 127.0.0.1 and answers each request by `handler`.
    pub fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(crate::ports::free_address(), handler)
    }

    /// As [`Origin::start`], on this address.
    pub fn start_at(
        address: SocketAddr,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(address, true, handler)
    }

    /// As [`Origin::start_at`], for an origin that stays up: nothing is recorded.
    pub fn unrecorded(
        address: SocketAddr,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(address, false, handler)
    }

    fn listen(
        address: SocketAddr,
        record: bool,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = RUNTIME
            .block_on(TcpListener::bind(address))
            .unwrap_or_else(|e| panic!("cannot listen on {address}: {e}"));
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            requests: Mutex::default(),
            connections: Mutex::default(),
            stop: watch::channel(false).0,
            record,
        });
        RUNTIME.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, in order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().clone()
    }

    /// The newest request.
    #[must_use]
    pub fn last(&self) -> Received {
        self.shared
            .requests
            .lock()
            .last()
            .cloned()
            .expect("the origin got a request")
    }

    /// How many requests came for this path (query not counted).
    #[must_use]
    pub fn hits(&self, path: &str) -> usize {
        self.shared
            .requests
            .lock()
            .iter()
            .filter(|r| r.path() == path)
            .count()
    }

    /// How many connections were made.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.shared.connections.lock()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    loop {
        let stream = tokio::select! {
            _ = stop.wait_for(|s| *s) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = stream else { continue };
        let number = {
            let mut connections = shared.connections.lock();
            *connections += 1;
            *connections - 1
        };
        tokio::spawn(serve(stream, number, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, connection: usize, shared: Arc<Shared>) {
    // A test about segments does not want Nagle between it and the wire.
    drop(stream.set_nodelay(true));
    let mut stop = shared.stop.subscribe();
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, connection, &shared).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = stop.wait_for(|s| *s) => {}
        // A broken connection is the client's doing, and recorded with the request.
        _ = serving => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    shared: &Shared,
) -> Response<Sending> {
    let (head, mut incoming) = request.into_parts();
    let mut body = BytesMut::new();
    let mut complete = true;
    while let Some(frame) = incoming.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) if body.len() + data.len() <= BODY_MAX => body.extend_from_slice(&data),
            Ok(Err(_trailers)) => {}
            Ok(Ok(_)) | Err(_) => {
                complete = false;
                break;
            }
        }
    }
    let received = Received {
        method: head.method.to_string(),
        target: head
            .uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: head.headers,
        body: body.freeze(),
        connection,
        complete,
    };
    if shared.record {
        shared.requests.lock().push(received.clone());
    }
    let reply = (shared.handler)(&received);
    tokio::time::sleep(reply.wait).await;
    respond(reply)
}

fn respond(reply: Reply) -> Response<Sending> {
    let (sender, receiver) = mpsc::channel(1);
    let mut response = Response::builder().status(reply.status);
    if let Some(headers) = response.headers_mut() {
        headers.extend(reply.headers);
    }
    let length = match reply.body {
        ReplyBody::Whole(bytes) => {
            let length = bytes.len() as u64;
            tokio::spawn(send(
                sender,
                vec![(std::time::Duration::ZERO, bytes)],
                false,
            ));
            Some(length)
        }
        ReplyBody::Parts(parts) => {
            tokio::spawn(send(sender, parts, false));
            None
        }
        ReplyBody::Broken(parts) => {
            let parts = parts
                .into_iter()
                .map(|p| (std::time::Duration::ZERO, p))
                .collect();
            tokio::spawn(send(sender, parts, true));
            None
        }
    };
    response
        .body(Sending { receiver, length })
        .expect("a response")
}

async fn send(
    to: mpsc::Sender<Result<Bytes, Broken>>,
    parts: Vec<(std::time::Duration, Bytes)>,
    broken: bool,
) {
    for (wait, bytes) in parts {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if !bytes.is_empty() && to.send(Ok(bytes)).await.is_err() {
            return;
        }
    }
    if broken {
        drop(to.send(Err(Broken)).await);
    }
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

struct Sending {
    receiver: mpsc::Receiver<Result<Bytes, Broken>>,
    length: Option<u64>,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.receiver
            .poll_recv(cx)
            .map(|part| part.map(|r| r.map(Frame::data)))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.length.map_or_else(
            hyper::body::SizeHint::default,
            hyper::body::SizeHint::with_exact,
        )
    }
}
