//! A request's body as the stages get it, out of Pingora's session.

use crate::ctx::Ctx;
use crate::fault::Fault;
use crate::inspect::budget::Payer;
use crate::inspect::{self, Announced, Incoming, Inspection, SHORT_MAX, Shared};
use crate::lent;
use bytes::Bytes;
use http::{Version, header};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Duration;

/// The body of the request in `session`.
pub(crate) struct SessionBody<'a> {
    pub(crate) session: &'a mut Session,
    /// Longest wait for the next bytes.
    pub(crate) timeout: Duration,
}

impl Incoming for SessionBody<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        // Must be on before the first byte is read, or a further try has no body to send.
        self.session.enable_retry_buffering();
        send_continue(self.session)
            .await
            .map_err(|error| Fault::of(&error.into_down()))?;
        match tokio::time::timeout(self.timeout, self.session.read_request_body()).await {
            Ok(read) => read.map_err(|error| Fault::of(&error.into_down())),
            Err(_) => Err(Fault::ClientTimeout),
        }
    }
}

/// A request of a route with plugins carries what these need from here on.
pub(crate) fn begin_inspection(session: &mut Session, ctx: &mut Ctx, shared: &Shared) {
    let plan = ctx.routed().map(|routed| &routed.plan.inspection);
    let Some(plan) = plan.filter(|plan| !plan.is_empty()) else {
        return;
    };
    let rules = plan.body;
    let payer = Payer::new(Arc::clone(&plan.site), ctx.client().ip(), rules.held_most);
    let announced = announced(session);
    let takes_body = announced != Announced::Nothing && plan.reads_bodies;
    let head = inspect::raw::head(session, ctx, takes_body);
    let inspection = Inspection::new(head, announced, rules, shared, payer);
    ctx.inspection = Some(Box::new(inspection));
}

/// Nothing stands between a request and its origin any more: what we take of its body is asked for, and what we have of it
/// takes the place of the client's.
pub(crate) async fn settled(session: &mut Session, ctx: &mut Ctx) -> Result<()> {
    let Some(inspection) = ctx.inspection.as_mut() else {
        return Ok(());
    };
    if let Some(body) = inspection.kept_body() {
        lent::lend(session, ctx, body);
    } else if inspection.takes_body() {
        send_continue(session).await?;
    }
    Ok(())
}

/// What the head says of the body.
fn announced(session: &mut Session) -> Announced {
    if session.is_body_empty() {
        return Announced::Nothing;
    }
    let length = session
        .get_header(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    match length.and_then(|length| length.trim().parse().ok()) {
        Some(length) if length <= SHORT_MAX => Announced::Short,
        length => Announced::Long(length),
    }
}

/// Tells a client that waits for it to send its body (RFC 9110 §10.1.1); once, and only if nothing was sent yet.
pub(crate) async fn send_continue(session: &mut Session) -> Result<()> {
    let waits = session.req_header().version == Version::HTTP_11
        && session
            .get_header(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if waits && session.response_written().is_none() && !session.is_body_done() {
        let head = ResponseHeader::build(100, Some(0))?;
        session
            .downstream_session
            .write_response_header(Box::new(head))
            .await?;
    }
    Ok(())
}
