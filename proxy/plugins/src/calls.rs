//! The seam through which `proxy_http_call` reaches the pools.

use crate::spec::Fields;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Sends requests of plugins to named pools.
pub trait HttpCalls: Send + Sync + 'static {
    /// Sends one request. The host itself ends the wait at `request.timeout` and refuses a body longer than
    /// `request.response_max`; an implementation that stops reading there saves memory.
    fn call(
        &self,
        request: HttpCallRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpCallResponse, HttpCallError>> + Send>>;
}

/// A request of a plugin.
#[derive(Debug, Clone)]
pub struct HttpCallRequest {
    /// Who asks.
    pub plugin: Arc<str>,
    /// For which site; empty from a root context.
    pub site: Arc<str>,
    /// The pool; one of the plugin's `http_call`.
    pub pool: String,
    /// `:method`
    pub method: Bytes,
    /// `:path`
    pub path: Bytes,
    /// `:authority`
    pub authority: Bytes,
    /// `:scheme`, if the module gave one.
    pub scheme: Option<Bytes>,
    /// Header fields without pseudo fields.
    pub headers: Fields,
    /// The body.
    pub body: Bytes,
    /// Trailer fields.
    pub trailers: Fields,
    /// The whole time it may take.
    pub timeout: Duration,
    /// Longest body of the response, in bytes.
    pub response_max: usize,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct HttpCallResponse {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Fields,
    /// The body.
    pub body: Bytes,
    /// Trailer fields.
    pub trailers: Fields,
}

/// Why nothing came back; the module sees a response without any header field, as in Envoy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HttpCallError(pub String);

/// No pools: every call fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHttpCalls;

impl HttpCalls for NoHttpCalls {
    fn call(
        &self,
        request: HttpCallRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpCallResponse, HttpCallError>> + Send>> {
        Box::pin(async move {
            Err(HttpCallError(format!(
                "there is no pool `{}`",
                request.pool
            )))
        })
    }
}
