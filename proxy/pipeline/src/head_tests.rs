use super::{check_loop, field, from_origin, to_client, to_origin};
use crate::ctx::Ctx;
use crate::fault::Fault;
use bytes::Bytes;
use http::Version;
use pingora_http::{RequestHeader, ResponseHeader};

fn request(target: &str, fields: &[(&'static str, &'static str)]) -> RequestHeader {
    let mut head = RequestHeader::build("GET", target.as_bytes(), None).expect("a head");
    for (name, value) in fields {
        head.append_header(*name, *value).expect("a field");
    }
    head
}

fn response(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
    let mut head = ResponseHeader::build(status, None).expect("a head");
    for (name, value) in fields {
        head.append_header(*name, *value).expect("a field");
    }
    head
}

fn names(head: &ResponseHeader) -> Vec<&str> {
    head.headers.keys().map(http::HeaderName::as_str).collect()
}

#[test]
fn what_the_client_claims_about_itself_is_replaced() {
    let mut head = request(
        "/",
        &[
            ("Host", "Shop.example:80"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-For", "5.6.7.8"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("Forwarded", "for=1.2.3.4"),
            ("X-Real-IP", "1.2.3.4"),
            ("X-Request-Id", "mine"),
            ("Via", "1.0 other"),
        ],
    );
    let ctx = Ctx::new();
    to_origin(&mut head, &ctx, Some("Shop.example:80")).expect("a head");
    let all = |name: &str| {
        head.headers
            .get_all(name)
            .iter()
            .map(|v| v.to_str().expect("text"))
            .collect::<Vec<_>>()
    };
    assert_eq!(all("host"), ["Shop.example:80"], "Host goes on as received");
    assert_eq!(all("x-forwarded-for"), ["0.0.0.0"]);
    assert_eq!(all("x-forwarded-proto"), ["http"]);
    assert_eq!(all("x-forwarded-host"), ["Shop.example:80"]);
    assert_eq!(all("x-request-id"), [ctx.id.as_str()]);
    assert_eq!(all("via"), ["1.0 other", "1.1 aegis"]);
    assert!(all("forwarded").is_empty() && all("x-real-ip").is_empty());
}

#[test]
fn no_spelling_of_a_claim_that_an_origin_could_read_gets_through() {
    let claims = [
        "X-Rewrite-URL",
        "X-Original-Host",
        "X-Host",
        "X-Forwarded-Scheme",
        "X-Forwarded-Ssl",
        "X-Forwarded-User",
        "Front-End-Https",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "Fastly-Client-IP",
        "Client-Cert",
        "Client-Cert-Chain",
        "X-Client-Cert",
        "X-Client-Cert-Subject",
        "X-Client-Cert-Fingerprint",
        "SSL-Client-Verify",
        "SSL-Client-Subject-DN",
        "X-SSL-Client-DN",
        "X-SSL-Cert",
        "X-Forwarded-Client-Cert",
    ];
    let ours = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Request-Id",
        "Traceparent",
    ];
    let mut head = request("/", &[]);
    for name in claims.iter().chain(&ours) {
        for name in [
            (*name).to_owned(),
            name.replace('-', "_"),
            name.replacen('-', "_", 1),
        ] {
            head.append_header(name, "claimed").expect("a field");
        }
    }
    let honest = [
        "x-hostname",
        "x_host2",
        "x-forwarded",
        "cookie",
        "true",
        "x-client",
    ];
    for name in honest {
        head.append_header(name, "honest").expect("a field");
    }
    to_origin(&mut head, &Ctx::new(), Some("shop.example")).expect("a head");
    assert!(
        head.headers.values().all(|value| value != "claimed"),
        "{head:?}"
    );
    let kept = head.headers.values().filter(|value| *value == "honest");
    assert_eq!(kept.count(), honest.len());
    assert_eq!(
        head.headers.len(),
        honest.len() + ours.len() + 1,
        "{head:?}"
    );
}

#[test]
fn an_absolute_target_becomes_a_path_and_a_host() {
    let mut head = request("http://shop.example/a?b=c", &[]);
    to_origin(&mut head, &Ctx::new(), Some("shop.example")).expect("a head");
    assert_eq!(head.raw_path(), b"/a?b=c");
    assert_eq!(head.headers["host"], "shop.example");
}

#[test]
fn a_request_that_comes_round_too_often_is_ended() {
    let hops = |n| {
        let mut head = request("/", &[("Via", "1.1 aegis.example, 1.1 other")]);
        for _ in 0..n {
            head.append_header("Via", "1.1 aegis, 2 aegis")
                .expect("a field");
        }
        check_loop(&head.headers)
    };
    assert_eq!(hops(3), Ok(()));
    assert_eq!(hops(4), Err(Fault::Loop));
}

#[test]
fn fields_of_the_origins_connection_stay_there() {
    let mut head = response(
        200,
        &[
            ("Connection", "keep-alive, X-Hop, Content-Length"),
            ("Keep-Alive", "timeout=5"),
            ("X-Hop", "1"),
            ("Upgrade", "h2c"),
            ("Trailer", "X-Sum"),
            ("Content-Length", "3"),
            ("Server", "nginx"),
        ],
    );
    from_origin(&mut head);
    assert_eq!(names(&head), ["content-length", "server"]);
}

#[test]
fn a_protocol_switch_keeps_its_fields() {
    let mut head = response(101, &[("Connection", "Upgrade"), ("Upgrade", "websocket")]);
    from_origin(&mut head);
    assert_eq!(names(&head), ["connection", "upgrade"]);
}

#[test]
fn http_1_0_gets_no_chunks() {
    let mut ctx = Ctx::new();
    ctx.version = Version::HTTP_10;
    let mut head = response(200, &[("Transfer-Encoding", "chunked")]);
    assert!(to_client(&mut head, &ctx).expect("a head"));
    assert!(!head.headers.contains_key("transfer-encoding"));
}

#[test]
fn a_module_cannot_set_the_framing() {
    let make = |name: &'static str, value: &'static [u8]| {
        field(&Bytes::from(name), &Bytes::from(value)).is_some()
    };
    assert!(make("X-Ok", b"1"));
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "connection",
        "a b",
        "",
    ] {
        assert!(!make(name, b"1"), "{name}");
    }
    assert!(!make("X-Bad", b"a\r\nb"));
}
