//! Long texts of many clients: who asks for a page meanwhile gets it.

use aegis_testkit::{Aegis, Origin, Reply, wait};
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Text that takes the rules a second for 256 KiB: 4 ms of CPU a KiB.
fn slow_text(kib: usize) -> Vec<u8> {
    format!("q={}", "%27x".repeat((kib << 10) / 4)).into_bytes()
}

/// Ends the clients, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn long_texts_of_many_sources_keep_nobody_else_waiting() {
    let origin = Origin::start(|request| {
        let age = if request.target == "/kept" {
            "public, max-age=600"
        } else {
            "no-store"
        };
        Reply::text("hello").header("cache-control", age)
    });
    // The saturated site judges more text than others, so that a job is long beside any wait.
    let site = |host: &str, text_max: &str| json!({ "hosts": [host], "origin": origin.url(), "waf": { "text_max": text_max } });
    let aegis = Aegis::before(&origin)
        .set("node.plugins", json!({ "threads": 2, "wait_max": "500ms" }))
        .set(
            "sites",
            json!([site("busy.test", "512KiB"), site("calm.test", "128KiB")]),
        )
        .start();
    let get = |host: &str, path: &str| {
        let curl = aegis.curl(path).header(&format!("Host: {host}"));
        curl.header("User-Agent: Mozilla/5.0").send().status
    };
    assert_eq!(get("calm.test", "/kept"), 200);

    let (stop, judged) = (AtomicBool::new(false), AtomicUsize::new(0));
    // One that is read before an origin is chosen, and one that is held on the way to it.
    let texts = [slow_text(60), slow_text(256)];
    let post = |n: u8| {
        let source = Ipv4Addr::new(127, 0, 1, n).to_string();
        let curl = aegis.curl("/form").header("Host: busy.test");
        let curl = curl
            .header("User-Agent: Mozilla/5.0")
            .arg(&["--interface", &source]);
        curl.body(texts[usize::from(n % 2)].clone()).send().status
    };
    thread::scope(|scope| {
        for n in 1..7 {
            let (stop, judged, post) = (&stop, &judged, &post);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    judged.fetch_add(usize::from(post(n) != 503), Ordering::Relaxed);
                }
            });
        }
        let _stop = Stop(&stop);
        let patience = Duration::from_secs(60);
        wait::within(
            patience,
            "long texts are judged one after the other",
            || (judged.load(Ordering::Relaxed) >= 4).then_some(()),
        );
        let statuses: Vec<(&str, u16)> = (0..20)
            .flat_map(|_| {
                let small = get("busy.test", "/page?colour=blue");
                let form = aegis.curl("/form").header("Host: calm.test");
                let form = form
                    .header("User-Agent: Mozilla/5.0")
                    .body(b"name=Anna&town=Ulm");
                [
                    ("the busy site's page", small),
                    ("another site's page", get("calm.test", "/page?colour=blue")),
                    ("another site's form", form.send().status),
                    ("a cached page", get("calm.test", "/kept")),
                ]
            })
            .collect();
        let wrong: Vec<_> = statuses
            .iter()
            .filter(|(_, status)| *status != 200)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}: {}", aegis.output());
    });
}
