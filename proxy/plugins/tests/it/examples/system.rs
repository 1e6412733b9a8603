//! What the examples see beside their stream: shared state, ticks, the system, what is not there.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn data_queues_and_metrics_are_shared() {
    each(async |_, plugin| {
        tells!(
            &plugin,
            "/t/data",
            "before: (none)",
            "set: 0",
            "get: one",
            "wrong cas: 8",
            "right cas: 0",
            "get: two",
            "remove: 0",
            "after: (none)",
        );
        tells!(
            &plugin,
            "/t/queue",
            "unknown: false",
            "resolved: true",
            "empty: (none)",
            "in: 0",
            "out: first",
            "for the root: 0"
        );
        for _ in 0..1000 {
            if lines(&plugin, "/t/get?key=taken%20by%20the%20root").await == "value: second\n" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tells!(
            &plugin,
            "/t/get?key=taken%20by%20the%20root",
            "value: second"
        );
        tells!(
            &plugin,
            "/t/metrics",
            "again the same: true",
            "counter: 0 true",
            "gauge set: 0",
            "gauge down: 0",
            "gauge is: 5",
            "histogram: 0",
            "no such kind: 2",
            "no such metric: 1",
        );
        let counter = format!(
            "aegis_plugin_metric{{name=\"probe_gauge\",plugin=\"{}\"}}",
            plugin.name()
        );
        assert_eq!(metric(&counter), 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_instance_gets_ticks_until_it_has_enough() {
    for language in LANGUAGES {
        let bench = bench_for(2);
        let mut spec = spec(&bench, language);
        spec.config = bytes("tick");
        let plugin = bench
            .prepare(spec)
            .unwrap_or_else(|error| panic!("{error}"));
        for _ in 0..2000 {
            if lines(&plugin, "/t/get?key=ticks").await == "value: 3\n" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tells!(&plugin, "/t/get?key=ticks", "value: 3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_is_a_clock_randomness_and_a_log() {
    each(async |_, plugin| {
        tells!(
            &plugin,
            "/t/log",
            "said: 0 0 0 0 0 0",
            "no such level: 2",
            "level: 0 true"
        );
        tells!(&plugin, "/t/configuration", "plugin: of the plugin");
        tells!(
            &plugin,
            "/t/wasi",
            "args: 0 true",
            "environ: 0 true",
            "clock: 0 true",
            "random: 0 true",
            "yield: 0",
            "stdout: 0 true",
            "file: 8",
            "preopened: 8",
            "open: 76",
            "socket: 8",
        );
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let text = lines(&plugin, "/t/time").await;
        let seconds: u64 = text
            .trim_start_matches("seconds: ")
            .trim()
            .parse()
            .expect("a number");
        assert!(now.abs_diff(seconds) < 60, "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_the_verdict_and_what_is_not_there_says_so() {
    each(async |_, plugin| {
        let verdict = probe(&plugin, "/t/foreign").await;
        assert_eq!(verdict.events.len(), 1);
        assert_eq!(verdict.events[0].data, bytes("{\"action\":\"detect\"}"));
        assert_eq!(
            said(verdict),
            (200, "no such function: 1\nevent: 0\ndone: 1\n".into())
        );
        tells!(
            &plugin,
            "/t/grpc",
            "call: 12",
            "stream: 12",
            "send: 12",
            "cancel: 12",
            "close: 12",
            "status: 0",
            "code: 0 0"
        );
    })
    .await;
}
