//! What a module says about a request (`aegis_waf_event`) → counters, the process log, the ring of security events.

use crate::ctx::Ctx;
use crate::fault::Fault;
use crate::inspect::plan::Inspector;
use crate::snapshot::Routed;
use crate::waf;
use aegis_plugins::{ForeignEvent, LateEvent, RequestHead};
use aegis_telemetry::events::WafEvent;
use aegis_telemetry::metrics::WafVerdict;
use aegis_telemetry::ring::{self, By, Entry, Rule};
use aegis_telemetry::rules;
use aegis_verdicts::FaultKind;
use pingora_proxy::Session;
use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Phases up to this one judge the request, later ones the response.
const REQUEST_PHASES: u8 = 2;

/// The message of the WAF module.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    action: String,
    phase: u8,
    status: u16,
    enforced: bool,
    score: i64,
    threshold: i64,
    /// Why the request was not inspected whole.
    message: String,
    rules: Vec<Rule>,
    by: Option<Box<By>>,
    /// What each rule of a measured request took, in nanoseconds.
    costs: Vec<(u32, u64)>,
}

/// The action of a message that only tells what rules cost.
const COSTS: &str = "costs";

/// Writes down what the module said; what does not read as a message is nothing the module could be held to.
pub(crate) fn record(
    ctx: &mut Ctx,
    inspector: &Inspector,
    head: &RequestHead,
    events: &[ForeignEvent],
    cpu: Duration,
) {
    for event in events {
        let message: Message = match serde_json::from_slice(&event.data) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(plugin = inspector.plugin.name(), %error, "event of a plugin cannot be read");
                continue;
            }
        };
        if message.action == COSTS {
            if inspector.is_waf {
                rules::measured(&message.costs);
            }
            continue;
        }
        let verdict = match message.action.as_str() {
            "block" => WafVerdict::Block,
            "limit" => WafVerdict::Limit,
            _ => WafVerdict::Detect,
        };
        ctx.note_waf(verdict);
        // What an origin answers is not its client's fault.
        if inspector.is_waf && verdict == WafVerdict::Block && message.phase <= REQUEST_PHASES {
            ctx.offence = Some(FaultKind::WafBlock);
        }
        ctx.explained |= verdict != WafVerdict::Detect;
        let Some(routed) = ctx.routed() else { return };
        let entry = entry(ctx, routed, inspector, head, message, cpu);
        WafEvent {
            site: &routed.site_plan.metrics,
            verdict,
            entry,
        }
        .emit();
    }
}

fn entry(
    ctx: &Ctx,
    routed: Routed<'_>,
    inspector: &Inspector,
    head: &RequestHead,
    message: Message,
    cpu: Duration,
) -> Entry {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Entry {
        method: text(&head.method),
        host: text(&head.authority),
        target: text(&head.target),
        status: if message.enforced || message.action == "block" {
            message.status
        } else {
            0
        },
        site: routed.site.site.name.clone(),
        route: routed.entry.route.key.clone(),
        plugin: inspector.plugin.name().to_owned(),
        mode: inspector.mode.to_owned(),
        action: message.action,
        rules: message.rules,
        score: message.score,
        threshold: message.threshold,
        micros: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
        detail: message.message,
        by: message.by,
        ..begun(ctx)
    }
}

/// An event with what is the same for all of a request.
pub(crate) fn begun(ctx: &Ctx) -> Entry {
    Entry {
        request_id: ctx.request_id().to_owned(),
        time_ms: millis(ctx.time),
        client: ctx.client_text().to_owned(),
        scheme: ctx.scheme().to_owned(),
        ..Entry::default()
    }
}

/// Keeps why a request was stopped by a limit or a fault of inspection, where no module said it.
pub(crate) fn stopped(session: &Session, ctx: &Ctx, fault: Fault) {
    let action = match fault {
        Fault::BodyTooLarge | Fault::BodyEncoding | Fault::BodiesHeld | Fault::BodiesSpooled => {
            "limit"
        }
        Fault::PluginFailed => "fault",
        _ => return,
    };
    let Some(routed) = ctx.routed().filter(|_| !ctx.explained) else {
        return;
    };
    let route = &routed.entry.route;
    let (plugin, why) = match (fault, ctx.no_verdict.as_deref()) {
        (Fault::PluginFailed, Some((plugin, kind))) => (
            plugin.as_str(),
            format!("plugin {plugin} gave no verdict ({kind}), and its on_error is deny"),
        ),
        (Fault::PluginFailed, None) => ("", "a plugin gave no verdict".to_owned()),
        (Fault::BodiesHeld, _) => (
            "",
            "bodies that wait for a verdict have used up node.bodies_held_max, or this site's or client's share of it"
                .to_owned(),
        ),
        (Fault::BodiesSpooled, _) => (
            "",
            "bodies on disk have used up node.bodies_spooled_max, or this site's or client's share of it, or the disk failed (aegis_spool_errors_total)"
                .to_owned(),
        ),
        _ => ("", too_large(routed)),
    };
    let head = session.req_header();
    let host = head.headers.get(http::header::HOST);
    let host = head.uri.authority().map_or_else(
        || host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()),
        |authority| Some(authority.as_str().to_owned()),
    );
    ring::keep(Entry {
        method: head.method.as_str().to_owned(),
        host: host.unwrap_or_default(),
        target: String::from_utf8_lossy(head.raw_path()).into_owned(),
        status: fault.status(),
        site: routed.site.site.name.clone(),
        route: route.key.clone(),
        plugin: plugin.to_owned(),
        action: action.to_owned(),
        detail: why,
        ..begun(ctx)
    });
}

/// Which key says how much of a body is held.
fn too_large(routed: Routed<'_>) -> String {
    let route = &routed.entry.route;
    let most = routed.plan.inspection.body.reject_above.unwrap_or(0);
    if most == route.waf.held_max {
        let from = route.sources.get("waf.held_max");
        let from = from.map_or("default", String::as_str);
        format!("the body has more than {most} bytes, which is waf.held_max (from: {from})")
    } else {
        format!(
            "the body has more than {most} bytes, which is the least body_max of the plugins that read it"
        )
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps an event that a module sent after its verdict; of the request it knows what the module was shown.
#[expect(clippy::needless_pass_by_value, reason = "the host hands events over")]
pub fn late(event: LateEvent) {
    let Ok(message) = serde_json::from_slice::<Message>(&event.event.data) else {
        return;
    };
    if message.action == COSTS {
        if &*event.plugin == waf::NAME {
            rules::measured(&message.costs);
        }
        return;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let head = &event.head;
    ring::keep(Entry {
        request_id: text(&head.request_id),
        time_ms: millis(head.received),
        client: head.source.ip().to_canonical().to_string(),
        method: text(&head.method),
        scheme: text(&head.scheme),
        host: text(&head.authority),
        target: text(&head.target),
        site: event.properties.site.to_string(),
        plugin: event.plugin.to_string(),
        mode: "detect".to_owned(),
        action: message.action,
        rules: message.rules,
        score: message.score,
        threshold: message.threshold,
        detail: message.message,
        by: message.by,
        ..Entry::default()
    });
}
