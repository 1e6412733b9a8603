//! `pools:`

use aegis_testkit::certs::Authority;
use aegis_testkit::nginx::Nginx;
use aegis_testkit::{Aegis, Origin, Received, Reply, eventually, ports, raw};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An Aegis before a pool with these keys.
fn before(pool: Value) -> Aegis {
    Aegis::before_url("http://127.0.0.1:1")
        .set("pools.app", pool)
        .set("sites[0].origin", "app")
        .set("sites[0].cache.enabled", false)
        .start()
}

fn server(origin: &Origin) -> Value {
    json!([origin.address().to_string()])
}

fn named(name: &'static str) -> Origin {
    Origin::start(move |_| Reply::text(name))
}

/// An origin whose `/` and whose probes answer as told.
fn probed(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Origin {
    Origin::start(move |request| {
        if request.path() == "/" {
            Reply::text("page")
        } else {
            answer(request)
        }
    })
}

/// The gauge of the only server, once the origin was probed this often.
fn healthy_after(aegis: &Aegis, origin: &Origin, probes: usize) -> bool {
    eventually("it is probed", || {
        (origin.hits("/probe") >= probes).then_some(())
    });
    aegis
        .metrics()
        .sum("aegis_origin_healthy", &["pool=\"app\""])
        > 0.5
}

/// nginx with TLS under this name, and who signed it.
fn tls_origin(name: &str) -> (Nginx, Authority) {
    let authority = Authority::new();
    let pair = authority.issue(&[name]);
    let (plain, tls) = (ports::free_address(), ports::free_address());
    let http = format!(
        "access_log off; server {{ listen {plain}; return 204; }}\n\
         server {{ listen {tls} ssl; ssl_certificate {}; ssl_certificate_key {}; return 200 secret; }}",
        pair.cert.display(),
        pair.key.display()
    );
    let dir = tempfile::TempDir::new().unwrap();
    (
        Nginx::start(dir, plain, "master_process off;", &http, &[]).at(tls),
        authority,
    )
}

fn status_of(pool: Value) -> u16 {
    before(pool).get("/").status
}

rows! {
    "pools.*.servers" they_are_asked {
        let bodies = [named("one"), named("two")].map(|origin| before(json!({ "servers": server(&origin) })).get("/").text());
        assert_eq!(bodies, ["one", "two"]);
    }
    "pools.*.tls.verify" an_unknown_authority_is_refused {
        let (nginx, _authority) = tls_origin("localhost");
        let statuses = [true, false].map(|verify| status_of(json!({ "servers": [nginx.address().to_string()], "tls": { "verify": verify } })));
        assert_eq!(statuses, [502, 200]);
    }
    "pools.*.tls.ca" it_is_the_authority_trusted {
        let (nginx, authority) = tls_origin("localhost");
        let other = Authority::new();
        let statuses = [&authority, &other].map(|a| {
            status_of(json!({ "servers": [nginx.address().to_string()], "tls": { "ca": a.cert(), "name": "localhost" } }))
        });
        assert_eq!(statuses, [200, 502]);
    }
    "pools.*.tls.name" it_is_the_name_expected {
        let (nginx, authority) = tls_origin("app.test");
        let statuses = ["app.test", "other.test"].map(|name| {
            status_of(json!({ "servers": [nginx.address().to_string()], "tls": { "ca": authority.cert(), "name": name } }))
        });
        assert_eq!(statuses, [200, 502]);
    }
    "pools.*.health.path" it_is_probed {
        for path in ["/one", "/two"] {
            let origin = named("x");
            let _aegis = before(json!({ "servers": server(&origin), "health": { "path": path, "interval": "50ms", "timeout": "50ms" } }));
            eventually("it is probed", || (origin.hits(path) > 0).then_some(()));
            assert!(origin.requests().iter().all(|r| r.path() == path));
        }
    }
    "pools.*.health.host" it_is_in_the_probe {
        for host in ["one.test", "two.test"] {
            let origin = named("x");
            let _aegis = before(json!({ "servers": server(&origin), "health": { "host": host } }));
            let probe = eventually("it is probed", || origin.requests().first().cloned());
            assert_eq!(probe.header("host"), host);
        }
    }
    "pools.*.health.interval" probes_come_that_often {
        let often = ["20ms", "1h"].map(|interval| {
            let origin = named("x");
            let aegis = before(json!({ "servers": server(&origin), "health": { "path": "/probe", "interval": interval, "timeout": "20ms" } }));
            let many = aegis_testkit::wait::try_within(Duration::from_secs(3), || (origin.hits("/probe") >= 5).then_some(()));
            assert_eq!(aegis.get("/").status, 200);
            many.is_some()
        });
        assert_eq!(often, [true, false]);
    }
    "pools.*.health.timeout" a_slow_probe_has_failed {
        let healthy = ["50ms", "10s"].map(|timeout| {
            let origin = probed(|_| Reply::text("ok").after(Duration::from_millis(500)));
            let aegis = before(json!({
                "servers": server(&origin),
                "health": { "path": "/probe", "interval": "10s", "timeout": timeout, "unhealthy": 1 },
            }));
            healthy_after(&aegis, &origin, 1);
            let down = || (aegis.metrics().sum("aegis_origin_healthy", &["pool=\"app\""]) < 0.5).then_some(());
            aegis_testkit::wait::try_within(Duration::from_secs(2), down).is_none()
        });
        assert_eq!(healthy, [false, true]);
    }
    "pools.*.health.unhealthy" so_many_failures_leave_a_server_out {
        let healthy = [1, 100].map(|unhealthy| {
            let origin = probed(|_| Reply::status(500));
            let aegis = before(json!({
                "servers": server(&origin),
                "health": { "path": "/probe", "interval": "100ms", "timeout": "100ms", "unhealthy": unhealthy },
            }));
            healthy_after(&aegis, &origin, 3)
        });
        assert_eq!(healthy, [false, true]);
    }
    "pools.*.health.healthy" so_many_successes_bring_it_back {
        let healthy = [1, 100].map(|healthy| {
            let well = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&well);
            let origin = probed(move |_| Reply::status(if told.load(Ordering::Relaxed) { 200 } else { 500 }));
            let aegis = before(json!({
                "servers": server(&origin),
                "health": { "path": "/probe", "interval": "50ms", "timeout": "50ms", "unhealthy": 1, "healthy": healthy },
            }));
            eventually("it is left out", || (aegis.metrics().sum("aegis_origin_healthy", &["pool=\"app\""]) < 0.5).then_some(()));
            well.store(true, Ordering::Relaxed);
            let from = origin.hits("/probe");
            healthy_after(&aegis, &origin, from + 4)
        });
        assert_eq!(healthy, [true, false]);
    }
    "pools.*.connect_timeout" a_connection_that_never_comes_is_504 {
        let full = raw::full_listener();
        let statuses = ["100ms", "60s"].map(|timeout| {
            let aegis = before(json!({ "servers": [full.address().to_string()], "connect_timeout": timeout, "retries": 0 }));
            aegis.curl("/").arg(&["-m", "3"]).send().status
        });
        assert_eq!(statuses, [504, 0]);
    }
    "pools.*.read_timeout" an_answer_that_never_comes_is_504 {
        let origin = Origin::start(|_| Reply::text("late").after(Duration::from_secs(1)));
        let statuses = ["100ms", "60s"].map(|timeout| status_of(json!({ "servers": server(&origin), "read_timeout": timeout })));
        assert_eq!(statuses, [504, 200]);
    }
    "pools.*.write_timeout" an_origin_that_does_not_read_is_given_up {
        // Pingora goes on to wait for an early answer once it cannot write, so the read timeout is short.
        let deaf = raw::deaf_listener();
        let statuses = ["100ms", "60s"].map(|write| {
            let servers = [deaf.address().to_string()];
            let aegis = before(json!({ "servers": servers, "write_timeout": write, "read_timeout": "100ms", "retries": 0 }));
            aegis.curl("/").arg(&["-m", "5"]).body(vec![7; 64 << 20]).send().status
        });
        assert_eq!(statuses, [504, 0]);
    }
    "pools.*.keepalive" connections_are_kept {
        let connections = ["0s", "60s"].map(|keepalive| {
            let origin = named("x");
            let aegis = before(json!({ "servers": server(&origin), "keepalive": keepalive }));
            for _ in 0..3 {
                assert_eq!(aegis.get("/").status, 200);
            }
            origin.connections()
        });
        assert_eq!(connections, [3, 1]);
    }
    "pools.*.retries" another_server_is_tried {
        let origin = named("x");
        let dead = ports::free_address().to_string();
        let all_well = [0, 1].map(|retries| {
            let aegis = before(json!({ "servers": [dead, origin.address().to_string()], "retries": retries }));
            (0..4).all(|_| aegis.get("/").status == 200)
        });
        assert_eq!(all_well, [false, true]);
    }
}
