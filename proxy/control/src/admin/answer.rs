//! Paths and their answers.

use super::who::{Peer, admit};
use super::{Ask, waf, write};
use crate::orders::Wanted;
use crate::state::Phase;
use aegis_settings::model::AdminRole;
use aegis_telemetry::{metrics, ring};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Events in one answer.
const RECENT_MAX: usize = 1000;
const RECENT: usize = 20;

/// Which server was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// TCP on loopback: metrics and probes.
    Loopback,
    /// The unix socket: everything.
    Socket,
}

pub(super) type Answer = Response<Full<Bytes>>;

/// Asks or changes.
pub(super) async fn answer<B>(request: Request<B>, ask: &Ask, access: Access, peer: Peer) -> Answer
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !is_loopback(&request) {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            "this address answers to loopback names only\n",
        );
    }
    let change = write::change_of(request.uri().path()).filter(|_| access == Access::Socket);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match change {
        Some(what) if request.method() == Method::POST => {
            write::write(request, what, ask, peer).await
        }
        Some(_) => not_allowed("POST only\n", "POST"),
        None if !reads => not_allowed("GET and HEAD only\n", "GET, HEAD"),
        None => read(&request, ask, access, peer),
    }
}

fn not_allowed(text_: &str, allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, text_);
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

fn read<B>(request: &Request<B>, ask: &Ask, access: Access, peer: Peer) -> Answer {
    match request.uri().path() {
        "/metrics" => return metrics_answer(),
        "/livez" => return text(StatusCode::OK, "ok\n"),
        "/readyz" => return readyz(ask.state.phase()),
        _ if access == Access::Loopback => {
            return text(
                StatusCode::NOT_FOUND,
                "here are /metrics, /livez and /readyz\n",
            );
        }
        _ => {}
    }
    if let Err(denied) = admit(
        request.headers(),
        peer,
        &ask.questions.tokens(),
        AdminRole::Read,
    ) {
        return problem(denied.status, &denied.why);
    }
    match request.uri().path() {
        "/status" => {
            let mut status = ask.state.to_json();
            if let Value::Object(map) = &mut status {
                map.insert("node".into(), ask.questions.status());
            }
            json_answer(StatusCode::OK, &status)
        }
        "/events" => events(request),
        "/explain" => match parameter(request, "url") {
            None => problem(StatusCode::BAD_REQUEST, "say which: /explain?url=https://…"),
            Some(url) => match ask.questions.explain(
                &url,
                parameter(request, "method").as_deref().unwrap_or("GET"),
            ) {
                Ok(found) => json_answer(StatusCode::OK, &found),
                Err(why) => problem(StatusCode::BAD_REQUEST, &why),
            },
        },
        "/why" => match parameter(request, "ip").map(|ip| ip.parse::<IpAddr>()) {
            Some(Ok(address)) => json_answer(StatusCode::OK, &ask.orders.why(address)),
            _ => problem(
                StatusCode::BAD_REQUEST,
                "say which address: /why?ip=203.0.113.9",
            ),
        },
        "/verdicts" => verdicts(request, ask),
        "/waf/top" => waf::top(request),
        _ => problem(
            StatusCode::NOT_FOUND,
            "here are /status, /events, /explain, /why, /verdicts, /waf/top, /metrics, /livez and /readyz, and for POST /ban, /allow and /unban",
        ),
    }
}

fn verdicts<B>(request: &Request<B>, ask: &Ask) -> Answer {
    let number = |name: &str, default: u32| {
        parameter(request, name).map_or(Ok(default), |text| text.parse::<u32>())
    };
    let (Ok(from), Ok(limit)) = (number("from", 0), number("limit", 100)) else {
        return problem(StatusCode::BAD_REQUEST, "from and limit want numbers");
    };
    let wanted = Wanted {
        from,
        limit: usize::try_from(limit).unwrap_or(RECENT_MAX).min(RECENT_MAX),
        site: parameter(request, "site"),
        kind: parameter(request, "kind"),
        by: parameter(request, "by"),
        within: parameter(request, "within"),
    };
    match ask.orders.verdicts(&wanted) {
        Ok(found) => json_answer(StatusCode::OK, &found),
        Err(refused) => {
            let (status, why) = refused.parts();
            problem(status, why)
        }
    }
}

/// Whether `Host` names this machine by a loopback name: what a browser sends for any other name is refused.
fn is_loopback<B>(request: &Request<B>) -> bool {
    let host = match request.headers().get(HOST) {
        Some(host) => host.to_str().unwrap_or("?"),
        // HTTP/1.0 need not send one, and no browser speaks it.
        None => return request.version() == http::Version::HTTP_10,
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn readyz(phase: Phase) -> Answer {
    let status = match phase {
        Phase::Ready => StatusCode::OK,
        Phase::Starting | Phase::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, &format!("{}\n", phase.as_str()))
}

fn events<B>(request: &Request<B>) -> Answer {
    if let Some(id) = parameter(request, "request") {
        return match ring::global().find(&id) {
            Some(entry) => json_answer(StatusCode::OK, &json!(&*entry)),
            None => problem(
                StatusCode::NOT_FOUND,
                "no event of this request is kept here: no plugin and no limit of inspection stopped it, it is too old, or another \
                 node served it; of limits and bans only some are kept, a few a second; the access log has a line of each request by its `id`, and its `error` says why it got a page",
            ),
        };
    }
    let n = parameter(request, "recent").map_or(Some(RECENT), |n| n.parse().ok());
    match n {
        Some(n) => {
            let recent = ring::global().recent(n.min(RECENT_MAX));
            let recent: Vec<_> = recent.iter().map(|entry| &**entry).collect();
            json_answer(StatusCode::OK, &json!(recent))
        }
        None => problem(StatusCode::BAD_REQUEST, "recent wants a number"),
    }
}

pub(super) fn parameter<B>(request: &Request<B>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn metrics_answer() -> Answer {
    respond(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        metrics::render(),
    )
}

fn text(status: StatusCode, body: &str) -> Answer {
    respond(status, "text/plain; charset=utf-8", body.to_owned())
}

pub(super) fn problem(status: StatusCode, what: &str) -> Answer {
    json_answer(status, &json!({ "error": what }))
}

pub(super) fn json_answer(status: StatusCode, body: &Value) -> Answer {
    respond(status, "application/json", format!("{body}\n"))
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
