//! Listeners come, change and go while clients are served; all of an edit, or nothing of it.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::raw::{self, Raw};
use aegis_testkit::{Aegis, Origin, Reply, eventually, ports};
use serde_json::json;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

fn origin() -> Origin {
    Origin::start(|request| {
        let wait = if request.path() == "/slow" { 2_000 } else { 0 };
        Reply::text("hello").after(Duration::from_millis(wait))
    })
}

fn answers(address: SocketAddr) -> bool {
    raw::try_get(address, "/").is_some_and(|answer| answer.status() == 200)
}

fn is_closed(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

fn problems(aegis: &Aegis) -> String {
    aegis.admin("/status")["config"]["last_try"]["problems"].to_string()
}

#[test]
fn a_listener_is_added_and_taken_away_without_a_restart() {
    let (origin, more) = (origin(), ports::free_address());
    let mut aegis = Aegis::before(&origin).start();
    let pid = aegis.process().id();
    assert!(is_closed(more));
    aegis.rewrite(|c| {
        c.set("listeners[2]", json!({ "address": more.to_string() }));
    });
    eventually("it answers", || answers(more).then_some(()));
    let told = aegis.admin("/status")["node"]["listeners"].to_string();
    assert!(told.contains(&more.to_string()), "{told}");

    let mut open = Raw::tcp(more);
    assert_eq!(open.get("a", "/").status(), 200);
    aegis.rewrite(|c| {
        c.set("listeners", json!([{ "address": more.to_string() }]));
    });
    let (http, tls) = (aegis.http(), aegis.tls());
    eventually("the others are closed", || {
        (is_closed(http) && is_closed(tls)).then_some(())
    });
    assert_eq!(
        open.get("a", "/").status(),
        200,
        "a kept one loses no connection"
    );
    assert!(answers(more));
    assert_eq!(aegis.process().id(), pid);
}

#[test]
fn a_request_in_flight_outlives_its_listener() {
    let origin = origin();
    let mut aegis = Aegis::before(&origin).start();
    let plain = json!({ "address": aegis.http().to_string() });
    let tls = json!({ "address": aegis.tls().to_string(), "tls": {} });
    for (request, address, rest) in [
        (aegis.curl("/slow"), aegis.http(), &tls),
        (
            aegis.curl_tls("a.test", "/slow").http2(),
            aegis.tls(),
            &plain,
        ),
    ] {
        let seen = origin.hits("/slow");
        let in_flight = thread::spawn(move || request.send());
        eventually("the request reached the origin", || {
            (origin.hits("/slow") > seen).then_some(())
        });
        aegis.rewrite(|c| {
            c.set("listeners", json!([rest]));
        });
        eventually("the listener is closed", || {
            is_closed(address).then_some(())
        });
        let answer = in_flight.join().unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "hello"),
            "{answer:?}"
        );
        aegis.rewrite(|c| {
            c.set("listeners", json!([plain, tls]));
        });
        eventually("it is open again", || (!is_closed(address)).then_some(()));
    }
}

#[test]
fn connections_of_a_listener_that_went_are_cut_when_the_grace_is_over() {
    let origin = origin();
    let mut aegis = Aegis::before(&origin)
        .set("node.shutdown.grace", "300ms")
        .start();
    let mut idle = aegis.raw();
    assert_eq!(idle.get("a", "/").status(), 200);
    let tls = aegis.tls().to_string();
    aegis.rewrite(|c| {
        c.set("listeners", json!([{ "address": tls, "tls": {} }]));
    });
    assert!(idle.is_closed());
    assert_eq!(aegis.curl_tls("a.test", "/").send().status, 200);
}

#[test]
fn an_address_in_use_refuses_the_whole_edit_and_the_old_set_stays() {
    let (origin, more) = (origin(), ports::free_address());
    let mut aegis = Aegis::before(&origin).start();
    let taken = TcpListener::bind(ports::free_address()).unwrap();
    let taken_at = taken.local_addr().unwrap();
    aegis.rewrite(|c| {
        c.set(
            "listeners",
            json!([{ "address": more.to_string() }, { "address": taken_at.to_string() }]),
        )
        .set("sites[0].hosts", json!(["new.test"]));
    });
    let problems = eventually("it is refused", || {
        Some(problems(&aegis)).filter(|problems| problems.contains("in use"))
    });
    let expected = format!(
        "{taken_at} is already in use; stop what listens there (ss -ltnp shows it) or choose another port"
    );
    assert!(problems.contains(&expected), "{problems}");
    assert!(is_closed(more), "not even what could be had was taken");
    assert_eq!(aegis.get("/").status, 200, "hosts are as before");
    assert_eq!(aegis.curl_tls("a.test", "/").send().status, 200);

    // Once it is free, SIGHUP tries again.
    drop(taken);
    aegis.process().signal(aegis_testkit::process::Signal::HUP);
    eventually("both answer", || {
        let ask = |address: SocketAddr| raw::try_get(address, "/").map(|answer| answer.status());
        (ask(more) == Some(404) && ask(taken_at) == Some(404)).then_some(())
    });
}

#[test]
fn tls_is_changed_on_an_address_that_stays_and_nobody_is_cut() {
    let origin = origin();
    let mut aegis = Aegis::before(&origin).start();
    let ask = |aegis: &Aegis| {
        let old = aegis
            .curl_tls("a.test", "/")
            .arg(&["--tls-max", "1.2"])
            .send();
        let new = aegis.curl_tls("a.test", "/").http2().send();
        (old.status, new.status, new.version)
    };
    assert_eq!(ask(&aegis), (200, 200, "2".into()));
    let mut open = Raw::over(e2e::tls::open(aegis.tls(), "a.test").unwrap());
    assert_eq!(open.get("a.test", "/").status(), 200);
    aegis.rewrite(|c| {
        c.set(
            "listeners[1].tls",
            json!({ "preset": "modern", "http2": false }),
        );
    });
    eventually("the new side counts", || {
        (ask(&aegis) == (0, 200, "1.1".into())).then_some(())
    });
    assert_eq!(open.get("a.test", "/").status(), 200);

    // And whether there is TLS at all.
    let mut plain = aegis.raw();
    assert_eq!(plain.get("a", "/").status(), 200);
    aegis.rewrite(|c| {
        c.set("listeners[0].tls", json!({}))
            .remove("listeners[1].tls");
    });
    let (http, tls) = (aegis.http(), aegis.tls());
    eventually("they have changed places", || answers(tls).then_some(()));
    assert!(!answers(http));
    assert_eq!(plain.get("a", "/").status(), 200);
    assert_eq!(open.get("a.test", "/").status(), 200);
}

#[test]
fn an_address_gives_way_to_a_wider_one_and_that_to_it_again() {
    let origin = origin();
    let mut aegis = Aegis::before(&origin).start();
    let (port, http) = (aegis.http().port(), aegis.http());
    let tls = json!({ "address": aegis.tls().to_string(), "tls": {} });
    let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
    for (address, over_v6) in [
        (format!("[::]:{port}"), true),
        (format!("0.0.0.0:{port}"), false),
        (format!("127.0.0.1:{port}"), false),
    ] {
        aegis.rewrite(|c| {
            c.set("listeners", json!([{ "address": address }, tls.clone()]));
        });
        eventually(format!("{address} is in force"), || {
            let told = aegis.admin("/status")["node"]["listeners"].to_string();
            told.contains(&address).then_some(())
        });
        assert!(answers(http), "{address}");
        eventually(
            format!("IPv6 is served by the wide one alone: {address}"),
            || (answers(v6) == over_v6).then_some(()),
        );
    }
}

#[test]
fn overlapping_listeners_are_refused_with_both_keys() {
    let origin = origin();
    let mut aegis = Aegis::before(&origin).start();
    let port = aegis.http().port();
    for (first, second, said) in [
        (
            format!("[::]:{port}"),
            format!("0.0.0.0:{port}"),
            "listeners[1].address 0.0.0.0:",
        ),
        (
            format!("127.0.0.1:{port}"),
            format!("127.0.0.1:{port}"),
            "is also listeners[0].address",
        ),
    ] {
        aegis.rewrite(|c| {
            c.set(
                "listeners",
                json!([{ "address": first }, { "address": second }]),
            );
        });
        eventually(format!("refused: {said}"), || {
            problems(&aegis).contains(said).then_some(())
        });
        assert_eq!(aegis.get("/").status, 200);
    }
}
