//! `proxy_http_call`: requests of plugins to the pools of the live configuration.

use crate::live::Live;
use aegis_origin::Pick;
use aegis_plugins::{Fields, HttpCallError, HttpCallRequest, HttpCallResponse, HttpCalls};
use bytes::{Bytes, BytesMut};
use http::{HeaderName, header};
use pingora_core::connectors::http::v1::Connector;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::Peer;
use pingora_error::{Error, ErrorType};
use pingora_http::RequestHeader;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};

/// Idle connections kept for calls.
const IDLE_MAX: usize = 64;
/// Servers tried for one call when they cannot be reached.
const TRIES: usize = 2;

/// Sends calls to named pools, over connections of its own.
pub struct Calls {
    live: Weak<Live>,
    connector: Arc<Connector>,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Calls")
    }
}

impl Calls {
    /// Calls go to the pools of whatever `live` serves by at the time; before the first snapshot they fail.
    #[must_use]
    pub fn new(live: &Arc<Live>) -> Arc<Self> {
        let options = pingora_core::connectors::ConnectorOptions::new(IDLE_MAX);
        Arc::new(Self {
            live: Arc::downgrade(live),
            connector: Arc::new(Connector::new(Some(options))),
        })
    }
}

impl HttpCalls for Calls {
    fn call(
        &self,
        request: HttpCallRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpCallResponse, HttpCallError>> + Send>> {
        let pool = self
            .live
            .upgrade()
            .and_then(|live| live.snapshot()?.pools.get(&request.pool));
        let connector = Arc::clone(&self.connector);
        Box::pin(async move {
            let pool =
                pool.ok_or_else(|| HttpCallError(format!("there is no pool `{}`", request.pool)))?;
            let timeout = request.timeout;
            match tokio::time::timeout(timeout, send(&connector, &pool, request)).await {
                Ok(result) => result.map_err(|error| HttpCallError(error.to_string())),
                Err(_) => Err(HttpCallError(format!("no answer within {timeout:?}"))),
            }
        })
    }
}

type Exchanged<T> = Result<T, Box<Error>>;

async fn send(
    connector: &Connector,
    pool: &aegis_origin::Pool,
    request: HttpCallRequest,
) -> Exchanged<HttpCallResponse> {
    if !request.trailers.is_empty() {
        return Error::e_explain(ErrorType::InvalidHTTPHeader, "trailers cannot be sent");
    }
    let head = head(&request)?;
    let mut tried: Vec<SocketAddr> = Vec::new();
    loop {
        let Pick { endpoint, peer } = pool
            .pick(&tried)
            .map_err(|_| Error::explain(ErrorType::ConnectError, "no server has an address"))?;
        let mut session = match connector.get_http_session(&*peer).await {
            Ok((session, _reused)) => session,
            Err(error) => {
                endpoint.connect_failed();
                tried.push(endpoint.address);
                if tried.len() < TRIES {
                    continue;
                }
                return Err(error);
            }
        };
        let response = exchange(&mut session, head.clone(), &request).await?;
        connector
            .release_http_session(session, &*peer, peer.idle_timeout())
            .await;
        return Ok(response);
    }
}

/// The head of a call: the module's fields without those of a connection, framed by us.
fn head(request: &HttpCallRequest) -> Exchanged<RequestHeader> {
    let mut head = RequestHeader::build(
        &request.method[..],
        &request.path,
        Some(request.headers.len() + 2),
    )?;
    head.insert_header(header::HOST, &request.authority[..])?;
    for (name, value) in &request.headers {
        if let Some((parsed, value)) = crate::head::field(name, value)
            && parsed != header::HOST
        {
            head.append_header(name.clone(), value)?;
        }
    }
    if !request.body.is_empty() || matches!(&request.method[..], b"POST" | b"PUT" | b"PATCH") {
        head.insert_header(header::CONTENT_LENGTH, request.body.len())?;
    }
    Ok(head)
}

async fn exchange(
    session: &mut HttpSession,
    head: RequestHeader,
    request: &HttpCallRequest,
) -> Exchanged<HttpCallResponse> {
    session.write_request_header(Box::new(head)).await?;
    if !request.body.is_empty() {
        session.write_body(&request.body).await?;
    }
    session.finish_body().await?;
    let (status, headers) = loop {
        session.read_response().await?;
        let answered = session
            .resp_header()
            .filter(|head| !head.status.is_informational());
        if let Some(head) = answered {
            break (head.status.as_u16(), fields(&head.headers));
        }
    };
    let mut body = BytesMut::new();
    while let Some(chunk) = session.read_body_bytes().await? {
        if body.len() + chunk.len() > request.response_max {
            let what = format!("a body of more than {} bytes", request.response_max);
            return Error::e_explain(ErrorType::ReadError, what);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpCallResponse {
        status,
        headers,
        body: body.freeze(),
        trailers: Fields::new(),
    })
}

fn fields(headers: &http::HeaderMap) -> Fields {
    let copy = |(name, value): (&HeaderName, &http::HeaderValue)| {
        (
            Bytes::copy_from_slice(name.as_str().as_bytes()),
            Bytes::copy_from_slice(value.as_bytes()),
        )
    };
    headers.iter().map(copy).collect()
}
