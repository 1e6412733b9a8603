//! What a request tells the limits of its route, and what they tell its client.

use super::plan::RouteLimits;
use crate::answer::Answer;
use crate::ctx::Ctx;
use crate::facts::Facts;
use crate::fault::Fault;
use crate::inspect::event;
use crate::snapshot::Routed;
use aegis_identity::Connection;
use aegis_limits::{Admission, Outcome, Refusal, Usage, write_ratelimit};
use aegis_telemetry::events::LimitExceeded;
use aegis_telemetry::ring::{Entry, Rule};
use http::{HeaderMap, HeaderValue, header};
use pingora_http::ResponseHeader;
use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

/// What the limits said of a request, until it ends.
#[derive(Default)]
pub(crate) struct Asked {
    /// Dropping it ends the request for limits on what is in flight.
    admission: Option<Box<Admission>>,
    refusal: Option<Refusal>,
    /// The first limit on a dry run that would have refused it.
    would: Option<usize>,
    /// CPU time the WAF took for it.
    waf: Duration,
}

impl Asked {
    /// The WAF computed.
    pub(crate) fn waf_took(&mut self, cpu: Duration) {
        self.waf += cpu;
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Asked");
        shown.field("admitted", &self.admission.is_some());
        shown
            .field("refusal", &self.refusal)
            .field("would", &self.would);
        shown.finish_non_exhaustive()
    }
}

/// Asks the limits of the route. A refresh in the background was counted when the visitor asked.
pub(crate) fn ask(facts: &Facts<'_>, ctx: &mut Ctx) -> Result<(), Answer> {
    let Some(routed) = ctx.routed() else {
        return Ok(());
    };
    let Some(limits) = routed.plan.limits.as_ref().filter(|_| !ctx.is_subrequest) else {
        return Ok(());
    };
    let request = Request {
        address: ctx.client().ip(),
        site: &routed.site.site.name,
        path: decoded(facts.path),
        headers: facts.headers,
        ja4: ctx.connection().and_then(Connection::ja4),
    };
    let now = limits.node.at(ctx.started);
    match limits.rules.admit(&request, now) {
        Ok(admission) => {
            let would = watched(facts, ctx, routed, limits, &admission);
            ctx.limits.admission = Some(Box::new(admission));
            ctx.limits.would = would;
            Ok(())
        }
        Err(refusal) => {
            exceeded(
                facts,
                ctx,
                routed,
                limits,
                refusal.policy,
                false,
                refusal.answer.first,
            );
            ctx.limits.refusal = Some(refusal);
            let seconds = u32::try_from(refusal.answer.retry_after()).unwrap_or(u32::MAX);
            Err(Fault::Limited(seconds).into())
        }
    }
}

/// Counts what limits on a dry run would have refused; the first of them.
fn watched(
    facts: &Facts<'_>,
    ctx: &Ctx,
    routed: Routed<'_>,
    limits: &RouteLimits,
    admission: &Admission,
) -> Option<usize> {
    let mut first = None;
    for (index, (_, answer)) in admission.answers().enumerate() {
        if matches!(answer.outcome, Outcome::WouldLimit(_)) {
            first.get_or_insert(index);
            exceeded(facts, ctx, routed, limits, index, true, answer.first);
        }
    }
    first
}

fn exceeded(
    facts: &Facts<'_>,
    ctx: &Ctx,
    routed: Routed<'_>,
    limits: &RouteLimits,
    index: usize,
    dry_run: bool,
    first: bool,
) {
    let Some(policy) = limits.facts.get(index) else {
        return;
    };
    let entry = || Entry {
        method: facts.method.to_owned(),
        host: facts.host.unwrap_or_default().to_owned(),
        target: facts.origin_form.to_owned(),
        status: if dry_run { 0 } else { 429 },
        site: routed.site.site.name.clone(),
        route: routed.entry.route.key.clone(),
        plugin: "limits".to_owned(),
        mode: if dry_run { "dry_run" } else { "enforce" }.to_owned(),
        action: if dry_run { "detect" } else { "limit" }.to_owned(),
        rules: vec![Rule {
            message: policy.sentence.to_string(),
            ..Rule::default()
        }],
        ..event::begun(ctx)
    };
    LimitExceeded {
        limit: &policy.metrics,
        dry_run,
        first: first.then(entry),
    }
    .emit();
}

/// Tells limits what the request took, `after` so long.
pub(crate) fn charge(ctx: &Ctx, status: u16, bytes: u64, after: Duration) {
    let Some(admission) = &ctx.limits.admission else {
        return;
    };
    let Some(limits) = ctx.routed().and_then(|routed| routed.plan.limits.as_ref()) else {
        return;
    };
    let usage = Usage {
        bytes,
        status: (status > 0).then_some(status),
        waf_micros: u64::try_from(ctx.limits.waf.as_micros()).unwrap_or(u64::MAX),
    };
    admission.charge(&usage, limits.node.at(ctx.started + after));
}

/// `RateLimit` and `RateLimit-Policy` of an answer, whoever made it. What is stored has none of it: they are put on as
/// the answer leaves.
pub(crate) fn fields(head: &mut ResponseHeader, ctx: &Ctx) -> pingora_error::Result<()> {
    let asked = &ctx.limits;
    if asked.admission.is_none() && asked.refusal.is_none() {
        return Ok(());
    }
    let limits = ctx.routed().and_then(|routed| routed.plan.limits.as_ref());
    let Some((limits, told)) = limits.and_then(|limits| Some((limits, limits.told.as_ref()?)))
    else {
        return Ok(());
    };
    let mut left = String::with_capacity(64);
    if let Some(refusal) = &asked.refusal {
        if let Some(policy) = limits.rules.policies().get(refusal.policy) {
            write_ratelimit(&mut left, policy, &refusal.answer);
        }
    } else if let Some(admission) = &asked.admission {
        let answers = admission.answers();
        for (policy, answer) in answers.filter(|(policy, _)| !policy.is_dry_run()) {
            write_ratelimit(&mut left, policy, answer);
        }
    }
    // An origin may have limits of its own: both fields are lists.
    head.append_header("RateLimit-Policy", told.clone())?;
    if let Ok(left) = HeaderValue::try_from(left) {
        head.append_header("RateLimit", left)?;
    }
    Ok(())
}

/// The limit that refused the request, and the one that would have.
pub(crate) fn names(ctx: &Ctx) -> (Option<&str>, Option<&str>) {
    let asked = &ctx.limits;
    let refused = asked.refusal.as_ref().map(|refusal| refusal.policy);
    if refused.is_none() && asked.would.is_none() {
        return (None, None);
    }
    let limits = ctx.routed().and_then(|routed| routed.plan.limits.as_ref());
    let name = |index: Option<usize>| Some(limits?.facts.get(index?)?.metrics.name());
    (name(refused), name(asked.would))
}

/// What a key may be made of.
struct Request<'a> {
    address: IpAddr,
    site: &'a str,
    path: Cow<'a, [u8]>,
    headers: &'a HeaderMap,
    ja4: Option<&'a str>,
}

impl aegis_limits::Facts for Request<'_> {
    fn address(&self) -> IpAddr {
        self.address
    }

    fn site(&self) -> &str {
        self.site
    }

    fn path(&self) -> &[u8] {
        &self.path
    }

    fn ja4(&self) -> Option<&str> {
        self.ja4
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        only(self.headers.get_all(name).iter().map(HeaderValue::as_bytes))
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        let fields = self.headers.get_all(header::COOKIE).iter();
        let pairs = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b';'));
        only(pairs.filter_map(|pair| {
            let pair = pair.trim_ascii();
            let (key, value) = pair.split_at(memchr::memchr(b'=', pair)?);
            (key == name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
        }))
    }
}

/// Of two values an origin may read the other one: then there is none.
fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// The path with its percent-encoding undone: `/%6Cogin` is `/login`. Allocates only where there is one.
fn decoded(path: &str) -> Cow<'_, [u8]> {
    let path = path.as_bytes();
    if memchr::memchr(b'%', path).is_none() {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let encoded = (byte == b'%').then(|| after.split_at_checked(2)).flatten();
        let encoded = encoded.and_then(|(digits, after)| Some((hex(digits)?, after)));
        let (byte, after) = encoded.unwrap_or((byte, after));
        out.push(byte);
        rest = after;
    }
    Cow::Owned(out)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
