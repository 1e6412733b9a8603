//! Sessions of TLS: resumed by tickets whose keys turn, and certificates of both kinds side by side.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::certs::{Authority, openssl};
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use e2e::s_client::Call;
use serde_json::json;

fn hello() -> Origin {
    Origin::start(|_| Reply::text("hello"))
}

#[test]
fn a_session_is_resumed_on_another_connection_and_counted() {
    let origin = hello();
    let aegis = Aegis::before(&origin).start();
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = aegis.dir().join(version);
        let call = || Call::new(aegis.tls(), "a.test").arg(&[option]);
        let first = call().keep(&session).send();
        assert!(!first.resumed && first.status == 200, "{}", first.text);
        let again = call().resume(&session).send();
        assert!(again.resumed && again.status == 200, "{}", again.text);
        let count = |resumed: &str| {
            let labels = [&*format!("version=\"{version}\""), resumed];
            aegis.metrics().sum("aegis_tls_handshakes_total", &labels)
        };
        assert_eq!(
            [count("resumed=\"no\""), count("resumed=\"yes\"")],
            [1.0, 1.0],
            "{version}"
        );
    }
}

#[test]
fn a_ticket_is_good_for_other_certificates_and_after_a_reload() {
    let (origin, authority) = (hello(), Authority::new());
    let pairs = ["one.test", "two.test"].map(|name| authority.issue(&[name]));
    let certificates: Vec<_> = pairs
        .iter()
        .map(|pair| json!({ "cert": pair.cert, "key": format!("file:{}", pair.key.display()) }))
        .collect();
    let mut aegis = Aegis::before(&origin)
        .set("certificates", certificates)
        .start();
    let session = aegis.dir().join("session");
    assert_eq!(
        Call::new(aegis.tls(), "two.test")
            .keep(&session)
            .send()
            .status,
        200
    );
    aegis.rewrite(|c| {
        c.set(
            "sites[0].routes",
            json!([{ "match": { "path": "/new" }, "respond": {} }]),
        )
        .set("listeners[1].tls.http2", false);
    });
    eventually("the edit is live", || {
        (aegis.curl("/new").send().text().is_empty()).then_some(())
    });
    let again = Call::new(aegis.tls(), "two.test").resume(&session).send();
    assert!(again.resumed && again.status == 200, "{}", again.text);
}

#[test]
fn a_ticket_ends_with_its_key() {
    let origin = hello();
    let aegis = Aegis::before(&origin)
        .set("node.tls.ticket_rotation", "1s")
        .start();
    let session = aegis.dir().join("session");
    assert_eq!(
        Call::new(aegis.tls(), "a.test")
            .keep(&session)
            .send()
            .status,
        200
    );
    eventually("two rotations are over", || {
        let again = Call::new(aegis.tls(), "a.test").resume(&session).send();
        assert_eq!(again.status, 200, "{}", again.text);
        (!again.resumed).then_some(())
    });
}

#[test]
fn no_restart_knows_the_keys_of_before() {
    let origin = hello();
    let mut aegis = Aegis::before(&origin).start();
    let session = aegis.dir().join("session");
    assert_eq!(
        Call::new(aegis.tls(), "a.test")
            .keep(&session)
            .send()
            .status,
        200
    );
    aegis.restart(|_| {});
    aegis.wait_ready();
    let again = Call::new(aegis.tls(), "a.test").resume(&session).send();
    assert_eq!(
        (again.resumed, again.status),
        (false, 200),
        "{}",
        again.text
    );
}

#[test]
fn a_client_is_shown_the_kind_of_certificate_it_can_check() {
    let origin = hello();
    let builder = Aegis::before(&origin);
    let certificates: Vec<_> = [("rsa", "rsa:2048"), ("ec", "ec")]
        .iter()
        .map(|(name, kind)| {
            let path = |end: &str| {
                builder
                    .dir()
                    .join(format!("{name}.{end}"))
                    .display()
                    .to_string()
            };
            let (cert, key) = (path("pem"), path("key"));
            let mut args = vec![
                "req",
                "-x509",
                "-newkey",
                kind,
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=a.test",
            ];
            args.extend([
                "-addext",
                "subjectAltName=DNS:a.test",
                "-keyout",
                &key,
                "-out",
                &cert,
            ]);
            if *kind == "ec" {
                args.extend(["-pkeyopt", "ec_paramgen_curve:P-256"]);
            }
            openssl(&args);
            json!({ "cert": cert, "key": format!("file:{key}") })
        })
        .collect();
    let aegis = builder.set("certificates", certificates).start();
    for version in ["-tls1_2", "-tls1_3"] {
        for (algorithms, kind) in [
            ("ECDSA+SHA256:RSA-PSS+SHA256", "id-ecPublicKey"),
            ("RSA-PSS+SHA256:RSA+SHA256", "rsaEncryption"),
        ] {
            let call = Call::new(aegis.tls(), "a.test").arg(&[version, "-sigalgs", algorithms]);
            let called = call.send();
            assert_eq!(called.status, 200, "{}", called.text);
            assert!(
                called.text.contains(&format!("PKEY: {kind}")),
                "{kind}: {}",
                called.text
            );
        }
    }
}
