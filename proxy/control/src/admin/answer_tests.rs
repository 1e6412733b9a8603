use super::*;
use crate::boot::From;
use crate::orders::{Order, Orders, Refused};
use crate::plane::Questions;
use crate::state::State;
use crate::tokens::Tokens;
use aegis_settings::model::{AdminToken, Secret};
use http::header::AUTHORIZATION;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use std::sync::Arc;

struct Plane(Arc<Tokens>);

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

    fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.0)
    }
}

/// Knows one ban, and writes down what it is told to do.
#[derive(Default)]
struct Book(Mutex<Vec<(Order, String)>>);

impl Orders for Book {
    fn carry_out(&self, order: Order, author: &str) -> Result<Value, Refused> {
        match &order {
            Order::Put(put) if put.prefix == "127.0.0.1" && !put.force => {
                return Err(Refused::Unsafe("loopback".to_owned()));
            }
            Order::Remove { prefix, .. } if prefix != "203.0.113.9" => {
                return Err(Refused::NotFound("no such ban".to_owned()));
            }
            _ => {}
        }
        self.0.lock().push((order, author.to_owned()));
        Ok(json!({ "done": true }))
    }

    fn why(&self, address: IpAddr) -> Value {
        json!({ "address": address.to_string() })
    }

    fn verdicts(&self, wanted: &Wanted) -> Result<Value, Refused> {
        Ok(json!({ "from": wanted.from, "limit": wanted.limit, "site": wanted.site }))
    }
}

fn ask() -> Ask {
    ask_with(Tokens::default(), Arc::default())
}

fn ask_with(tokens: Tokens, book: Arc<Book>) -> Ask {
    Ask {
        state: Arc::new(State::new("0", None)),
        questions: Arc::new(Plane(Arc::new(tokens))),
        orders: book,
    }
}

/// Who runs this test, and somebody who is neither he nor root.
fn operator() -> Peer {
    Peer {
        uid: Some(rustix::process::geteuid().as_raw()),
        pid: Some(1),
    }
}

const STRANGER: Peer = Peer {
    uid: Some(4_000_000),
    pid: Some(1),
};

fn asked(request: Request<Full<Bytes>>, ask: &Ask, access: Access) -> Answer {
    asked_by(operator(), request, ask, access)
}

fn asked_by(peer: Peer, request: Request<Full<Bytes>>, ask: &Ask, access: Access) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(answer(request, ask, access, peer))
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path)
        .header(HOST, "localhost:9901")
        .body(Full::default())
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
    let status = |ask: &Ask| asked(get("/readyz"), ask, Access::Loopback).status();
    assert_eq!(status(&ask), StatusCode::SERVICE_UNAVAILABLE);
    ask.state.went_live("a", From::File, Vec::new());
    assert_eq!(status(&ask), StatusCode::OK);
    ask.state.drain();
    assert_eq!(status(&ask), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        asked(get("/livez"), &ask, Access::Loopback).status(),
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
            .body(Full::default())
            .expect("a request");
        let got = asked(request, &ask(), Access::Loopback).status();
        assert_eq!(got, status, "{host}");
    }
    let none = Request::get("/livez")
        .body(Full::default())
        .expect("a request");
    assert_eq!(asked(none, &ask(), Access::Loopback).status(), 421);
}

#[test]
fn the_loopback_address_has_metrics_and_probes_and_nothing_else() {
    for path in ["/status", "/events", "/explain?url=http://a/", "/"] {
        assert_eq!(
            asked(get(path), &ask(), Access::Loopback).status(),
            404,
            "{path}"
        );
    }
    let metrics = asked(get("/metrics"), &ask(), Access::Loopback);
    assert_eq!(
        metrics.headers()[CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(body(metrics).contains("aegis_connections_open"));
    let post = Request::post("/metrics")
        .header(HOST, "localhost")
        .body(Full::default())
        .expect("a request");
    let refused = asked(post, &ask(), Access::Loopback);
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
        serde_json::from_str(&body(asked(get("/status"), &ask, Access::Socket))).expect("JSON");
    assert_eq!(status["config"]["live"]["id"], "a3f9");
    assert_eq!(status["config"]["live"]["from"], "last-known-good");
    assert_eq!(status["config"]["last_try"]["result"], "rejected");
    assert_eq!(status["config"]["last_try"]["problems"][0], "bad");
    assert_eq!(status["node"]["sites"], 1);

    let explained = asked(
        get("/explain?url=https%3A%2F%2Fa%2F%3Fx%3D1"),
        &ask,
        Access::Socket,
    );
    assert_eq!(
        body(explained),
        "{\"method\":\"GET\",\"url\":\"https://a/?x=1\"}\n"
    );
    assert_eq!(
        asked(get("/explain?url=x"), &ask, Access::Socket).status(),
        400
    );
    assert_eq!(asked(get("/explain"), &ask, Access::Socket).status(), 400);
    assert_eq!(
        asked(get("/events?request=NOPE"), &ask, Access::Socket).status(),
        404
    );
    assert_eq!(
        asked(get("/events?recent=x"), &ask, Access::Socket).status(),
        400
    );
    assert_eq!(
        body(asked(get("/events?recent=0"), &ask, Access::Socket)),
        "[]\n"
    );
}

fn post(path: &str) -> http::request::Builder {
    Request::post(path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
}

fn ban(body: &str) -> Request<Full<Bytes>> {
    post("/ban")
        .body(Full::from(body.to_owned()))
        .expect("a request")
}

const BODY: &str = r#"{"prefix":"203.0.113.9","for":"10m"}"#;
const OPS: &str = "0123456789abcdef";
const EYE: &str = "fedcba9876543210";

/// `ops` may ban, `eye` may read.
fn tokens() -> (tempfile::TempDir, Tokens) {
    let dir = tempfile::tempdir().expect("a directory");
    let flags = aegis_settings::Flags {
        origins: vec!["http://127.0.0.1:1".to_owned()],
        ..Default::default()
    };
    let validated = aegis_settings::from_flags(&flags).expect("good flags");
    let mut admin = validated.settings.node.admin.clone();
    for (name, secret, role) in [("ops", OPS, AdminRole::Ban), ("eye", EYE, AdminRole::Read)] {
        let path = dir.path().join(name);
        std::fs::write(&path, secret).expect("writes");
        admin.tokens.push(AdminToken {
            name: name.to_owned(),
            secret: Secret::File(path),
            roles: vec![role],
        });
    }
    let tokens = Tokens::load(&admin).expect("good tokens");
    (dir, tokens)
}

fn showing(secret: &str, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let value = format!("Bearer {secret}").parse().expect("a value");
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

#[test]
fn without_tokens_the_operators_of_the_machine_change_and_whoever_opens_the_socket_reads() {
    let book = Arc::<Book>::default();
    let ask = ask_with(Tokens::default(), Arc::clone(&book));
    assert_eq!(asked(ban(BODY), &ask, Access::Socket).status(), 200);
    let root = Peer {
        uid: Some(0),
        pid: None,
    };
    assert_eq!(
        asked_by(root, ban(BODY), &ask, Access::Socket).status(),
        200
    );
    assert_eq!(
        asked_by(STRANGER, ban(BODY), &ask, Access::Socket).status(),
        403
    );
    assert_eq!(
        asked_by(Peer::default(), ban(BODY), &ask, Access::Socket).status(),
        403
    );
    assert_eq!(
        asked_by(STRANGER, get("/status"), &ask, Access::Socket).status(),
        200
    );
    let authors: Vec<_> = book
        .0
        .lock()
        .iter()
        .map(|(_, author)| author.clone())
        .collect();
    assert_eq!(authors.len(), 2);
    assert_eq!(authors[1], "root");
}

#[test]
fn with_tokens_a_change_needs_one_with_the_role_and_strangers_need_one_to_read() {
    let (_dir, tokens) = tokens();
    let book = Arc::<Book>::default();
    let ask = ask_with(tokens, Arc::clone(&book));
    let status = |peer, request| {
        asked_by(peer, request, &ask, Access::Socket)
            .status()
            .as_u16()
    };
    assert_eq!(status(operator(), ban(BODY)), 401);
    assert_eq!(status(STRANGER, showing(OPS, ban(BODY))), 200);
    assert_eq!(status(operator(), showing(EYE, ban(BODY))), 403);
    assert_eq!(
        status(operator(), showing("0123456789abcdeX", ban(BODY))),
        401
    );
    assert_eq!(status(operator(), get("/status")), 200);
    assert_eq!(status(STRANGER, get("/status")), 401);
    assert_eq!(status(STRANGER, showing(EYE, get("/events?recent=0"))), 200);
    assert_eq!(
        status(STRANGER, showing(OPS, get("/why?ip=203.0.113.9"))),
        403
    );
    for open in ["/livez", "/metrics"] {
        assert_eq!(status(STRANGER, get(open)), 200, "{open}");
    }
    let (_, author) = book.0.lock()[0].clone();
    assert_eq!(author, "ops");
    assert_eq!(book.0.lock().len(), 1);
}

#[test]
fn a_change_is_a_post_of_json_of_bounded_size_on_the_socket() {
    let ask = ask();
    let status = |request| asked(request, &ask, Access::Socket).status().as_u16();
    let mut form = ban(BODY);
    form.headers_mut().remove(CONTENT_TYPE);
    assert_eq!(status(form), 415);
    let mut form = ban(BODY);
    let kind = HeaderValue::from_static("text/plain; application/json");
    form.headers_mut().insert(CONTENT_TYPE, kind);
    assert_eq!(status(form), 415);
    assert_eq!(status(ban("{")), 400);
    assert_eq!(status(ban("")), 400);
    assert_eq!(
        status(ban(&format!(
            "{}{BODY}",
            " ".repeat((16 << 10) - BODY.len())
        ))),
        200
    );
    assert_eq!(
        status(ban(&format!(
            "{}{BODY}",
            " ".repeat((16 << 10) - BODY.len() + 1)
        ))),
        413
    );
    let refused = asked(get("/ban"), &ask, Access::Socket);
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()[ALLOW]),
        (405, &HeaderValue::from_static("POST"))
    );
    assert_eq!(asked(ban(BODY), &ask, Access::Loopback).status(), 405);
    let mut rebound = ban(BODY);
    let host = HeaderValue::from_static("evil.example.com");
    rebound.headers_mut().insert(HOST, host);
    assert_eq!(status(rebound), 421);
}

#[test]
fn what_cannot_be_done_says_why_and_every_try_is_written_down() {
    let ask = ask();
    let status = |request| asked(request, &ask, Access::Socket).status().as_u16();
    assert_eq!(status(ban(r#"{"prefix":"127.0.0.1"}"#)), 409);
    assert_eq!(status(ban(r#"{"prefix":"127.0.0.1","force":true}"#)), 200);
    let unban = post("/unban")
        .body(Full::from(r#"{"prefix":"203.0.113.1"}"#))
        .expect("a request");
    assert_eq!(status(unban), 404);
    let audits = ring::global().recent(1000);
    let said = |action: &str, mode: &str, detail: &str| {
        audits.iter().any(|entry| {
            entry.action == "audit"
                && entry.target == action
                && entry.mode == mode
                && entry.rules[0].message == detail
        })
    };
    assert!(said("/ban", "refused", "ban 127.0.0.1 for 1d: by hand"));
    assert!(said(
        "/ban",
        "done",
        "ban 127.0.0.1 for 1d, forced: by hand"
    ));
    assert!(said("/unban", "refused", "unban 203.0.113.1"));
}

#[test]
fn why_and_verdicts_answer_questions() {
    let ask = ask();
    let text = |path: &str| body(asked(get(path), &ask, Access::Socket));
    assert_eq!(
        text("/why?ip=2001:db8::1"),
        "{\"address\":\"2001:db8::1\"}\n"
    );
    assert_eq!(
        text("/verdicts?from=7&limit=5000&site=shop"),
        "{\"from\":7,\"limit\":1000,\"site\":\"shop\"}\n"
    );
    for path in [
        "/why",
        "/why?ip=x",
        "/verdicts?from=-1",
        "/verdicts?limit=x",
    ] {
        assert_eq!(
            asked(get(path), &ask, Access::Socket).status(),
            400,
            "{path}"
        );
    }
}
