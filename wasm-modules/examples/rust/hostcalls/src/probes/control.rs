//! What steers a stream, and what reaches outside.

use super::status;
use crate::lines::Lines;
use crate::query::Query;
use crate::raw;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, MapType};
use std::ptr::null_mut;
use std::time::Duration;

/// Two answers: the first one counts.
pub fn answer() -> Action {
    let headers = raw::pairs(&[("content-type", "text/plain"), ("x-probe", "yes")]);
    let (why, h) = ("teapot", (headers.as_ptr(), headers.len()));
    for (status, body) in [(418, "short and stout"), (500, "second")] {
        let body = (body.as_ptr(), body.len());
        unsafe {
            raw::proxy_send_local_response(
                status,
                why.as_ptr(),
                why.len(),
                body.0,
                body.1,
                h.0,
                h.1,
                -1,
            )
        };
    }
    Action::Pause
}

/// Ends the stream without an answer.
pub fn close() -> Action {
    unsafe { raw::proxy_close_stream(0) };
    Action::Pause
}

/// `/t/call?pool=…`: lines when the call was refused, nothing when an answer will come.
///
/// Through the SDK: it panics on the answer of a call it did not make itself.
pub fn call(query: &Query) -> Option<String> {
    let sent = hostcalls::dispatch_http_call(
        query.get("pool"),
        vec![
            (":method", "POST"),
            (":path", "/asked"),
            (":authority", "auth.example"),
            ("x-from", "probe"),
        ],
        Some(b"question"),
        vec![("x-end", "1")],
        Duration::from_secs(5),
    );
    sent.err()
        .map(|status| format!("call: {}\n", status as u32))
}

/// Acts for the root context and comes back.
pub fn context(own: u32, root: u32) -> String {
    let be = |id| unsafe { raw::proxy_set_effective_context(id) };
    let mut out = Lines::default();
    out.say("root", be(root));
    let mut size = 0;
    let request = MapType::HttpRequestHeaders as u32;
    out.say("its request", unsafe {
        raw::proxy_get_header_map_size(request, &mut size)
    });
    out.say("own", be(own));
    out.say("own request", unsafe {
        raw::proxy_get_header_map_size(request, &mut size)
    });
    out.say("no such context", be(424_242));
    out.0
}

/// Lets go of contexts that linger after their stream.
pub fn done(own: u32, lingering: &[u32]) -> String {
    let finish = |id| unsafe { (raw::proxy_set_effective_context(id), raw::proxy_done()) };
    let mut out = Lines::default();
    for id in lingering {
        let (found, ended) = finish(*id);
        out.say("lingering", format!("{found} {ended}"));
    }
    let (found, ended) = finish(own);
    out.say("own", format!("{found} {ended}"));
    out.0
}

pub(super) fn foreign(out: &mut Lines) {
    let call = |name: &str, argument: &str| unsafe {
        let (mut result, mut len) = (null_mut(), 0);
        let (argument, size) = (argument.as_ptr(), argument.len());
        raw::proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            argument,
            size,
            &mut result,
            &mut len,
        )
    };
    out.say("no such function", call("nope", ""));
    out.say("event", call("aegis_waf_event", "{\"action\":\"detect\"}"));
    out.say("done", unsafe { raw::proxy_done() });
}

pub(super) fn grpc(out: &mut Lines) {
    let (x, none, mut token) = ("x".as_ptr(), raw::pairs(&[]), 0);
    let n = (none.as_ptr(), none.len());
    out.say("call", unsafe {
        raw::proxy_grpc_call(x, 1, x, 1, x, 1, n.0, n.1, x, 1, 100, &mut token)
    });
    out.say("stream", unsafe {
        raw::proxy_grpc_stream(x, 1, x, 1, x, 1, n.0, n.1, &mut token)
    });
    out.say("send", unsafe { raw::proxy_grpc_send(1, x, 1, 1) });
    out.say("cancel", unsafe { raw::proxy_grpc_cancel(1) });
    out.say("close", unsafe { raw::proxy_grpc_close(1) });
    let got = hostcalls::get_grpc_status();
    out.say("status", status(&got));
    let (code, message) = got.unwrap_or((99, None));
    out.say(
        "code",
        format!("{code} {}", message.unwrap_or_default().len()),
    );
}
