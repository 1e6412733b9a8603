//! What is tried for each `/t/<probe>`. Numbers are the ABI's statuses.

mod control;
mod harm;
mod shared;
mod stream;
mod system;

use crate::lines::{Lines, text};
use crate::query::Query;
pub use control::{answer, call, close, context, done};
pub use harm::harm;
use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;

/// Runs a probe that only reads and tells.
pub fn run(probe: &str, query: &Query) -> String {
    let mut out = Lines::default();
    match probe {
        "fields" => stream::fields(&mut out),
        "properties" => stream::properties(&mut out),
        "own_property" => stream::own_property(&mut out),
        "data" => shared::data(&mut out),
        "get" => {
            let key = query.get("key").replace("%20", " ");
            out.say(
                "value",
                text(hostcalls::get_shared_data(&key).unwrap_or_default().0),
            );
        }
        "queue" => shared::queue(&mut out),
        "metrics" => shared::metrics(&mut out),
        "log" => system::log(&mut out),
        "time" => system::time(&mut out),
        "configuration" => system::configuration(&mut out),
        "wasi" => system::wasi(&mut out),
        "foreign" => control::foreign(&mut out),
        "grpc" => control::grpc(&mut out),
        other => out.say("unknown probe", other),
    }
    out.0
}

/// The status of a call through the SDK.
fn status<T>(of: &Result<T, Status>) -> u32 {
    of.as_ref().map_or_else(|e| *e as u32, |_| 0)
}
