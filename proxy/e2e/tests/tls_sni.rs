//! Certificates by SNI, protocol versions, key shares, and certificates that change while serving.

use aegis_testkit::certs::{Authority, Pair, served_subject};
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use e2e::tls::{Offer, get};
use serde_json::{Value, json};

fn certificate(pair: &Pair) -> Value {
    json!({ "cert": pair.cert, "key": format!("file:{}", pair.key.display()) })
}

fn hello() -> Origin {
    Origin::start(|_| Reply::text("hello"))
}

#[test]
fn the_name_asked_for_chooses_the_certificate() {
    let (origin, authority) = (hello(), Authority::new());
    let pairs = ["first.test", "exact.test", "*.wild.test"].map(|n| authority.issue(&[n]));
    let aegis = Aegis::before(&origin)
        .set(
            "certificates",
            json!(pairs.iter().map(certificate).collect::<Vec<_>>()),
        )
        .start();
    for (sni, subject) in [
        ("exact.test", "exact.test"),
        ("a.wild.test", "*.wild.test"),
        ("a.b.wild.test", "first.test"),
        ("other.test", "first.test"),
    ] {
        assert_eq!(served_subject(aegis.tls(), sni), subject, "{sni}");
    }
    let trusting = aegis.curl_tls("exact.test", "/").cacert(&authority.cert());
    assert_eq!(trusting.send().status, 200);
}

#[test]
fn a_certificate_that_is_renewed_on_disk_is_served_without_a_restart() {
    let (origin, authority) = (hello(), Authority::new());
    let (old, new) = (
        authority.issue(&["old.test"]),
        authority.issue(&["new.test"]),
    );
    let aegis = Aegis::before(&origin)
        .set("certificates", json!([certificate(&old)]))
        .start();
    assert_eq!(served_subject(aegis.tls(), "x.test"), "old.test");
    std::fs::rename(&new.key, &old.key).unwrap();
    std::fs::rename(&new.cert, &old.cert).unwrap();
    eventually("the new certificate is served", || {
        (served_subject(aegis.tls(), "x.test") == "new.test").then_some(())
    });
}

#[test]
fn the_key_share_is_post_quantum_where_the_client_can() {
    let origin = hello();
    let aegis = Aegis::before(&origin).start();
    for (offered, chosen) in [
        ("X25519MLKEM768:X25519:P-256", "X25519MLKEM768"),
        ("X25519", "X25519"),
        ("P-256", "P-256"),
    ] {
        let facts = get(
            aegis.tls(),
            "shop.test",
            "/",
            &Offer {
                groups: offered.to_owned(),
                ca: None,
            },
        )
        .unwrap();
        assert_eq!(
            (facts.status, facts.version.as_str(), facts.group.as_str()),
            (200, "TLSv1.3", chosen),
            "{offered}"
        );
    }
}

#[test]
fn an_oldest_version_is_held() {
    let origin = hello();
    let aegis = Aegis::before(&origin).start();
    let old = ["--tlsv1.2", "--tls-max", "1.2"];
    assert_eq!(
        aegis.curl_tls("shop.test", "/").arg(&old).send().status,
        200
    );
    let strict = Aegis::before(&origin)
        .set("listeners[1].tls.preset", "modern")
        .start();
    assert_eq!(strict.curl_tls("shop.test", "/").arg(&old).send().exit, 35);
    assert_eq!(strict.curl_tls("shop.test", "/").send().status, 200);
}

#[test]
fn a_handshake_that_never_comes_is_closed_and_counted() {
    let origin = hello();
    let aegis = Aegis::before(&origin)
        .set("node.client.hello_timeout", "200ms")
        .set("node.client.handshake_timeout", "200ms")
        .start();
    let mut silent = aegis_testkit::raw::Raw::tcp(aegis.tls());
    assert!(silent.is_closed());
    eventually("the timeout is counted", || {
        let counted = aegis
            .metrics()
            .sum("aegis_connections_refused_total", &["handshake_timeout"]);
        (counted >= 1.0).then_some(())
    });
}
