//! Sites that ask clients for certificates: who gets in, by which door, and what the origin is told.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::certs::{Authority, Pair, openssl};
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use e2e::clients::{asking, before, origin, shown, site};
use e2e::s_client::Call;
use serde_json::json;
use std::fs;

fn refused(aegis: &Aegis, reason: &str) -> f64 {
    aegis.metrics().sum(
        "aegis_connections_refused_total",
        &[&format!("reason=\"{reason}\"")],
    )
}

#[test]
fn who_shows_a_certificate_of_the_authority_gets_in_and_the_origin_learns_who_it_is() {
    let (origin, authority, stranger) = (origin(), Authority::new(), Authority::new());
    let mut auth = asking(&authority);
    auth["forward"] = json!(["certificate", "subject", "fingerprint"]);
    let aegis = before(&origin, &auth).start();
    let (anna, eve) = (authority.issue(&["anna"]), stranger.issue(&["anna"]));

    for http2 in [true, false] {
        let curl = aegis.curl_tls("private.test", "/in");
        let curl = if http2 { curl.http2() } else { curl.http1() };
        assert_eq!(curl.send().status, 0, "no certificate");
        assert_eq!(shown(curl.clone(), &eve).send().status, 0, "a stranger's");
        assert_eq!(shown(curl, &anna).send().status, 200);
    }
    assert_eq!(origin.hits("/in"), 2);
    assert!(refused(&aegis, "no_client_certificate") >= 2.0);
    assert!(refused(&aegis, "client_certificate") >= 2.0);

    let path = anna.cert.display().to_string();
    let base64: String = fs::read_to_string(&anna.cert)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let digest = openssl(&["x509", "-in", &path, "-noout", "-fingerprint", "-sha256"]);
    let digest = digest
        .rsplit('=')
        .next()
        .unwrap()
        .trim()
        .replace(':', "")
        .to_ascii_lowercase();
    let told = origin.last();
    assert_eq!(told.header("client-cert"), format!(":{base64}:"));
    assert_eq!(told.header("x-client-cert-subject"), "CN=anna");
    assert_eq!(told.header("x-client-cert-fingerprint"), digest);
    let line = aegis.logged("/in");
    assert_eq!(line["client_cert"], "CN=anna");
    assert_eq!(line["client_cert_sha256"], digest);
}

#[test]
fn no_client_can_write_what_the_origin_is_told() {
    let (origin, authority) = (origin(), Authority::new());
    let anna = authority.issue(&["anna"]);
    let aegis = before(
        &origin,
        &json!({ "ca": authority.cert(), "mode": "optional" }),
    )
    .start();
    let forged = [
        "Client-Cert: :AAAA:",
        "client_cert: :AAAA:",
        "CLIENT-CERT-CHAIN: :AAAA:",
        "X-Client-Cert-Subject: CN=root",
        "X_Client_Cert_Subject: CN=root",
        "X-Client_Cert-Fingerprint: 00",
        "SSL-Client-Verify: SUCCESS",
        "X-SSL-Client-DN: CN=root",
        "X-Forwarded-Client-Cert: Hash=00",
    ];
    let ask = |host: &str, pair: Option<&Pair>| {
        let mut curl = aegis.curl_tls(host, "/forged");
        for line in forged {
            curl = curl.header(line);
        }
        if let Some(pair) = pair {
            curl = shown(curl, pair);
        }
        assert_eq!(curl.send().status, 200);
        let mut fields: Vec<_> = origin
            .last()
            .headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .filter(|name| name.contains("cert") || name.contains("ssl"))
            .collect();
        fields.sort();
        fields
    };
    let none: [&str; 0] = [];
    assert_eq!(ask("open.test", None), none);
    assert_eq!(ask("open.test", Some(&anna)), none, "nobody asked for it");
    assert_eq!(ask("private.test", None), none);
    assert_eq!(ask("private.test", Some(&anna)), ["client-cert"]);
    assert!(!origin.last().header("client-cert").contains("AAAA:"));
}

#[test]
fn where_a_certificate_may_be_shown_none_is_as_good_but_a_bad_one_is_not() {
    let (origin, authority, stranger) = (origin(), Authority::new(), Authority::new());
    let aegis = before(
        &origin,
        &json!({ "ca": authority.cert(), "mode": "optional" }),
    )
    .start();
    let curl = || aegis.curl_tls("private.test", "/");
    assert_eq!(curl().send().status, 200);
    assert_eq!(origin.last().header("client-cert"), "");
    assert_eq!(shown(curl(), &stranger.issue(&["anna"])).send().status, 0);
    let expired = authority.issue_expired(&["anna"]);
    assert_eq!(shown(curl(), &expired).send().status, 0);
    assert_eq!(
        shown(curl(), &authority.issue(&["anna"])).send().status,
        200
    );
    assert_ne!(origin.last().header("client-cert"), "");
    assert_eq!(
        aegis.curl("/").header("Host: private.test").send().status,
        200,
        "plain HTTP too"
    );
}

#[test]
fn a_connection_made_for_another_name_does_not_lead_to_a_site_that_asks() {
    let (origin, authority, other) = (origin(), Authority::new(), Authority::new());
    let second = site("second.test", &origin, &asking(&other));
    let aegis = before(&origin, &asking(&authority))
        .set("sites[2]", second)
        .start();
    let (anna, bert) = (authority.issue(&["anna"]), other.issue(&["bert"]));
    for http2 in [true, false] {
        let before = origin.requests().len();
        let ask = |name: &str, host: &str, pair: Option<&Pair>| {
            let curl = aegis.curl_tls(name, "/x").header(&format!("Host: {host}"));
            let curl = if http2 { curl.http2() } else { curl.http1() };
            pair.map_or(curl.clone(), |pair| shown(curl, pair))
                .send()
                .status
        };
        assert_eq!(ask("open.test", "private.test", None), 421);
        assert_eq!(ask("open.test", "PRIVATE.test.:443", None), 421);
        assert_eq!(
            ask("open.test", "private.test", Some(&anna)),
            421,
            "it was not asked for"
        );
        assert_eq!(ask("unknown.test", "private.test", Some(&anna)), 421);
        assert_eq!(
            ask("second.test", "private.test", Some(&bert)),
            421,
            "known to another site"
        );
        assert_eq!(origin.requests().len(), before);
        assert_eq!(ask("private.test", "open.test", Some(&anna)), 200);
        assert_eq!(
            origin.last().header("client-cert"),
            "",
            "not the other site's affair"
        );
        assert_eq!(ask("second.test", "second.test", Some(&bert)), 200);
        assert_eq!(origin.requests().len(), before + 2);
    }
    assert_eq!(
        aegis.access_log_of(|line| line["status"] == 421)["error"],
        "misdirected"
    );
    // No name at all, which a client cannot send a certificate for.
    let unnamed = Call::new(aegis.tls(), "").host("private.test").show(&anna);
    assert_eq!(unnamed.send().status, 421);
}

#[test]
fn a_connection_that_goes_on_to_another_site_leads_nowhere_and_ends() {
    let (origin, authority) = (origin(), Authority::new());
    let aegis = before(&origin, &asking(&authority)).start();
    let anna = authority.issue(&["anna"]);
    let both = Call::new(aegis.tls(), "open.test").show(&anna);
    let both = both.after("open.test", "/one").host("private.test").send();
    assert_eq!(both.status, 421, "{}", both.text);
    assert!(
        both.text.to_ascii_lowercase().contains("connection: close"),
        "{}",
        both.text
    );
    assert_eq!((origin.hits("/one"), origin.hits("/s_client")), (1, 0));
}

#[test]
fn a_session_leads_to_no_other_sites_clients() {
    let (origin, authority, other) = (origin(), Authority::new(), Authority::new());
    let open_too = json!({ "hosts": ["too.test"], "origin": origin.url(), "waf": "off" });
    let aegis = before(&origin, &asking(&authority))
        .set("sites[2]", site("second.test", &origin, &asking(&other)))
        .set("sites[3]", site("third.test", &origin, &asking(&authority)))
        .set("sites[4]", open_too)
        .start();
    let (anna, bert) = (authority.issue(&["anna"]), other.issue(&["bert"]));
    for version in ["-tls1_2", "-tls1_3"] {
        let call = |name| Call::new(aegis.tls(), name).arg(&[version]);
        let session = |name: &str| aegis.dir().join(format!("{name}{version}"));
        let keep = |name| call(name).keep(&session(name));
        assert_eq!(keep("open.test").send().status, 200);
        assert_eq!(keep("private.test").show(&anna).send().status, 200);
        assert_eq!(keep("second.test").show(&bert).send().status, 200);
        let resume = |from: &str, name| call(name).resume(&session(from));

        let same = resume("open.test", "open.test").send();
        assert!(same.resumed && same.status == 200, "{}", same.text);
        let alike = resume("open.test", "too.test").send();
        assert!(alike.resumed, "neither asks: {}", alike.text);
        let from_open = resume("open.test", "private.test").send();
        assert_eq!(
            (from_open.resumed, from_open.status),
            (false, 0),
            "{}",
            from_open.text
        );
        let from_second = resume("second.test", "private.test").send();
        assert_eq!(
            (from_second.resumed, from_second.status),
            (false, 0),
            "{}",
            from_second.text
        );
        // The same authority, but another site.
        let from_private = resume("private.test", "third.test").send();
        assert_eq!(
            (from_private.resumed, from_private.status),
            (false, 0),
            "{}",
            from_private.text
        );
        let to_open = resume("private.test", "open.test").send();
        assert_eq!(
            (to_open.resumed, to_open.status),
            (false, 200),
            "{}",
            to_open.text
        );

        // Who shows nothing this time is still known, by the session.
        let again = resume("private.test", "private.test").send();
        assert!(again.resumed && again.status == 200, "{}", again.text);
        assert_ne!(origin.last().header("client-cert"), "");
    }
}

#[test]
fn over_plain_http_there_is_no_such_site_but_maybe_a_way_to_it() {
    let (origin, authority) = (origin(), Authority::new());
    let mut aegis = before(&origin, &asking(&authority)).start();
    let ask = |aegis: &Aegis| aegis.curl("/x?y").header("Host: private.test").send();
    let answer = ask(&aegis);
    assert_eq!(answer.status, 403);
    assert!(
        answer.text().contains("show a certificate"),
        "{}",
        answer.text()
    );
    aegis.rewrite(|c| {
        c.set("sites[0].https", "redirect");
    });
    let location = format!("https://private.test:{}/x?y", aegis.tls().port());
    eventually("it is redirected", || {
        (ask(&aegis).header("location") == location).then_some(())
    });
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn what_was_made_for_the_owner_of_a_certificate_is_not_stored_for_others() {
    let origin = Origin::start(|request| {
        Reply::cacheable(
            format!("for {}", request.header("x-client-cert-subject")),
            60,
        )
    });
    let authority = Authority::new();
    let auth = json!({ "ca": authority.cert(), "mode": "optional", "forward": ["subject"] });
    let aegis = before(&origin, &auth).start();
    let ask = |name: Option<&str>| {
        let curl = aegis.curl_tls("private.test", "/mine");
        name.map_or(curl.clone(), |name| shown(curl, &authority.issue(&[name])))
            .send()
            .text()
    };
    assert_eq!(ask(Some("anna")), "for CN=anna");
    assert_eq!(ask(Some("bert")), "for CN=bert");
    assert_eq!(ask(None), "for ");
    assert_eq!(ask(None), "for ");
    assert_eq!(ask(Some("anna")), "for CN=anna");
    assert_eq!(
        origin.hits("/mine"),
        4,
        "only what was made for nobody is stored"
    );
}
