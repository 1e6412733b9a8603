//! The line of a request in the access log, and its counters.

use crate::support::Node;
use crate::support::guard::{Guard, waf_on};
use crate::support::origin::{Origin, nobody};
use crate::support::settings::{Sites, pool, route, to};
use aegis_settings::resolved::Route;
use aegis_telemetry::access::{AccessLog, Format, Target};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_a_line_that_says_where_it_went_and_how_it_ended() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("access.log");
    let access = AccessLog::open(Format::Json, Target::File(path.clone())).expect("opens");
    let access = Arc::new(access);
    let (origin, guard) = (Origin::ok("hello").await, Guard::new());
    let judged = Route {
        waf: waf_on(),
        ..route("/*", to("web"))
    };
    let sites = Sites {
        plugins: guard.as_waf(),
        access: Some(Arc::clone(&access)),
        ..Sites::default()
            .pool("web", pool(&[origin.address]))
            .pool("gone", pool(&[nobody().await]))
            .site(&["logged.example"], vec![judged])
            .site(&["gone.example"], vec![route("/*", to("gone"))])
    };
    let node = Node::serving(sites).await;
    let asked = node
        .ask("POST /a?b HTTP/1.1\r\nHost: logged.example:80\r\nUser-Agent: t/1\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(node.get("logged.example", "/x").await.status, 403);
    assert_eq!(node.get("gone.example", "/").await.status, 502);
    assert_eq!(node.get("other.example", "/").await.status, 404);
    let lines = loop {
        assert!(access.flush(Duration::from_secs(60)));
        let text = std::fs::read_to_string(&path).expect("readable");
        if text.lines().count() == 4 {
            let json = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
            break text.lines().map(json).collect::<Vec<_>>();
        }
        tokio::task::yield_now().await;
    };
    let id = asked.field("x-request-id").expect("an id").to_owned();
    let line = |field: &str, value: &str| {
        let found = lines.iter().find(|line| line[field] == value);
        found.unwrap_or_else(|| panic!("no line with {field} {value} in {lines:#?}"))
    };
    let good = line("id", &id);
    for (field, value) in [
        ("method", Value::from("POST")),
        ("host", "logged.example:80".into()),
        ("target", "/a?b".into()),
        ("status", 200.into()),
        ("bytes_sent", 5.into()),
        ("bytes_received", 3.into()),
        ("site", "logged.example".into()),
        ("route", "route /*".into()),
        ("user_agent", "t/1".into()),
        ("origin", origin.address.to_string().into()),
        ("waf", "clean".into()),
        ("client", "127.0.0.1".into()),
    ] {
        assert_eq!(good[field], value, "{field} in {good:#}");
    }
    assert_eq!(line("target", "/x")["waf"], "block");
    assert_eq!(line("host", "gone.example")["error"], "origin_refused");
    assert_eq!(line("host", "other.example")["error"], "no_site");
    let metrics = aegis_telemetry::metrics::render();
    for series in [
        "aegis_requests_total{class=\"2xx\",site=\"logged.example\"} 1",
        "aegis_requests_total{class=\"4xx\",site=\"logged.example\"} 1",
        "aegis_requests_total{class=\"5xx\",site=\"gone.example\"} 1",
        "aegis_waf_verdicts_total{site=\"logged.example\",verdict=\"clean\"} 1",
        "aegis_waf_verdicts_total{site=\"logged.example\",verdict=\"block\"} 1",
        "aegis_origin_requests_total{pool=\"gone\",result=\"origin_refused\"} 1",
    ] {
        assert!(
            metrics.contains(series),
            "{series} is missing in\n{metrics}"
        );
    }
}
