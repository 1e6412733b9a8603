//! What a module says about a request (`aegis_waf_event`) → counters, the process log, the ring of security events.

use crate::ctx::Ctx;
use crate::inspect::plan::Inspector;
use crate::snapshot::Routed;
use aegis_plugins::{ForeignEvent, LateEvent, RequestHead};
use aegis_telemetry::events::WafEvent;
use aegis_telemetry::metrics::WafVerdict;
use aegis_telemetry::ring::{Entry, Rule};
use serde::Deserialize;
use std::time::{Duration, UNIX_EPOCH};

/// The message of the WAF module.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    action: String,
    status: u16,
    enforced: bool,
    score: i64,
    threshold: i64,
    rules: Vec<Rule>,
}

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
        let verdict = match message.action.as_str() {
            "block" => WafVerdict::Block,
            "limit" => WafVerdict::Limit,
            _ => WafVerdict::Detect,
        };
        ctx.note_waf(verdict);
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
        request_id: ctx.request_id().to_owned(),
        time_ms: millis(ctx.time.duration_since(UNIX_EPOCH).unwrap_or_default()),
        client: ctx.client_text().to_owned(),
        method: text(&head.method),
        scheme: ctx.scheme().to_owned(),
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
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps an event that a module sent after its verdict; of the request it knows what the module was shown.
#[expect(clippy::needless_pass_by_value, reason = "the host hands events over")]
pub fn late(event: LateEvent) {
    let Ok(message) = serde_json::from_slice::<Message>(&event.event.data) else {
        return;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let head = &event.head;
    aegis_telemetry::ring::global().push(Entry {
        request_id: text(&head.request_id),
        time_ms: millis(head.received.duration_since(UNIX_EPOCH).unwrap_or_default()),
        client: head.source.ip().to_canonical().to_string(),
        method: text(&head.method),
        scheme: text(&head.scheme),
        host: text(&head.authority),
        target: text(&head.target),
        status: 0,
        site: event.properties.site.to_string(),
        route: String::new(),
        plugin: event.plugin.to_string(),
        mode: "detect".to_owned(),
        action: message.action,
        rules: message.rules,
        score: message.score,
        threshold: message.threshold,
        micros: 0,
    });
}
