//! The way of a request, stage by stage: the order of the lines is the order of the stages.
//!
//! Stages 0 to 3 lie before this crate (kernel, accept, TLS, framing). A stage sees plain facts, never Pingora's types;
//! it lets the request go on, or ends it with an [`Answer`].

use crate::answer::Answer;
use crate::connections;
use crate::ctx::Ctx;
use crate::facts::Facts;
use crate::fault::Fault;
use crate::gate;
use crate::head;
use crate::inspect::plan::Stage;
use crate::inspect::{self, Incoming};
use crate::limits::stage as limits;
use crate::snapshot::Place;
use crate::spans;
use crate::verdicts;

type Step<T = ()> = Result<T, Answer>;

/// Stages 4 to 7: from the head to a route its client may use, and whose limits are kept.
pub(crate) fn to_route(facts: &Facts<'_>, ctx: &mut Ctx) -> Step {
    // Until modules are compiled nothing is served: better no answer than an uninspected one.
    started(ctx)?;
    // CONNECT names no path that a route could be chosen by; nobody makes tunnels here.
    no_tunnel(facts)?;
    // A request that comes back to us again and again would otherwise use up every connection there is.
    head::check_loop(facts.headers)?;
    // Which rules hold is decided once, by host, path and method; everything after this line asks the route.
    let routed = route(facts, ctx);
    // Who is banned gets nothing more, not even a redirect or the word that there is no such site.
    verdicts::ask(facts, ctx)?;
    routed?;
    // Who comes when his site is full learns it before anything is done for him.
    connections::of_request(ctx)?;
    // A client past its limit costs nothing more; before a redirect too, which would else be free.
    limits::ask(facts, ctx)?;
    // Over TLS, and by whom: a site may say. (An authority asks for the answer to its challenge over plain HTTP: it
    // will be given above this line.)
    gate::check(facts, ctx)?;
    // A method the route does not take ends here; its client may try another one on the same connection.
    method(facts, ctx)?;
    // A redirect or a fixed answer needs neither cache nor origin.
    fixed(facts, ctx)
}

/// Stage 8: what looks at every request, also at those the cache will answer.
pub(crate) async fn before_cache(ctx: &mut Ctx, body: &mut impl Incoming) -> Step {
    // Bots are turned away before they cost a look-up; the WAF only if its site asks for it.
    let began = spans::begin(ctx);
    let step = inspect::request(ctx, Stage::BeforeCache, body).await;
    spans::end(ctx, "before_cache", began);
    step
}

/// Stage 10: what looks at a request the cache could not answer.
pub(crate) async fn before_origin(ctx: &mut Ctx, body: &mut impl Incoming) -> Step {
    // An answer from the cache was made for a request that passed the WAF; only what reaches the origin is judged.
    spans::cache_answered(ctx);
    let began = spans::begin(ctx);
    let step = inspect::request(ctx, Stage::BeforeOrigin, body).await;
    spans::end(ctx, "before_origin", began);
    step
}

fn started(ctx: &Ctx) -> Step {
    if ctx.snapshot.is_some() {
        Ok(())
    } else {
        Err(Fault::Starting.into())
    }
}

fn no_tunnel(facts: &Facts<'_>) -> Step {
    if facts.method == "CONNECT" {
        Err(Fault::Method.into())
    } else {
        Ok(())
    }
}

fn method(facts: &Facts<'_>, ctx: &Ctx) -> Step {
    match ctx.routed() {
        Some(routed) if !routed.plan.methods.take(facts.method) => Err(Fault::Method.into()),
        _ => Ok(()),
    }
}

fn route(facts: &Facts<'_>, ctx: &mut Ctx) -> Step {
    let snapshot = ctx.snapshot.as_ref().ok_or(Fault::Starting)?;
    let site = match facts.host {
        Some(host) => snapshot.table.find(host),
        None => snapshot.table.find_without_host(),
    };
    let Some(site) = site else {
        return Err(no_site(facts, ctx).into());
    };
    let route = site
        .route(facts.path, facts.method)
        .ok_or(Fault::BadRequest(
            "Its path can be read in two ways that lead to different places.",
        ))?;
    ctx.place = Some(Place {
        site: site.site.index,
        route: route.index,
    });
    Ok(())
}

/// A browser may reuse a connection for another name its certificate covers; 421 tells it to make a new one.
fn no_site(facts: &Facts<'_>, ctx: &Ctx) -> Fault {
    let sni = ctx.connection().and_then(|connection| connection.sni());
    let host = facts.host.and_then(aegis_origin::normalize_host);
    if sni.is_some_and(|sni| host.as_deref() != Some(sni)) {
        Fault::Misdirected
    } else {
        Fault::NoSite
    }
}

fn fixed(facts: &Facts<'_>, ctx: &Ctx) -> Step {
    match ctx.routed().and_then(|routed| routed.plan.fixed.as_ref()) {
        Some(fixed) => Err(fixed.answer(facts)),
        None => Ok(()),
    }
}
