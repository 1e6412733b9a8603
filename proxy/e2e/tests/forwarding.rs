//! Who the client is: what a trusted proxy says of it is believed, and what anybody else says is not.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use aegis_testkit::aegis::Builder;
use aegis_testkit::origin::Received;
use aegis_testkit::raw::Raw;
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::{Value, json};

fn origin() -> Origin {
    Origin::start(|request| match request.path() {
        "/page" => Reply::cacheable(request.header("x-forwarded-host"), 60),
        _ => Reply::text("hello"),
    })
}

/// Believes 127.0.0.1, from which the tests come, and 10.0.0.0/8.
fn behind_a_proxy(origin: &Origin) -> Builder {
    Aegis::before(origin).set(
        "node.client.trusted_proxies",
        json!(["127.0.0.1", "10.0.0.0/8"]),
    )
}

/// What the origin got for this path.
fn got(origin: &Origin, path: &str) -> Received {
    eventually("the origin was asked", || {
        let mut all = origin.requests().into_iter();
        all.find(|request| request.path() == path)
    })
}

fn fields(request: &Received) -> [String; 4] {
    [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
    ]
    .map(|name| request.header(name))
}

#[test]
fn what_a_stranger_says_of_himself_reaches_neither_origin_nor_log() {
    let origin = origin();
    let aegis = Aegis::before(&origin)
        .set("node.client.trusted_proxies", json!(["192.0.2.0/24"]))
        .start();
    let forged = aegis
        .curl("/forged")
        .header("Host: shop.example")
        .header("X-Forwarded-For: 203.0.113.9")
        .header("X-Forwarded-Proto: https")
        .header("X-Forwarded-Host: evil.example")
        .header("Forwarded: for=203.0.113.9;proto=https;host=evil.example")
        .header("X-Request-Id: forged");
    let answer = forged.send();
    let seen = got(&origin, "/forged");
    assert_eq!(fields(&seen), ["127.0.0.1", "http", "shop.example", ""]);
    assert_eq!(seen.header("x-request-id"), answer.header("x-request-id"));
    let line = aegis.logged("/forged");
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["peer"], Value::Null, "{line}");
    assert_eq!(line["scheme"], "http");
    assert_ne!(line["id"], "forged");
}

#[test]
fn a_chain_of_trusted_proxies_names_the_client_and_nobody_before_him_is_heard() {
    let origin = origin();
    let aegis = behind_a_proxy(&origin).start();
    let through = |path: &str, fields: &[&str]| {
        let curl = fields
            .iter()
            .fold(aegis.curl(path).header("Host: shop.example"), |curl, f| {
                curl.header(f)
            });
        assert_eq!(curl.send().status, 200);
    };
    through(
        "/x",
        &[
            "X-Forwarded-For: 6.6.6.6, 203.0.113.9",
            "X-Forwarded-For: 10.0.0.7",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: www.shop.example",
            "X-Real-IP: 6.6.6.6",
        ],
    );
    through("/none", &["X-Forwarded-Proto: https"]);
    // The client's own word, which his proxy passes on: it neither hides nor changes who he is.
    for (path, forwarded) in [
        ("/hides", "Forwarded: for=unknown"),
        (
            "/pretends",
            "Forwarded: for=6.6.6.6;proto=https;host=evil.example",
        ),
    ] {
        through(path, &[forwarded, "X-Forwarded-For: 203.0.113.9"]);
    }

    let expected = [
        (
            "/x",
            "203.0.113.9",
            [
                "203.0.113.9, 10.0.0.7, 127.0.0.1",
                "https",
                "www.shop.example",
                "",
            ],
        ),
        (
            "/hides",
            "203.0.113.9",
            ["203.0.113.9, 127.0.0.1", "http", "shop.example", ""],
        ),
        (
            "/pretends",
            "203.0.113.9",
            ["203.0.113.9, 127.0.0.1", "http", "shop.example", ""],
        ),
        (
            "/none",
            "127.0.0.1",
            ["127.0.0.1", "https", "shop.example", ""],
        ),
    ];
    for (path, client, sent) in expected {
        let seen = got(&origin, path);
        assert_eq!(fields(&seen), sent, "{path}");
        assert_eq!(seen.header("x-real-ip"), "");
        let line = aegis.logged(path);
        assert_eq!(line["client"], client);
        assert_eq!(line["scheme"], sent[1]);
        let peer = (client != "127.0.0.1").then_some("127.0.0.1");
        assert_eq!(line["peer"].as_str(), peer, "{line}");
    }
    assert_eq!(
        aegis.metrics().sum("aegis_forwarded_doubted_total", &[]),
        0.0
    );
}

#[test]
fn where_either_field_may_name_the_client_both_are_believed_as_far_as_they_agree() {
    let origin = origin();
    let aegis = behind_a_proxy(&origin)
        .set("node.client.forwarded_field", "any")
        .start();
    let both = "for=6.6.6.6, for=\"[2001:db8::9]:4711\";proto=https, for=10.0.0.7";
    for (path, forwarded, x_for, client, chain) in [
        (
            "/one",
            both,
            None,
            "2001:db8::9",
            "2001:db8::9, 10.0.0.7, 127.0.0.1",
        ),
        (
            "/differ",
            "for=6.6.6.6",
            Some("203.0.113.9"),
            "127.0.0.1",
            "127.0.0.1",
        ),
        (
            "/agree",
            "for=203.0.113.9",
            Some("203.0.113.9"),
            "203.0.113.9",
            "203.0.113.9, 127.0.0.1",
        ),
    ] {
        let curl = aegis.curl(path).header(&format!("Forwarded: {forwarded}"));
        let x_for = x_for.map(|x_for| format!("X-Forwarded-For: {x_for}"));
        let curl = x_for.iter().fold(curl, |curl, field| curl.header(field));
        assert_eq!(curl.send().status, 200);
        assert_eq!(aegis.logged(path)["client"], client);
        assert_eq!(got(&origin, path).header("x-forwarded-for"), chain);
    }
    let doubted = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        aegis
            .metrics()
            .sum("aegis_forwarded_doubted_total", &[&label])
    };
    assert_eq!([doubted("disagree"), doubted("unreadable")], [1.0, 0.0]);
}

#[test]
fn whom_to_trust_changes_while_the_node_runs() {
    let origin = origin();
    let mut aegis = behind_a_proxy(&origin).start();
    let client = |aegis: &Aegis, path: &str| {
        aegis
            .curl(path)
            .header("X-Forwarded-For: 203.0.113.9")
            .send();
        aegis.logged(path)["client"].clone()
    };
    assert_eq!(client(&aegis, "/before"), "203.0.113.9");
    aegis.rewrite(|config| {
        config.set("node.client.trusted_proxies", json!([]));
    });
    let mut asked = 0;
    eventually("nobody is trusted any more", || {
        asked += 1;
        (client(&aegis, &format!("/after/{asked}")) == "127.0.0.1").then_some(())
    });
}

#[test]
fn an_id_of_a_trusted_proxy_is_the_requests_everywhere_unless_it_could_do_harm() {
    let origin = origin();
    let aegis = behind_a_proxy(&origin).start();
    let ask = |path: &str, id: &str| {
        let answer = aegis
            .curl(path)
            .header(&format!("X-Request-Id: {id}"))
            .send();
        let ids = [
            answer.header("x-request-id").to_owned(),
            got(&origin, path).header("x-request-id"),
            aegis.logged(path)["id"].as_str().unwrap().to_owned(),
        ];
        assert_eq!(ids[0], ids[1]);
        assert_eq!(ids[0], ids[2]);
        ids[0].clone()
    };
    let good = "6f1c2f0e-8b0e-4d5e-9d3a-0c1b2a3d4e5f";
    assert_eq!(ask("/good", good), good);
    for (n, bad) in ["a b", "<script>", &"x".repeat(129)]
        .into_iter()
        .enumerate()
    {
        assert_eq!(ask(&format!("/bad/{n}"), bad).len(), 26, "{bad}");
    }
    let page = aegis
        .curl("/\u{e9}")
        .arg(&["-X", "TRACE"])
        .header("X-Request-Id: seen-on-a-page");
    let page = page.send();
    assert!(page.text().contains("seen-on-a-page"), "{}", page.text());
}

#[test]
fn answers_made_for_another_forwarded_host_or_scheme_are_other_answers() {
    let origin = origin();
    let aegis = behind_a_proxy(&origin).start();
    let ask = |host: &str, proto: &str| {
        let curl = aegis
            .curl("/page")
            .header("Host: inner")
            .header(&format!("X-Forwarded-Host: {host}"))
            .header(&format!("X-Forwarded-Proto: {proto}"));
        let answer = curl.send();
        (
            answer.text(),
            answer.header("cache-status").contains("; hit"),
        )
    };
    assert_eq!(ask("a.example", "https"), ("a.example".into(), false));
    assert_eq!(ask("evil.example", "https"), ("evil.example".into(), false));
    assert_eq!(ask("a.example", "http"), ("a.example".into(), false));
    assert_eq!(ask("A.example", "https"), ("a.example".into(), true));
}

#[test]
fn a_load_balancer_names_the_client_by_the_proxy_protocol_and_strangers_do_not_get_in() {
    let origin = origin();
    let mut aegis = behind_a_proxy(&origin)
        .set("listeners[0].proxy_protocol", "required")
        .start();
    let ask = |aegis: &Aegis, header: &[u8], path: &str, more: &str| {
        let mut client = aegis.raw();
        client.send(header);
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: shop.example\r\n{more}\r\n"
        ));
        assert_eq!(client.answer().status(), 200);
        let line = aegis.logged(path);
        (line["client"].clone(), line["peer"].clone())
    };
    let v1 = b"PROXY TCP4 203.0.113.9 198.51.100.1 4711 80\r\n";
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let (client, peer) = (json!("203.0.113.9"), json!("127.0.0.1"));
    assert_eq!(ask(&aegis, v1, "/v1", ""), (client.clone(), peer.clone()));
    assert_eq!(ask(&aegis, v2, "/v2", ""), (client.clone(), peer.clone()));
    assert_eq!(
        ask(&aegis, local, "/local", ""),
        (json!("127.0.0.1"), Value::Null)
    );
    // The client's own fields stay his own word.
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX-Request-Id: forged\r\n";
    // So they do where the load balancer does not say who he is; if it speaks for itself they are its own.
    let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";
    let unknown = b"PROXY UNKNOWN\r\n";
    let nobody = (peer.clone(), Value::Null);
    assert_eq!(ask(&aegis, unknown, "/v1/unknown", forged), nobody);
    assert_eq!(ask(&aegis, unspecified, "/v2/unspecified", forged), nobody);
    for path in ["/v1/unknown", "/v2/unspecified"] {
        let seen = got(&origin, path);
        assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
        assert_ne!(seen.header("x-request-id"), "forged");
    }
    let probe = ask(&aegis, local, "/local/forged", forged);
    assert_eq!(probe, (json!("6.6.6.6"), peer.clone()));
    assert_eq!(ask(&aegis, v1, "/forged", forged), (client, peer.clone()));
    assert_eq!(
        got(&origin, "/forged").header("x-forwarded-for"),
        "203.0.113.9"
    );
    // Unless the connection was made for a proxy that is trusted too.
    let cdn = b"PROXY TCP4 10.0.0.7 198.51.100.1 4711 80\r\n";
    assert_eq!(ask(&aegis, cdn, "/cdn", forged), (json!("6.6.6.6"), peer));
    assert_eq!(
        got(&origin, "/cdn").header("x-forwarded-for"),
        "6.6.6.6, 10.0.0.7"
    );

    aegis.rewrite(|config| {
        config.set("node.client.trusted_proxies", json!(["10.0.0.0/8"]));
    });
    eventually("127.0.0.1 is a stranger", || {
        let mut stranger = Raw::tcp(aegis.http());
        let sent = stranger.try_send(v1) && stranger.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        (!sent || stranger.try_answer().is_none()).then_some(())
    });
    let refused = aegis.metrics().sum(
        "aegis_connections_refused_total",
        &["reason=\"proxy_untrusted\""],
    );
    assert!(refused >= 1.0);
    let line = aegis.access_log_of(|line| line["kind"] == "connection");
    assert_eq!(
        [&line["client"], &line["error"]],
        ["127.0.0.1", "proxy_untrusted"]
    );
}
