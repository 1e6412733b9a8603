//! Stage 7: whom a verdict keeps out. Stage 13: what clients did wrong, told to the rules that make bans of it.
//!
//! **Invariant:** the node's desk is asked once a request, and where it has never held a verdict that is one load. Faults
//! are told where the request ends, one for each request, whatever stages found; a refresh of ours tells none.

use crate::answer::Answer;
use crate::ctx::Ctx;
use crate::facts::Facts;
use crate::fault::Fault;
use crate::inspect::event;
use crate::snapshot::NodeParts;
use aegis_identity::{Connection, RequestId};
use aegis_telemetry::events::{BanMade, BanRefused, RequestBanned};
use aegis_telemetry::ring::{Entry, Rule};
use aegis_verdicts::{Asked, Desk, FaultKind, Report, Sentence, Verdict};
use std::net::IpAddr;
use std::time::Instant;

/// Ends the request of a banned client.
pub(crate) fn ask(facts: &Facts<'_>, ctx: &Ctx) -> Result<(), Answer> {
    let Some(snapshot) = &ctx.snapshot else {
        return Ok(());
    };
    let desk = &snapshot.node.verdicts;
    // What is renewed was asked for by somebody who was let in.
    if desk.table().is_untouched() || ctx.is_subrequest {
        return Ok(());
    }
    let site = ctx.routed().map_or("", |routed| &routed.site.site.name);
    let asked = Asked::Request { site };
    let Some(ruling) = desk.ban(ctx.client().ip(), asked, ctx.started) else {
        return Ok(());
    };
    RequestBanned {
        first: ruling.count_hit(),
        entry: || entry(facts, ctx, site, &ruling.verdict()),
    }
    .emit();
    Err(Fault::Banned.into())
}

/// For the ring: what was asked, and the ban as its rule.
fn entry(facts: &Facts<'_>, ctx: &Ctx, site: &str, ban: &Verdict) -> Entry {
    Entry {
        method: facts.method.to_owned(),
        host: facts.host.unwrap_or_default().to_owned(),
        target: facts.origin_form.to_owned(),
        status: Fault::Banned.status(),
        site: site.to_owned(),
        plugin: "verdicts".to_owned(),
        mode: "block".to_owned(),
        action: "ban".to_owned(),
        rules: vec![Rule {
            message: ban.reason.to_string(),
            variable: ban.prefix.to_string(),
            value: ban.author.name().to_owned(),
            ..Rule::default()
        }],
        ..event::begun(ctx)
    }
}

/// Tells the rules what the client of a request did wrong, if anything.
pub(crate) fn observe(ctx: &Ctx) {
    let Some(fault) = ctx.offence.or_else(|| ctx.fault.and_then(kind)) else {
        return;
    };
    let Some(snapshot) = &ctx.snapshot else {
        return;
    };
    let report = Report {
        fault,
        address: ctx.client().ip(),
        forwarded: ctx.is_forwarded(),
        site: ctx.routed().map(|routed| &*routed.site.site.name),
        request: ctx.request_id(),
        id: ctx.id.as_str(),
    };
    if !ctx.is_subrequest && ctx.connection().is_some() {
        tell(&snapshot.node.verdicts, &report);
    }
}

/// Tells the rules of what was refused before there was a request.
pub(crate) fn observe_refused(
    node: &NodeParts,
    connection: Option<&Connection>,
    id: &RequestId,
    fault: Fault,
) {
    if let (Some(fault), Some(connection)) = (kind(fault), connection) {
        let report = Report {
            fault,
            address: connection.client(),
            forwarded: connection.is_told(),
            site: None,
            request: id.as_str(),
            id: id.as_str(),
        };
        tell(&node.verdicts, &report);
    }
}

/// Which faults are the client's, and of a kind that honest ones do not repeat.
fn kind(fault: Fault) -> Option<FaultKind> {
    match fault {
        Fault::BadRequest(_) => Some(FaultKind::BadRequest),
        Fault::Limited(_) => Some(FaultKind::LimitExceeded),
        Fault::Rejected(why) if why.status() == 400 => Some(FaultKind::BadRequest),
        _ => None,
    }
}

fn tell(desk: &Desk, report: &Report<'_>) {
    if !desk.has_rules() {
        return;
    }
    let Some(Sentence { ban, put }) = desk.report(report, Instant::now()) else {
        return;
    };
    let (rule, prefix) = (ban.author.name(), ban.prefix.to_string());
    match put {
        Ok(put) => {
            BanMade {
                rule,
                prefix: &prefix,
                site: report.site.filter(|_| !ban.is_of_node()),
                seconds: put.made.length().unwrap_or_default() / 1000,
                request: report.request,
                evicted: put.evicted.is_some(),
            }
            .emit();
        }
        Err(error) => BanRefused {
            rule,
            prefix: &prefix,
            why: &error,
        }
        .emit(),
    }
}

/// Whether an address may not even connect.
pub(crate) fn keeps_out(desk: &Desk, peer: IpAddr) -> bool {
    desk.ban(peer, Asked::Connection, Instant::now())
        .is_some_and(|ruling| {
            ruling.count_hit();
            true
        })
}
