//! What instances share: data, queues, metrics.

use super::status;
use crate::lines::{Lines, text};
use crate::raw;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

pub(super) fn data(out: &mut Lines) {
    let get = || hostcalls::get_shared_data("probe").unwrap_or_default();
    let set = |value, cas| status(&hostcalls::set_shared_data("probe", value, cas));
    out.say("before", text(get().0));
    out.say("set", set(Some(b"one".as_slice()), None));
    let (value, cas) = get();
    out.say("get", text(value));
    out.say("wrong cas", set(Some(b"two"), cas.map(|c| c + 1)));
    out.say("right cas", set(Some(b"two"), cas));
    out.say("get", text(get().0));
    out.say("remove", set(None, None));
    out.say("after", text(get().0));
}

pub(super) fn queue(out: &mut Lines) {
    let resolve = |name| hostcalls::resolve_shared_queue("", name).ok().flatten();
    out.say("unknown", resolve("nope").is_some());
    let Ok(id) = hostcalls::register_shared_queue("probe") else {
        return out.say("registered", false);
    };
    let take = || text(hostcalls::dequeue_shared_queue(id).ok().flatten());
    let put = |item: &str| status(&hostcalls::enqueue_shared_queue(id, Some(item.as_bytes())));
    out.say("resolved", resolve("probe") == Some(id));
    out.say("empty", take());
    out.say("in", put("first"));
    out.say("out", take());
    out.say("for the root", put("second"));
}

pub(super) fn metrics(out: &mut Lines) {
    let define = |kind, name| hostcalls::define_metric(kind, name).unwrap_or(u32::MAX);
    let counter = define(MetricType::Counter, "probe_counter");
    let gauge = define(MetricType::Gauge, "probe_gauge");
    let histogram = define(MetricType::Histogram, "probe_histogram");
    out.say(
        "again the same",
        define(MetricType::Counter, "probe_counter") == counter,
    );
    let incremented = status(&hostcalls::increment_metric(counter, 3));
    out.check(
        "counter",
        incremented,
        hostcalls::get_metric(counter).unwrap_or(0) >= 3,
    );
    out.say("gauge set", status(&hostcalls::record_metric(gauge, 7)));
    out.say(
        "gauge down",
        status(&hostcalls::increment_metric(gauge, -2)),
    );
    out.say("gauge is", hostcalls::get_metric(gauge).unwrap_or(0));
    out.say("histogram", status(&hostcalls::record_metric(histogram, 5)));
    let mut id = 0;
    out.say("no such kind", unsafe {
        raw::proxy_define_metric(9, "x".as_ptr(), 1, &mut id)
    });
    out.say("no such metric", unsafe {
        raw::proxy_get_metric(987_654, &mut 0)
    });
}
