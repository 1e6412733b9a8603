//! Authorities and revocation lists: taken as they change, refused when they are none, kept when they are late.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::certs::{Authority, Pair};
use aegis_testkit::{Aegis, eventually};
use e2e::clients::{before, origin, shown};
use e2e::s_client::Call;
use serde_json::json;
use std::fs;

fn last_problems(aegis: &Aegis) -> String {
    aegis.admin("/status")["config"]["last_try"]["problems"].to_string()
}

#[test]
fn who_is_revoked_is_out_at_once_on_open_connections_too() {
    let (origin, authority) = (origin(), Authority::new());
    let (anna, bert) = (authority.issue(&["anna"]), authority.issue(&["bert"]));
    let builder = before(
        &origin,
        &json!({ "ca": authority.cert(), "crl": "list.crl" }),
    );
    fs::copy(
        authority.revocation_list(&[]),
        builder.dir().join("list.crl"),
    )
    .unwrap();
    let aegis = builder.start();
    let ask = |pair: &Pair| {
        shown(aegis.curl_tls("private.test", "/"), pair)
            .send()
            .status
    };
    assert_eq!([ask(&anna), ask(&bert)], [200, 200]);

    let session = aegis.dir().join("session");
    assert_eq!(
        Call::new(aegis.tls(), "private.test")
            .keep(&session)
            .show(&anna)
            .send()
            .status,
        200
    );
    let new = aegis.dir().join("list.new");
    fs::copy(authority.revocation_list(&[&anna]), &new).unwrap();
    fs::rename(new, aegis.dir().join("list.crl")).unwrap();
    eventually("anna is out", || (ask(&anna) == 0).then_some(()));
    assert_eq!(ask(&bert), 200);
    let resumed = Call::new(aegis.tls(), "private.test")
        .resume(&session)
        .send();
    assert_eq!(
        (resumed.resumed, resumed.status),
        (false, 0),
        "{}",
        resumed.text
    );
}

#[test]
fn a_list_that_is_none_is_refused_by_name_and_the_old_one_holds() {
    let (origin, authority, stranger) = (origin(), Authority::new(), Authority::new());
    let (anna, bert) = (authority.issue(&["anna"]), authority.issue(&["bert"]));
    let builder = before(
        &origin,
        &json!({ "ca": authority.cert(), "crl": "list.crl" }),
    );
    let good = fs::read(authority.revocation_list(&[&anna])).unwrap();
    let aegis = builder.file("list.crl", &good).start();
    let read = |path: std::path::PathBuf| fs::read(path).unwrap();
    let cut = good[..good.len() / 2].to_vec();
    let mut damaged = good.clone();
    damaged[60] ^= 1;
    for (content, problem) in [
        (b"nonsense".to_vec(), "list.crl holds no revocation list"),
        (
            cut,
            "list.crl holds a revocation list that cannot be read: its last line is missing",
        ),
        (damaged, "list.crl"),
        (
            read(stranger.revocation_list(&[])),
            "is signed by no authority in",
        ),
        (
            read(authority.revocation_list_expired(&[])),
            "list.crl expired on Feb  1 00:00:00 2020 GMT",
        ),
    ] {
        fs::write(aegis.dir().join("list.new"), &content).unwrap();
        fs::rename(aegis.dir().join("list.new"), aegis.dir().join("list.crl")).unwrap();
        eventually(format!("refused: {problem}"), || {
            let said = last_problems(&aegis);
            (said.contains("sites[0].client_auth.crl") && said.contains(problem)).then_some(())
        });
        let ask = |pair: &Pair| {
            shown(aegis.curl_tls("private.test", "/"), pair)
                .send()
                .status
        };
        assert_eq!([ask(&anna), ask(&bert)], [0, 200], "{problem}");
    }
    let check = |crl: std::path::PathBuf| {
        let auth = json!({ "ca": authority.cert(), "crl": crl });
        before(&origin, &auth).check()
    };
    assert_eq!(
        check(authority.revocation_list_expired(&[])).status.code(),
        Some(78)
    );
    assert_eq!(check(authority.revocation_list(&[])).status.code(), Some(0));
}

#[test]
fn authorities_are_taken_from_a_new_file_and_kept_across_a_restart_without_it() {
    let (origin, one, two) = (origin(), Authority::new(), Authority::new());
    let (anna, bert) = (one.issue(&["anna"]), two.issue(&["bert"]));
    let builder = before(&origin, &json!({ "ca": "ca.pem" }));
    let mut aegis = builder
        .file("ca.pem", fs::read(one.cert()).unwrap())
        .start();
    let ask = |aegis: &Aegis, pair: &Pair| {
        shown(aegis.curl_tls("private.test", "/"), pair)
            .send()
            .status
    };
    assert_eq!([ask(&aegis, &anna), ask(&aegis, &bert)], [200, 0]);
    fs::write(aegis.dir().join("ca.new"), fs::read(two.cert()).unwrap()).unwrap();
    fs::rename(aegis.dir().join("ca.new"), aegis.dir().join("ca.pem")).unwrap();
    eventually("the other authority counts", || {
        (ask(&aegis, &bert) == 200).then_some(())
    });
    assert_eq!(ask(&aegis, &anna), 0);
    aegis.restart(|dir| fs::remove_file(dir.join("ca.pem")).unwrap());
    aegis.wait_ready();
    assert_eq!([ask(&aegis, &anna), ask(&aegis, &bert)], [0, 200]);
}

#[test]
fn a_list_that_ended_while_it_was_in_force_goes_on_counting() {
    let (origin, authority) = (origin(), Authority::new());
    let (anna, bert) = (authority.issue(&["anna"]), authority.issue(&["bert"]));
    let crl = authority.revocation_list_expired(&[&anna]);
    // As after a restart in the night.
    let aegis = before(&origin, &json!({ "ca": authority.cert(), "crl": crl })).start();
    let ask = |pair: &Pair| {
        shown(aegis.curl_tls("private.test", "/"), pair)
            .send()
            .status
    };
    assert_eq!([ask(&anna), ask(&bert)], [0, 200]);
    let said = eventually("it is said", || {
        Some(aegis.output()).filter(|said| said.contains("SERVED ALL THE SAME"))
    });
    assert!(said.contains("a revocation list in"), "{said}");
    assert_eq!(
        aegis.metrics().sum("aegis_certificates_out_of_time", &[]),
        1.0
    );
}

#[test]
fn an_authority_without_a_list_lets_nobody_in_beside_one_that_has() {
    let (origin, with, without) = (origin(), Authority::new(), Authority::new());
    let (anna, bert) = (with.issue(&["anna"]), without.issue(&["bert"]));
    let both = [with.cert(), without.cert()].map(|path| fs::read_to_string(path).unwrap());
    let crl = with.revocation_list(&[]);
    let builder = before(&origin, &json!({ "ca": "both.pem", "crl": crl }));
    let aegis = builder.file("both.pem", both.concat()).start();
    let ask = |pair: &Pair| {
        shown(aegis.curl_tls("private.test", "/"), pair)
            .send()
            .status
    };
    assert_eq!([ask(&anna), ask(&bert)], [200, 0]);
}
