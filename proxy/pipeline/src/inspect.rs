//! Stages 8, 10 and 12: plugins, of which the WAF is one.
//!
//! A request with a plugin on its route carries an [`Inspection`]. Its body is
//! - read in the request phase when its length is known and at most [`SHORT_MAX`] (Pingora can still replay it), so that
//!   the first verdict is the whole one and a blocked request never reaches an origin;
//! - with `body_mode: spool` read in the request phase too, and kept by us ([`spool`], [`crate::lent`]);
//! - otherwise held on its way to the origin until the verdict: the head is judged first, then the body as a whole. A
//!   blocked one costs the origin one aborted request, whose early answer is not forwarded.
//!
//! The verdict is taken once; what Pingora replays for a further try passes.
//!
//! Bounds: `held_max` and `body_max` of the route (413, or piece by piece by the `stream` policy), one budget of bytes for
//! all requests with a share for each site and each source (503). A body that trickles is ended by the door.
//!
//! A WAF that only watches refuses nothing: if it fails, answers, or there is no room to hold a body for it, the request
//! passes and is counted.

pub(crate) mod body;
pub(crate) mod budget;
mod edits;
pub(crate) mod event;
pub(crate) mod plan;
pub(crate) mod raw;
mod read;
pub(crate) mod response;
pub(crate) mod spool;

use crate::answer::{Answer, Whole};
use crate::ctx::Ctx;
use crate::fault::Fault;
use aegis_plugins::{Body, Decision, FaultKind, LocalResponse, OpenContext, RequestHead, Verdict};
use aegis_settings::model::{Inspect, OnError};
use aegis_telemetry::events::PluginFault;
use aegis_telemetry::metrics::WafVerdict;
use body::Held;
use budget::{Budget, Gate, Payer, Permit};
use bytes::Bytes;
use http::header;
use pingora_http::RequestHeader;
use plan::{BodyRules, Inspector, Stage};
use spool::{Disk, Kept, Spool};
use std::future::Future;
use std::sync::Arc;

/// Longest body read in the request phase: what Pingora's retry buffer replays; one byte more and it keeps nothing.
pub(crate) const SHORT_MAX: u64 = 65_536;

/// What requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bodies: Arc<Budget>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) gate: Gate,
    /// Threads that serve.
    pub(crate) workers: usize,
    /// Requests that are at an origin.
    pub(crate) origins: crate::upstream::Origins,
}

/// What is known of a request's body before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    Nothing,
    /// With a length of at most [`SHORT_MAX`].
    Short,
    /// Longer, or of unknown length.
    Long(Option<u64>),
}

/// Where the rest of a request's body comes from.
pub(crate) trait Incoming: Send {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Fault>> + Send;
}

/// One request under inspection.
#[derive(Debug)]
pub(crate) struct Inspection {
    head: Arc<RequestHead>,
    announced: Announced,
    rules: BodyRules,
    held: Held,
    /// The whole body, once it was read in the request phase, while it is in memory.
    whole: Option<Vec<Bytes>>,
    /// What is kept of a body that Pingora could not replay.
    kept: Kept,
    permit: Permit,
    /// Contexts that see more of this request, in order of their verdicts.
    open: Vec<Open>,
    /// A module changed the head: then `head` is what the origin gets.
    edited: bool,
    /// A module changed the body.
    new_body: Option<Bytes>,
    response: response::Hold,
}

/// A context that stays open.
#[derive(Debug)]
struct Open {
    context: OpenContext,
    inspector: Arc<Inspector>,
}

impl Inspection {
    pub(crate) fn new(
        head: Arc<RequestHead>,
        announced: Announced,
        rules: BodyRules,
        shared: &Shared,
        payer: Payer,
    ) -> Self {
        let kept = match announced {
            Announced::Long(_) if rules.spooled => {
                Kept::Wanted(Box::new(Spool::new(&shared.disk, &shared.bodies, &payer)))
            }
            _ => Kept::Nothing,
        };
        Self {
            kept,
            head,
            announced,
            rules,
            held: Held::Nothing,
            whole: None,
            permit: shared.bodies.permit(payer),
            open: Vec::new(),
            edited: false,
            new_body: None,
            response: response::Hold::default(),
        }
    }

    /// The body is read, or held, by us: the client that waits for a `100 Continue` gets ours.
    pub(crate) fn takes_body(&self) -> bool {
        self.whole.is_some() || self.kept.was_read() || !matches!(self.held, Held::Nothing)
    }

    /// The body that takes the place of the client's: it was read, and everybody has judged it.
    pub(crate) fn kept_body(&mut self) -> Option<Box<spool::Body>> {
        match std::mem::replace(&mut self.kept, Kept::Nothing) {
            Kept::Whole(body) => {
                self.kept = Kept::Lent;
                Some(body)
            }
            other => {
                self.kept = other;
                None
            }
        }
    }
}

/// A module has changed the request: what the origin will be asked is not what the client asked.
pub(crate) fn has_edited(ctx: &Ctx) -> bool {
    let inspection = ctx.inspection.as_ref();
    inspection.is_some_and(|inspection| inspection.edited || inspection.new_body.is_some())
}

/// Puts what modules changed into the head for the origin, and what their work needs.
pub(crate) fn to_origin(request: &mut RequestHeader, ctx: &Ctx) -> pingora_error::Result<()> {
    let Some(inspection) = &ctx.inspection else {
        return Ok(());
    };
    if inspection.edited || inspection.new_body.is_some() {
        edits::apply(request, &inspection.head, inspection.new_body.as_ref())?;
    }
    if inspection.takes_body() {
        request.remove_header(&header::EXPECT);
    }
    if ctx
        .routed()
        .is_some_and(|routed| routed.plan.inspection.reads_responses)
    {
        // A compressed response could not be read.
        request.remove_header(&header::ACCEPT_ENCODING);
    }
    Ok(())
}

/// Asks the plugins of one stage, in order.
pub(crate) async fn request(
    ctx: &mut Ctx,
    stage: Stage,
    incoming: &mut impl Incoming,
) -> Result<(), Answer> {
    let Some(mut inspection) = ctx.inspection.take() else {
        return Ok(());
    };
    let asked = ask_all(ctx, &mut inspection, stage, incoming).await;
    ctx.inspection = Some(inspection);
    asked
}

async fn ask_all(
    ctx: &mut Ctx,
    inspection: &mut Inspection,
    stage: Stage,
    incoming: &mut impl Incoming,
) -> Result<(), Answer> {
    let inspectors = match ctx.routed() {
        Some(routed) => Arc::clone(routed.plan.inspection.at(stage)),
        None => return Ok(()),
    };
    if inspectors.is_empty() {
        return Ok(());
    }
    if inspectors.iter().any(|inspector| inspector.reads_body) {
        inspection.read(ctx, incoming).await?;
    }
    for inspector in inspectors.iter() {
        let body = inspection.shown(inspector);
        let (head, properties) = (
            Arc::clone(&inspection.head),
            Arc::clone(&inspector.properties),
        );
        let mut verdict = inspector.plugin.request(head, body, properties).await;
        let open = verdict.open.take();
        match settle(ctx, inspector, &inspection.head, &mut verdict)? {
            Settled::GoesOn => inspection.accept(inspector, verdict, open)?,
            Settled::PassedBy => {}
        }
    }
    if let Kept::Whole(body) = &mut inspection.kept {
        inspection.whole = None;
        body.put_down();
    }
    Ok(())
}

impl Inspection {
    /// What there is of the body for a first verdict.
    fn shown(&self, inspector: &Inspector) -> Body {
        if !inspector.reads_body && self.announced != Announced::Nothing {
            // It still learns that there is one.
            return Body::Part(Vec::new());
        }
        match (&self.whole, self.announced) {
            (Some(chunks), _) => Body::Whole(chunks.clone()),
            (None, Announced::Nothing) => Body::None,
            (None, _) => Body::Part(Vec::new()),
        }
    }

    /// Takes over what a module changed, and keeps its context if it will see more.
    fn accept(
        &mut self,
        inspector: &Arc<Inspector>,
        verdict: Verdict,
        open: Option<OpenContext>,
    ) -> Result<(), Fault> {
        if let Some(fields) = verdict.edits {
            self.head = Arc::new(edits::edited(&self.head, fields));
            self.edited = true;
        }
        if let Some(new) = verdict.new_body {
            if let Kept::Whole(body) = &mut self.kept {
                body.replace(new.clone())?;
            }
            self.whole = Some(vec![new.clone()]);
            self.new_body = Some(new);
        }
        let waits = self.held.goes_on() && inspector.reads_body;
        let sees_more = waits || inspector.response != Inspect::Off;
        if let Some(context) = open.filter(|_| sees_more) {
            self.open.push(Open {
                context,
                inspector: Arc::clone(inspector),
            });
        }
        Ok(())
    }
}

/// What a verdict means once events and faults are dealt with.
enum Settled {
    GoesOn,
    /// The plugin failed, and its settings say to go on without it.
    PassedBy,
}

fn settle(
    ctx: &mut Ctx,
    inspector: &Inspector,
    head: &RequestHead,
    verdict: &mut Verdict,
) -> Result<Settled, Answer> {
    let events = std::mem::take(&mut verdict.events);
    event::record(ctx, inspector, head, &events, verdict.cpu);
    if inspector.is_waf {
        ctx.limits.waf_took(verdict.cpu);
    }
    match std::mem::replace(&mut verdict.decision, Decision::Continue) {
        Decision::Continue => {
            if inspector.is_waf {
                ctx.note_waf(WafVerdict::Clean);
            }
            Ok(Settled::GoesOn)
        }
        // Whatever its rules say, one that only watches ends nothing.
        Decision::Respond(_) | Decision::Close if inspector.watches => Ok(Settled::PassedBy),
        Decision::Respond(local) => {
            note_refusal(ctx, inspector, local.status);
            Err(refusal(inspector, local))
        }
        Decision::Close => {
            note_refusal(ctx, inspector, 403);
            Err(Answer::Close)
        }
        Decision::Fault(kind) => failed(ctx, inspector, kind),
    }
}

/// What a module refuses of a request is its client's doing; the WAF says by its event which of its refusals are.
fn note_refusal(ctx: &mut Ctx, inspector: &Inspector, status: u16) {
    let answered = ctx.origin.head_after.is_some();
    if !inspector.is_waf && status >= 400 && !answered {
        ctx.offence
            .get_or_insert(aegis_verdicts::FaultKind::ModuleRefusal);
    }
}

/// A plugin without a verdict: `on_error` decides. The host has counted the fault.
fn failed(ctx: &mut Ctx, inspector: &Inspector, kind: FaultKind) -> Result<Settled, Answer> {
    if inspector.is_waf {
        ctx.note_waf(WafVerdict::Fault);
    }
    tracing::debug!(
        request = ctx.request_id(),
        plugin = inspector.plugin.name(),
        kind = kind.as_str(),
        "no verdict"
    );
    match inspector.on_error {
        _ if inspector.watches => Ok(Settled::PassedBy),
        OnError::Allow => Ok(Settled::PassedBy),
        OnError::Deny => {
            let plugin = inspector.plugin.name().to_owned();
            ctx.no_verdict = Some(Box::new((plugin, kind.as_str())));
            Err(Fault::PluginFailed.into())
        }
    }
}

/// The module did what cannot be carried out: there is no verdict. What it decided otherwise stands.
fn broke_contract(inspector: &Inspector, verdict: &mut Verdict, detail: &'static str) {
    if verdict.decision == Decision::Continue {
        let kind = FaultKind::Abi;
        PluginFault {
            plugin: inspector.plugin.name(),
            kind: kind.as_str(),
            detail,
        }
        .emit();
        verdict.decision = Decision::Fault(kind);
    }
}

/// The WAF's refusals are pages of ours, which name no rule; other modules answer in their own words.
fn refusal(inspector: &Inspector, local: LocalResponse) -> Answer {
    let redirects = (300..400).contains(&local.status);
    if !inspector.is_waf || redirects {
        return Answer::Whole(Whole {
            status: local.status,
            headers: local.headers,
            body: local.body,
        });
    }
    match (local.details.as_str(), local.status) {
        ("waf_body_limit", _) => Fault::BodyTooLarge,
        ("waf_content_encoding", 400) => {
            Fault::BadRequest("Its body is not what its Content-Encoding says.")
        }
        ("waf_content_encoding", _) => Fault::BodyEncoding,
        (_, status) => Fault::Blocked(status),
    }
    .into()
}
