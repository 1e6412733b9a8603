//! Answers this proxy gives itself: fixed ones of a route, and pages of faults.

use crate::ctx::Ctx;
use crate::facts::Facts;
use crate::fault::Fault;
use crate::gate;
use crate::limits::stage as limits;
use crate::page::Page;
use aegis_settings::resolved::Action;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use pingora_error::Error;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::time::{Duration, SystemTime};

/// Methods a `405` names where no route was chosen yet.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// How long, and how much, a client that still sends may go on after its answer, so that it can read that answer: closing
/// a socket with unread bytes resets the connection, and there are clients that take the reset of an HTTP/2 stream for
/// the whole answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 << 20;

/// How a stage ends a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The page of a fault.
    Page(Fault),
    /// `Location`.
    Redirect { status: u16, location: HeaderValue },
    /// As configured, or as a module made it.
    Whole(Whole),
    /// The connection is closed (h2: the stream is reset) without an answer.
    Close,
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Self::Page(fault)
    }
}

/// A whole response.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Bytes, Bytes)>,
    pub(crate) body: Bytes,
}

/// The answer of a route that asks nobody.
#[derive(Debug)]
pub(crate) enum Fixed {
    Redirect { status: u16, to: Box<str> },
    Respond(Whole),
}

impl Fixed {
    pub(crate) fn build(action: &Action) -> Option<Self> {
        match action {
            Action::Proxy { .. } => None,
            Action::Redirect { status, to } => Some(Self::Redirect {
                status: *status,
                to: to.as_str().into(),
            }),
            Action::Respond {
                status,
                content_type,
                body,
            } => Some(Self::Respond(Whole {
                status: *status,
                headers: vec![(
                    Bytes::from_static(b"Content-Type"),
                    Bytes::copy_from_slice(content_type.as_bytes()),
                )],
                body: Bytes::copy_from_slice(body.as_bytes()),
            })),
        }
    }

    pub(crate) fn answer(&self, facts: &Facts<'_>) -> Answer {
        match self {
            Self::Respond(whole) => Answer::Whole(whole.clone()),
            Self::Redirect { status, to } => {
                let location = to
                    .replace("{host}", facts.host.unwrap_or_default())
                    .replace("{path}", facts.origin_form);
                match HeaderValue::from_str(&location) {
                    Ok(location) => Answer::Redirect {
                        status: *status,
                        location,
                    },
                    Err(_) => Fault::BadRequest("Its path cannot be redirected.").into(),
                }
            }
        }
    }
}

/// Sends `answer`; the request ends with it.
pub(crate) async fn send(
    session: &mut Session,
    ctx: &mut Ctx,
    answer: Answer,
) -> pingora_error::Result<()> {
    match answer {
        Answer::Page(fault) => send_page(session, ctx, fault).await,
        Answer::Close => {
            ctx.fault = Some(Fault::ClosedByPlugin);
            Err(Fault::ClosedByPlugin.into_error())
        }
        Answer::Redirect { status, location } => {
            let mut head = ResponseHeader::build(status, Some(4))?;
            head.insert_header(header::LOCATION, location)?;
            write(session, ctx, head, Bytes::new()).await
        }
        Answer::Whole(whole) => {
            let mut head = ResponseHeader::build(whole.status, Some(whole.headers.len() + 4))?;
            for (name, value) in whole.headers {
                if let Some((name, value)) = crate::head::field(&name, &value) {
                    head.append_header(name, value)?;
                }
            }
            write(session, ctx, head, whole.body).await
        }
    }
}

/// Sends the page of `fault`, unless an answer is under way or nobody is there to read it.
pub(crate) async fn send_page(
    session: &mut Session,
    ctx: &mut Ctx,
    fault: Fault,
) -> pingora_error::Result<()> {
    ctx.fault = Some(fault);
    if fault == Fault::Misdirected {
        // No request for that site will ever be right on it.
        session.set_keepalive(None);
    }
    if fault.status() == 0 || begun(session) {
        session.set_keepalive(None);
        return Ok(());
    }
    let accept = session
        .get_header(header::ACCEPT)
        .map(HeaderValue::as_bytes);
    let page = Page::new(
        fault,
        ctx.request_id(),
        SystemTime::now(),
        accept,
        ctx.more.as_ref().map(|more| more.as_str()),
    );
    let mut head = ResponseHeader::build(page.status, Some(10))?;
    head.insert_header(header::CONTENT_TYPE, page.content_type)?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'",
    )?;
    head.insert_header("X-Content-Type-Options", "nosniff")?;
    if let Some(seconds) = page.retry_after {
        head.insert_header("Retry-After", seconds)?;
    }
    if fault == Fault::SiteFull {
        // Its place is what is wanted.
        session.set_keepalive(None);
    }
    if fault == Fault::Method {
        let allow = ctx.routed().map(|routed| routed.plan.methods.allow());
        head.insert_header("Allow", allow.unwrap_or(ALLOW))?;
    }
    write(session, ctx, head, page.body).await
}

/// Ends a request that failed inside Pingora; gives the status of the page.
pub(crate) async fn send_fault(session: &mut Session, ctx: &mut Ctx, error: &Error) -> u16 {
    let fault = Fault::of(error);
    tracing::debug!(request = ctx.request_id(), fault = fault.as_str(), %error, "request failed");
    // Pingora closes the connection after an error; the page must say so.
    session.set_keepalive(None);
    let sent = match ctx.answer.take() {
        Some(answer) => send(session, ctx, answer).await,
        None => send_page(session, ctx, fault).await,
    };
    if let Err(error) = sent {
        tracing::debug!(request = ctx.request_id(), %error, "page not sent");
    }
    ctx.fault.unwrap_or(fault).status()
}

/// An answer is under way; nothing else can be said any more.
fn begun(session: &Session) -> bool {
    let written = session.response_written();
    written.is_some_and(|head| !head.status.is_informational() || head.status == 101)
}

async fn write(
    session: &mut Session,
    ctx: &Ctx,
    mut head: ResponseHeader,
    body: Bytes,
) -> pingora_error::Result<()> {
    if begun(session) {
        session.set_keepalive(None);
        return Ok(());
    }
    let bodiless = head.status.as_u16() == 204 || head.status.as_u16() == 304;
    if !bodiless {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    head.insert_header("X-Request-Id", ctx.request_id())?;
    gate::strict_transport(&mut head, ctx)?;
    limits::fields(&mut head, ctx)?;
    let unread = !session.is_body_done();
    let silent = bodiless || body.is_empty() || session.req_header().method == Method::HEAD;
    session
        .write_response_header(Box::new(head), silent)
        .await?;
    if silent {
        session.finish_body().await?;
    } else {
        session.write_response_body(Some(body), true).await?;
    }
    if unread && !session.is_subrequest() {
        linger(session).await;
    }
    Ok(())
}

/// Takes what the client still sends, for a while.
async fn linger(session: &mut Session) {
    let drain = async {
        let mut left = LINGER_BYTES;
        while let Ok(Some(chunk)) = session.read_request_body().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    // The answer is sent; what happens now is the client's affair.
    let _late = tokio::time::timeout(LINGER, drain).await;
}
