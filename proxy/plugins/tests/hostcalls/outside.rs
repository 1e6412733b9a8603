//! What is shared between streams, what reaches outside, and what is closed.

use crate::support::*;
use aegis_plugins::{Decision, Inspect};
use std::time::{SystemTime, UNIX_EPOCH};

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_time_and_configuration() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "my configuration", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/log").await,
            "said: 0 0 0 0 0 0\nno such level: 2\nlevel: 0 true\n",
            "{language}"
        );
        assert_eq!(
            probe(&plugin, "/t/configuration").await,
            "plugin: my configuration\nvm: (none)\n",
            "{language}"
        );
        let before = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let text = probe(&plugin, "/t/time").await;
        let said = text
            .trim()
            .strip_prefix("seconds: ")
            .and_then(|s| s.parse::<u64>().ok());
        let after = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        assert!(
            said.is_some_and(|s| (before..=after).contains(&s)),
            "{language}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_come_to_the_root_and_stop_when_asked() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "tick", Inspect::Off);
        until(&plugin, "/t/get?key=ticks", "value: 3\n").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_data_is_set_compared_and_removed() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/data").await,
            "before: (none)\nset: 0\nget: one\nwrong cas: 8\nright cas: 0\nget: two\nremove: 0\nafter: (none)\n",
            "{language}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_found_filled_and_emptied_and_wake_the_root() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/queue").await,
            "unknown: false\nresolved: true\nempty: (none)\nin: 0\nout: first\nfor the root: 0\n",
            "{language}"
        );
        until(
            &plugin,
            "/t/get?key=taken%20by%20the%20root",
            "value: second\n",
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_defined_changed_and_seen_outside() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/metrics").await,
            "again the same: true\ncounter: 0 true\ngauge set: 0\ngauge down: 0\ngauge is: 5\nhistogram: 0\nno such kind: 2\n\
             no such metric: 1\n",
            "{language}"
        );
        let all = aegis_telemetry::metrics::render();
        for name in ["probe_counter", "probe_gauge", "probe_histogram"] {
            assert!(
                all.lines()
                    .any(|l| l.contains("plugin=\"probe\"") && l.contains(name)),
                "{language} {name}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_calls_reach_named_pools_only_and_bring_an_answer_back() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/call?pool=elsewhere").await,
            "call: 2\n",
            "{language}"
        );
        assert_eq!(
            probe(&plugin, "/t/call?pool=auth").await,
            "sizes: 4 18 1\nfield: :status=201\nfield: x-asked=POST auth.example /asked\nfield: x-from=probe\n\
             field: x-trailers=1\nbody: answer to question\ntrailer: x-last=yes\n",
            "{language}"
        );
        let verdict = get(&plugin, "/t/call?pool=auth&then=continue").await;
        assert_eq!(verdict.decision, Decision::Continue, "{language}");
        assert_eq!(edited(&verdict, "x-called").as_deref(), Some("201"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_unimplemented_and_foreign_functions_are_events() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/grpc").await,
            "call: 12\nstream: 12\nsend: 12\ncancel: 12\nclose: 12\nstatus: 0\ncode: 0 0\n",
            "{language}"
        );
        let verdict = get(&plugin, "/t/foreign").await;
        assert_eq!(verdict.events.len(), 1, "{language}");
        assert_eq!(verdict.events[0].data, "{\"action\":\"detect\"}");
        assert_eq!(
            response(verdict).body,
            "no such function: 1\nevent: 0\ndone: 1\n",
            "{language}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_acts_for_another_and_lets_go_of_one_that_lingers() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/context").await,
            "root: 0\nits request: 2\nown: 0\nown request: 0\nno such context: 2\n",
            "{language}"
        );
    }
    // The Go SDK lets no stream ask for time after its end.
    let plugin = bench.example("rust", "", Inspect::Off);
    assert_eq!(get(&plugin, "/t/linger").await.decision, Decision::Continue);
    until(&plugin, "/t/done", "lingering: 0 0\nown: 0 1\n").await;
    assert_eq!(probe(&plugin, "/t/done").await, "own: 0 1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn wasi_has_a_clock_randomness_and_log_lines_and_nothing_else() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/wasi").await,
            "args: 0 true\nenviron: 0 true\nclock: 0 true\nrandom: 0 true\nyield: 0\nstdout: 0 true\nfile: 8\npreopened: 8\n\
             open: 76\nsocket: 8\n",
            "{language}"
        );
    }
}
