//! A request whose body was read before an origin is asked.
//!
//! Pingora replays at most 64 KiB of a body. What is longer and was read whole takes another way: the client's session is
//! lent to one of ours ([`Lent`], Pingora's `Session::Custom`), which gives Pingora the body out of a [`Replay`], anew for
//! each try, and hands everything else on. It is given back before the request ends, so that a connection of HTTP/1 goes on
//! as it would have, and before a page of ours is sent.
//!
//! What Pingora does otherwise for a session of this kind, and what is done about it here:
//! - it does not compare target and `Host` of the head for the origin: [`check_authority`] does;
//! - `set_keepalive` does nothing: HTTP/1.0, where the answer's end may be the connection's, is told beforehand;
//! - `as_http1` and `as_http2` find nothing: nobody asks for them after stage 9.

use crate::ctx::Ctx;
use crate::inspect::spool::{Body, Replay};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Version};
use parking_lot::Mutex;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::authority::validate_request_authority;
use pingora_core::protocols::http::custom::{CustomMessageWrite, server};
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Duration;

/// Where the client's session will be when ours is dropped.
#[derive(Clone, Default)]
pub(crate) struct Owner(Arc<Mutex<Option<Box<ServerSession>>>>);

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Owner")
    }
}

/// The client's session, with another body.
struct Lent {
    client: Box<ServerSession>,
    replay: Replay,
    owner: Owner,
}

/// Stands where a session was taken away, and is never asked for anything.
fn nobody() -> Box<ServerSession> {
    Box::new(ServerSession::new_custom(Box::new(())))
}

/// From here on Pingora gets the request's body out of `body`.
pub(crate) fn lend(session: &mut Session, ctx: &mut Ctx, body: Box<Body>) {
    let owner = Owner::default();
    let mut client = std::mem::replace(&mut session.downstream_session, nobody());
    if client.req_header().version == Version::HTTP_10 {
        client.set_keepalive(None);
    }
    let lent = Lent {
        client,
        replay: Replay::new(body),
        owner: owner.clone(),
    };
    *session.downstream_session = ServerSession::new_custom(Box::new(lent));
    ctx.owner = Some(owner);
}

/// The client's session is its own again; no origin is asked any more.
pub(crate) fn give_back(session: &mut Session, ctx: &mut Ctx) {
    let Some(owner) = ctx.owner.take() else {
        return;
    };
    // With this ours is dropped.
    session.downstream_session = nobody();
    if let Some(client) = owner.0.lock().take() {
        session.downstream_session = client;
    }
}

/// Holds a head for the origin to what Pingora holds those of other sessions to.
pub(crate) fn check_authority(head: &RequestHeader, ctx: &Ctx) -> Result<()> {
    if ctx.owner.is_none() {
        return Ok(());
    }
    validate_request_authority(head).map_err(pingora_error::Error::into_in)
}

impl Drop for Lent {
    fn drop(&mut self) {
        let client = std::mem::replace(&mut self.client, nobody());
        *self.owner.0.lock() = Some(client);
    }
}

impl Lent {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        self.replay
            .next()
            .await
            .map_err(crate::fault::Fault::into_error)
    }
}

#[async_trait]
impl server::Session for Lent {
    fn req_header(&self) -> &RequestHeader {
        self.client.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.client.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        if self.replay.is_done() {
            return self.client.read_request_body().await;
        }
        self.next().await
    }

    /// After the body this waits for what the client does next; dropped and called again at any time.
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.replay.is_done() {
            return self.client.read_body_or_idle(no_body_expected).await;
        }
        self.next().await
    }

    fn is_body_done(&mut self) -> bool {
        self.replay.is_done() && self.client.is_body_done()
    }

    fn is_body_empty(&mut self) -> bool {
        self.replay.is_empty()
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.client.drain_request_body().await
    }

    /// Pingora calls this at the start of each try.
    fn enable_retry_buffering(&mut self) {
        self.replay.rewind();
    }

    fn retry_buffer_truncated(&self) -> bool {
        false
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.client.write_response_header(head).await
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, _end: bool) -> Result<()> {
        self.client.write_response_header_ref(head).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.client.write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.client.write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        self.client.response_duplex_vec(tasks).await
    }

    async fn finish(&mut self) -> Result<()> {
        self.client.finish_body().await
    }

    async fn shutdown(&mut self, _code: u32, _why: &str) {
        self.client.shutdown().await;
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.client.response_written()
    }

    fn body_bytes_sent(&self) -> usize {
        self.client.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.client.body_bytes_read()
    }

    fn is_upgrade_req(&self) -> bool {
        self.client.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.client.was_upgraded()
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.client.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.client.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.client.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.client.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.client.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.client.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.client.request_summary()
    }

    fn digest(&self) -> Option<&Digest> {
        self.client.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.client.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.client.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.client.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.client.to_h1_raw()
    }

    // There are no messages beside HTTP.

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>>
    {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<
            dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static,
        >,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}
