//! When the WAF itself cannot: nothing passes unseen unless the site says so.

use aegis_testkit::{Aegis, Origin, Reply, eventually, raw};
use e2e::load;
use serde_json::json;
use std::time::Duration;

fn origin() -> Origin {
    Origin::start(|_| Reply::text("hello").header("cache-control", "no-store"))
}

#[test]
fn a_full_queue_denies_or_allows_as_the_site_says_and_is_counted() {
    let origin = origin();
    // Of responses nothing is judged here: a full queue would deny those too, and their requests have arrived.
    let waf = |on_error: &str| json!({ "on_error": on_error, "inspect_response": "off" });
    let site = |host: &str, on_error: &str| json!({ "hosts": [host], "origin": origin.url(), "waf": waf(on_error) });
    let aegis = Aegis::before(&origin)
        .set(
            "node.plugins",
            json!({ "threads": 1, "queue_max": 1, "wait_max": "1ms" }),
        )
        .set(
            "sites",
            json!([
                site("deny.test", "deny"),
                site("allow.test", "allow"),
                json!({ "hosts": ["watched.test"], "origin": origin.url(), "waf": { "mode": "detect" } }),
            ]),
        )
        .start();
    let url = format!("http://{}/?q=some+honest+words", aegis.http());
    let denied = load::http1(&url, "deny.test", 200, 50);
    assert!(denied.failed > 0 && denied.other == 0, "{denied:?}");
    assert_eq!(
        origin.requests().len() as u32,
        denied.ok,
        "what was denied never arrived"
    );
    let allowed = load::http1(&url, "allow.test", 200, 50);
    assert_eq!(allowed.ok, 200, "{allowed:?}");
    let watched = load::http1(&url, "watched.test", 200, 50);
    assert_eq!(
        watched.ok, 200,
        "who only watches refuses nothing: {watched:?}"
    );
    assert!(
        aegis.metrics().sum(
            "aegis_waf_verdicts_total",
            &[r#"site="watched.test""#, r#"verdict="fault""#]
        ) >= 1.0
    );
    assert!(aegis.metrics().sum("aegis_plugin_faults_total", &["queue"]) >= 1.0);
    eventually("it recovers", || {
        (aegis.curl("/").header("Host: deny.test").send().status == 200).then_some(())
    });
}

#[test]
fn broken_seclang_at_a_first_start_ends_with_78_and_nothing_was_served_uninspected() {
    let origin = origin();
    let aegis = Aegis::before(&origin)
        .file("own.conf", "SecRule ARGS \"@rx (\" \"id:1,deny\"\n")
        .set("sites[0].waf", json!({ "seclang": ["own.conf"] }))
        .spawn();
    let mut seen = Vec::new();
    let status = eventually("it ends", || {
        seen.extend(raw::try_get(aegis.http(), "/").map(|a| a.status()));
        aegis.process().ended()
    });
    assert_eq!(status.code(), Some(78), "{}", aegis.output());
    assert!(seen.iter().all(|s| *s == 503), "{seen:?}");
    assert!(origin.requests().is_empty());
    assert!(aegis.output().contains("own.conf"), "{}", aegis.output());
}

#[test]
fn broken_seclang_later_is_refused_and_the_old_rules_stay() {
    let origin = origin();
    let mut aegis = Aegis::before(&origin)
        .waf()
        .file("own.conf", "SecRule ARGS \"@rx (\" \"id:1,deny\"\n")
        .start();
    aegis.rewrite(|c| {
        c.set("sites[0].waf", json!({ "seclang": ["own.conf"] }));
    });
    let problems = aegis_testkit::wait::within(Duration::from_secs(60), "it is refused", || {
        let last = aegis.admin("/status")["config"]["last_try"].clone();
        (last["result"] == "rejected").then(|| last.to_string())
    });
    assert!(problems.contains("own.conf"), "{problems}");
    assert_eq!(
        aegis.get("/?q=1%27%20OR%20%271%27=%271%27--%20").status,
        403
    );
    assert_eq!(aegis.get("/").status, 200);
}

#[test]
fn while_the_rules_are_compiled_for_the_first_time_everything_is_503() {
    let origin = origin();
    let aegis = Aegis::before(&origin).waf().cold().spawn();
    let early = eventually("the port is bound", || raw::try_get(aegis.http(), "/"));
    assert_eq!(early.status(), 503);
    assert!(early.header("retry-after").is_some());
    assert_eq!(aegis.probe("/livez").status(), 200);
    assert_eq!(aegis.probe("/readyz").status(), 503);
    aegis.wait_ready();
    assert_eq!(aegis.get("/").status, 200);
}
