//! How plugins stand, as `/status` shows it.

use aegis_control::rfc3339;
use aegis_plugins::{Made, Report, Running, Stage, Standing};
use serde_json::{Value, json};

/// All of them: `preparing`, `ready` or `failed`.
pub(super) fn of(reports: &[Report]) -> Value {
    reports.iter().map(one).collect()
}

/// What is being done, in a word.
pub(super) fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Reading => "reading",
        Stage::Compiling => "compiling",
        Stage::Configuring => "configuring",
        Stage::Packing => "packing",
    }
}

fn one(report: &Report) -> Value {
    let mut value = match &report.standing {
        Standing::Preparing { stage, since } => json!({
            "state": "preparing",
            "stage": word(*stage),
            "seconds": since.elapsed().as_secs(),
        }),
        Standing::Ready(running) => ready(running),
        Standing::Failed { reason, at } => json!({
            "state": "failed",
            "reason": reason,
            "at": rfc3339(*at),
        }),
    };
    value["plugin"] = report.plugin.as_str().into();
    value["id"] = report.id.as_str().into();
    value
}

fn ready(running: &Running) -> Value {
    json!({
        "state": "ready",
        "since": rfc3339(running.since),
        "made": match running.made {
            Made::Built => "built",
            Made::Cached => "cached",
        },
        "took_ms": u64::try_from(running.took.as_millis()).unwrap_or(u64::MAX),
        "image_mib": running.image.map(|bytes| bytes.div_ceil(1 << 20)),
        "no_snapshot": running.no_image,
    })
}
