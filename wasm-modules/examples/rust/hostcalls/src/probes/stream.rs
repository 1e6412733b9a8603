//! Fields and properties of the stream.

use super::status;
use crate::lines::{Lines, text};
use crate::raw;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MapType;
use std::ptr::null_mut;

const REQUEST: MapType = MapType::HttpRequestHeaders;

const TEXTS: &[&str] = &[
    "plugin_name",
    "plugin_root_id",
    "request.path",
    "request.url_path",
    "request.query",
    "request.host",
    "request.scheme",
    "request.method",
    "request.protocol",
    "request.id",
    "request.headers.x-probe",
    "source.address",
    "destination.address",
    "connection.tls_version",
    "connection.requested_server_name",
    "aegis.site",
    "aegis.waf_policy",
    "no.such",
];
const NUMBERS: &[&str] = &[
    "source.port",
    "destination.port",
    "request.time",
    "aegis.waf_policy_id",
];

pub(super) fn fields(out: &mut Lines) {
    let mut size = 0;
    let got = unsafe { raw::proxy_get_header_map_size(REQUEST as u32, &mut size) };
    out.check("size", got, size > 0);
    for (name, value) in hostcalls::get_map(REQUEST).unwrap_or_default() {
        out.say("field", format!("{name}={value}"));
    }
    let probe = hostcalls::get_map_value(REQUEST, "X-PROBE").ok().flatten();
    out.say("x-probe", probe.unwrap_or_default());
    let (name, mut value, mut len) = ("nope", null_mut(), 0);
    let missing = unsafe {
        raw::proxy_get_header_map_value(
            REQUEST as u32,
            name.as_ptr(),
            name.len(),
            &mut value,
            &mut len,
        )
    };
    out.say("missing", missing);
    let early =
        unsafe { raw::proxy_get_header_map_size(MapType::HttpResponseHeaders as u32, &mut size) };
    out.say("response fields in the request", early);
}

fn property(path: &str) -> Option<Vec<u8>> {
    hostcalls::get_property(path.split('.').collect())
        .ok()
        .flatten()
}

pub(super) fn properties(out: &mut Lines) {
    for path in TEXTS {
        out.say(path, text(property(path)));
    }
    for path in NUMBERS {
        let number = property(path).and_then(|raw| raw.try_into().ok());
        out.say(path, number.map_or(-1, i64::from_le_bytes));
    }
}

pub(super) fn own_property(out: &mut Lines) {
    let own = || vec!["probe", "own"];
    out.say(
        "set",
        status(&hostcalls::set_property(own(), Some(b"kept"))),
    );
    out.say("get", text(hostcalls::get_property(own()).ok().flatten()));
    let fact = b"request\0path";
    out.say("a fact", unsafe {
        raw::proxy_set_property(fact.as_ptr(), fact.len(), fact.as_ptr(), fact.len())
    });
}
