//! Paths and their answers.

use super::Ask;
use crate::state::Phase;
use aegis_telemetry::{metrics, ring};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
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

type Answer = Response<Full<Bytes>>;

pub(super) fn answer<B>(request: &Request<B>, ask: &Ask, access: Access) -> Answer {
    if access == Access::Loopback && !is_loopback(request) {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            "this address answers to loopback names only\n",
        );
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match (request.uri().path(), access) {
        ("/metrics", _) => metrics_answer(),
        ("/livez", _) => text(StatusCode::OK, "ok\n"),
        ("/readyz", _) => readyz(ask.state.phase()),
        ("/status", Access::Socket) => {
            let mut status = ask.state.to_json();
            if let Value::Object(map) = &mut status {
                map.insert("node".into(), ask.questions.status());
            }
            json_answer(StatusCode::OK, &status)
        }
        ("/events", Access::Socket) => events(request),
        ("/explain", Access::Socket) => match parameter(request, "url") {
            None => problem(StatusCode::BAD_REQUEST, "say which: /explain?url=https://…"),
            Some(url) => match ask.questions.explain(
                &url,
                parameter(request, "method").as_deref().unwrap_or("GET"),
            ) {
                Ok(found) => json_answer(StatusCode::OK, &found),
                Err(why) => problem(StatusCode::BAD_REQUEST, &why),
            },
        },
        (_, Access::Loopback) => text(
            StatusCode::NOT_FOUND,
            "here are /metrics, /livez and /readyz\n",
        ),
        (_, Access::Socket) => problem(
            StatusCode::NOT_FOUND,
            "here are /status, /events, /explain, /metrics, /livez and /readyz",
        ),
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
                 node served it; the access log has a line of each request by its `id`, and its `error` says why it got a page",
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

fn parameter<B>(request: &Request<B>, name: &str) -> Option<String> {
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

fn problem(status: StatusCode, what: &str) -> Answer {
    json_answer(status, &json!({ "error": what }))
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
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
mod tests {
    use super::*;
    use crate::boot::From;
    use crate::plane::Questions;
    use crate::state::State;
    use http_body_util::BodyExt;
    use std::sync::Arc;

    struct Plane;

    impl Questions for Plane {
        fn status(&self) -> Value {
            json!({ "sites": 1 })
        }

        fn explain(&self, url: &str, method: &str) -> Result<Value, String> {
            if url.starts_with("http") {
                Ok(json!({ "url": url, "method": method }))
            } else {
                Err("no URL".into())
            }
        }
    }

    fn ask() -> Ask {
        Ask {
            state: Arc::new(State::new("0", None)),
            questions: Arc::new(Plane),
        }
    }

    fn get(path: &str) -> Request<()> {
        Request::get(path)
            .header(HOST, "localhost:9901")
            .body(())
            .expect("a request")
    }

    fn body(answer: Answer) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let bytes = runtime
            .block_on(answer.into_body().collect())
            .expect("a body")
            .to_bytes();
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[test]
    fn readiness_follows_the_life_of_the_node() {
        let ask = ask();
        let status = |ask: &Ask| answer(&get("/readyz"), ask, Access::Loopback).status();
        assert_eq!(status(&ask), StatusCode::SERVICE_UNAVAILABLE);
        ask.state.went_live("a", From::File, Vec::new());
        assert_eq!(status(&ask), StatusCode::OK);
        ask.state.drain();
        assert_eq!(status(&ask), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            answer(&get("/livez"), &ask, Access::Loopback).status(),
            StatusCode::OK
        );
    }

    #[test]
    fn the_loopback_address_answers_to_loopback_names_only() {
        for (host, status) in [
            ("127.0.0.1:9901", 200),
            ("localhost", 200),
            ("[::1]:9901", 200),
            ("evil.example.com", 421),
            ("127.0.0.1.evil.example.com", 421),
            ("localhost.evil.example.com", 421),
            ("", 421),
        ] {
            let request = Request::get("/livez")
                .header(HOST, host)
                .body(())
                .expect("a request");
            let got = answer(&request, &ask(), Access::Loopback).status();
            assert_eq!(got, status, "{host}");
        }
        let none = Request::get("/livez").body(()).expect("a request");
        assert_eq!(answer(&none, &ask(), Access::Loopback).status(), 421);
    }

    #[test]
    fn the_loopback_address_has_metrics_and_probes_and_nothing_else() {
        for path in ["/status", "/events", "/explain?url=http://a/", "/"] {
            assert_eq!(
                answer(&get(path), &ask(), Access::Loopback).status(),
                404,
                "{path}"
            );
        }
        let metrics = answer(&get("/metrics"), &ask(), Access::Loopback);
        assert_eq!(
            metrics.headers()[CONTENT_TYPE],
            "text/plain; version=0.0.4; charset=utf-8"
        );
        assert!(body(metrics).contains("aegis_connections_open"));
        let post = Request::post("/metrics")
            .header(HOST, "localhost")
            .body(())
            .expect("a request");
        let refused = answer(&post, &ask(), Access::Loopback);
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()[ALLOW]),
            (405, &HeaderValue::from_static("GET, HEAD"))
        );
    }

    #[test]
    fn the_socket_answers_questions() {
        let ask = ask();
        ask.state
            .went_live("a3f9", From::LastGood, vec!["w".into()]);
        ask.state.tried(&["bad".into()]);
        let status: Value =
            serde_json::from_str(&body(answer(&get("/status"), &ask, Access::Socket)))
                .expect("JSON");
        assert_eq!(status["config"]["live"]["id"], "a3f9");
        assert_eq!(status["config"]["live"]["from"], "last-known-good");
        assert_eq!(status["config"]["last_try"]["result"], "rejected");
        assert_eq!(status["config"]["last_try"]["problems"][0], "bad");
        assert_eq!(status["node"]["sites"], 1);

        let explained = answer(
            &get("/explain?url=https%3A%2F%2Fa%2F%3Fx%3D1"),
            &ask,
            Access::Socket,
        );
        assert_eq!(
            body(explained),
            "{\"method\":\"GET\",\"url\":\"https://a/?x=1\"}\n"
        );
        assert_eq!(
            answer(&get("/explain?url=x"), &ask, Access::Socket).status(),
            400
        );
        assert_eq!(answer(&get("/explain"), &ask, Access::Socket).status(), 400);
        assert_eq!(
            answer(&get("/events?request=NOPE"), &ask, Access::Socket).status(),
            404
        );
        assert_eq!(
            answer(&get("/events?recent=x"), &ask, Access::Socket).status(),
            400
        );
        assert_eq!(
            body(answer(&get("/events?recent=0"), &ask, Access::Socket)),
            "[]\n"
        );
    }
}
