//! Stage 12: modules that look at responses, in the reverse order of the request.
//!
//! The head can still become a page. A body is held up to the route's `response_max`, judged on a plugin thread while this
//! worker blocks, and then passes; a refusal then can only cut it, and nothing of it is stored. What goes on without an
//! end (a switched protocol, server-sent events, gRPC) is judged by its head only.

use super::{Inspection, Open, Settled, Shared, broke_contract, settle};
use crate::answer::Answer;
use crate::ctx::Ctx;
use crate::fault::Fault;
use aegis_plugins::{Decision, FaultKind, ResponseHead};
use aegis_settings::model::Inspect;
use aegis_telemetry::events::{LimitHit, PluginFault};
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora_http::ResponseHeader;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Longest wait for a place among the workers that may block.
const GATE_WAIT: Duration = Duration::from_millis(100);

/// The part of a response body that is held.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    chunks: Vec<Bytes>,
    bytes: u64,
    /// The client was told a length.
    sized: bool,
}

/// Shows the head of the final response.
pub(crate) async fn head(
    ctx: &mut Ctx,
    response: &mut ResponseHeader,
    bodiless: bool,
) -> Result<(), Answer> {
    let Some(mut inspection) = ctx.inspection.take() else {
        return Ok(());
    };
    let result = inspection.response_head(ctx, response, bodiless).await;
    ctx.inspection = Some(inspection);
    result
}

/// Takes a piece of the body; what is left in `chunk` goes on.
pub(crate) fn body(
    ctx: &mut Ctx,
    shared: &Shared,
    chunk: &mut Option<Bytes>,
    end: bool,
) -> Result<(), Fault> {
    let Some(mut inspection) = ctx.inspection.take() else {
        return Ok(());
    };
    let result = inspection.response_body(ctx, shared, chunk, end);
    ctx.inspection = Some(inspection);
    result
}

impl Inspection {
    async fn response_head(
        &mut self,
        ctx: &mut Ctx,
        response: &mut ResponseHeader,
        bodiless: bool,
    ) -> Result<(), Answer> {
        // The request's body is written, or of no use any more.
        self.permit.release();
        let endless = is_endless(response);
        for mut open in std::mem::take(&mut self.open).into_iter().rev() {
            if open.inspector.response == Inspect::Off {
                continue;
            }
            let mut verdict = open
                .context
                .response_headers(shown(response, bodiless))
                .await;
            if let Settled::PassedBy = settle(ctx, &open.inspector, &self.head, &mut verdict)? {
                continue;
            }
            if let Some(fields) = verdict.edits.take() {
                apply(response, fields).map_err(|error| {
                    tracing::debug!(request = ctx.request_id(), plugin = open.inspector.plugin.name(), %error, "edit refused");
                    Fault::PluginFailed
                })?;
            }
            if open.inspector.response == Inspect::Body && !bodiless && !endless {
                self.open.push(open);
            }
        }
        self.response.sized = response.headers.contains_key(header::CONTENT_LENGTH);
        Ok(())
    }

    fn response_body(
        &mut self,
        ctx: &mut Ctx,
        shared: &Shared,
        chunk: &mut Option<Bytes>,
        end: bool,
    ) -> Result<(), Fault> {
        let bounds = self.open.iter().map(|open| &open.inspector);
        let Some((max, what)) = bounds
            .map(|inspector| {
                let waf = inspector.is_waf;
                let what = if waf {
                    "waf.response_max"
                } else {
                    "plugins.body_max"
                };
                (inspector.response_max, what)
            })
            .min()
        else {
            return Ok(());
        };
        let mut room = true;
        if let Some(piece) = chunk.take() {
            self.response.bytes += piece.len() as u64;
            room = self.permit.grow(piece.len());
            self.response.chunks.push(piece);
        }
        let full = self.response.bytes >= max || !room;
        if !end && !full {
            return Ok(());
        }
        if !end && room {
            LimitHit { what }.emit();
        }
        let chunks = std::mem::take(&mut self.response.chunks);
        *chunk = blocking(|| self.judge_response(ctx, shared, chunks, end))?;
        self.permit.release();
        Ok(())
    }

    fn judge_response(
        &mut self,
        ctx: &mut Ctx,
        shared: &Shared,
        mut chunks: Vec<Bytes>,
        end: bool,
    ) -> Result<Option<Bytes>, Fault> {
        let passage = shared.gate.enter(GATE_WAIT);
        for Open {
            mut context,
            inspector,
        } in std::mem::take(&mut self.open)
        {
            let mut verdict = match passage {
                Some(_) => context.response_body_blocking(chunks.clone(), end),
                None => {
                    let detail = "all workers that may block do";
                    let kind = FaultKind::QueueWait;
                    PluginFault {
                        plugin: inspector.plugin.name(),
                        kind: kind.as_str(),
                        detail,
                    }
                    .emit();
                    no_verdict(kind)
                }
            };
            let length: usize = chunks.iter().map(Bytes::len).sum();
            let new_body = verdict.new_body.take();
            if self.response.sized && new_body.as_ref().is_some_and(|new| new.len() != length) {
                let detail =
                    "it changed the length of a body whose length the client has been told";
                broke_contract(&inspector, &mut verdict, detail);
            }
            match settle(ctx, &inspector, &self.head, &mut verdict) {
                Ok(Settled::GoesOn) => chunks = new_body.map_or(chunks, |new| vec![new]),
                Ok(Settled::PassedBy) => {}
                Err(Answer::Page(fault)) => return Err(fault),
                // Too late for an answer: the body is cut.
                Err(_) => return Err(Fault::Blocked(403)),
            }
        }
        Ok(join(chunks))
    }
}

fn no_verdict(kind: FaultKind) -> aegis_plugins::Verdict {
    aegis_plugins::Verdict {
        decision: Decision::Fault(kind),
        held: false,
        edits: None,
        new_body: None,
        events: Vec::new(),
        open: None,
        cpu: Duration::ZERO,
    }
}

/// Runs what blocks without holding up the other tasks of this thread.
fn blocking<T>(act: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(act),
        _ => act(),
    }
}

fn is_endless(response: &ResponseHeader) -> bool {
    let kind = response
        .headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let starts = |prefix: &[u8]| {
        kind.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    response.status == StatusCode::SWITCHING_PROTOCOLS
        || starts(b"text/event-stream")
        || starts(b"application/grpc")
}

fn shown(response: &ResponseHeader, end: bool) -> ResponseHead {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        (
            Bytes::copy_from_slice(name.as_str().as_bytes()),
            Bytes::copy_from_slice(value.as_bytes()),
        )
    };
    ResponseHead {
        status: response.status.as_u16(),
        headers: response.headers.iter().map(field).collect(),
        end,
    }
}

/// Takes over a module's list. The framing stays ours: a length may only be taken out.
fn apply(
    response: &mut ResponseHeader,
    fields: aegis_plugins::Fields,
) -> pingora_error::Result<()> {
    let mut new = ResponseHeader::build(response.status, Some(fields.len()))?;
    new.set_version(response.version);
    for (name, value) in fields {
        if &name[..] == b":status" {
            let status = std::str::from_utf8(&value)
                .ok()
                .and_then(|status| status.parse::<u16>().ok());
            new.set_status(
                status
                    .filter(|status| (200..=599).contains(status))
                    .unwrap_or(response.status.as_u16()),
            )?;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if let Some(length) = response.headers.get(header::CONTENT_LENGTH) {
                new.insert_header(header::CONTENT_LENGTH, length.clone())?;
            }
        } else if let Some((name, value)) = crate::head::field(&name, &value) {
            new.append_header(name, value)?;
        }
    }
    if let Some(coding) = response.headers.get(header::TRANSFER_ENCODING) {
        new.insert_header(header::TRANSFER_ENCODING, coding.clone())?;
    }
    *response = new;
    Ok(())
}

fn join(chunks: Vec<Bytes>) -> Option<Bytes> {
    let mut chunks = chunks.into_iter();
    let first = chunks.next()?;
    let mut all = BytesMut::from(first);
    for chunk in chunks {
        all.extend_from_slice(&chunk);
    }
    Some(all.freeze())
}
