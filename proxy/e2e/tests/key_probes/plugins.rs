//! `plugins:`, by modules that do one thing each.

use aegis_testkit::aegis::Builder;
use aegis_testkit::{Aegis, Answer, Origin, Reply, eventually};
use e2e::wasm::{ANSWER, Guest, KEEP_CONFIGURATION, busy, fields_at, on_body};
use serde_json::{Value, json};

fn origin() -> Origin {
    Origin::start(|request| match request.path() {
        "/fresh" => Reply::cacheable("site", 60),
        _ => Reply::text("site"),
    })
}

/// The module as `name.wasm`, a plugin of that name with these keys, used by the site.
fn with(builder: Builder, name: &str, guest: Guest<'_>, keys: &Value) -> Builder {
    let file = format!("{name}.wasm");
    let mut plugin = keys.clone();
    plugin["module"] = file.as_str().into();
    builder
        .file(&file, guest.build())
        .set(&format!("plugins.{name}"), plugin)
        .set("sites[0].plugins", json!([name]))
}

/// A plugin that lets everything pass.
pub(crate) fn with_passing(builder: Builder) -> Builder {
    with(builder, "pass", Guest::default(), &json!({}))
}

/// A plugin that thinks for some 50 ms.
pub(crate) fn with_busy(builder: Builder) -> Builder {
    with(
        builder,
        "busy",
        Guest {
            request: &busy(50),
            ..Guest::default()
        },
        &json!({ "deadline": "10s" }),
    )
}

/// A plugin `answer` that says “plugin”; not used by any site.
pub(crate) fn with_answering(builder: Builder) -> Builder {
    with(
        builder,
        "answer",
        Guest {
            request: ANSWER,
            ..Guest::default()
        },
        &json!({}),
    )
    .set("sites[0].plugins", json!([]))
}

/// The answer to `/` with this guest and each value of `key`, other keys as in `base`.
fn each(guest: Guest<'_>, base: &Value, key: &str, values: [Value; 2]) -> [Answer; 2] {
    values.map(|value| {
        let origin = origin();
        let mut keys = base.clone();
        keys[key] = value;
        with(Aegis::before(&origin), "probe", guest, &keys)
            .start()
            .curl("/")
            .body(vec![b'x'; 8 << 10])
            .send()
    })
}

fn statuses(guest: Guest<'_>, base: &Value, key: &str, values: [Value; 2]) -> [u16; 2] {
    each(guest, base, key, values).map(|answer| answer.status)
}

rows! {
    "plugins.*.module" it_is_what_runs {
        let origin = origin();
        let bodies = [Guest::default(), Guest { request: ANSWER, ..Guest::default() }].map(|guest| {
            with(Aegis::before(&origin), "probe", guest, &json!({})).start().get("/").text()
        });
        assert_eq!(bodies, ["site", "plugin"]);
    }
    "plugins.*.instances" what_it_remembers_stays_or_goes {
        // Says how many requests it has seen, as a letter.
        let guest = Guest {
            request: "(i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (i32.const 1))) (global.set $length (i32.const 1)) \
                (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (global.get $text) (global.get $length) (i32.const 0) (i32.const 0) (i32.const -1))) i32.const 1",
            ..Guest::default()
        };
        let texts = ["shared", "per_request", "per_filter"].map(|instances| {
            let origin = origin();
            let aegis = with(Aegis::before(&origin), "probe", guest, &json!({ "instances": instances }));
            let aegis = aegis.set("node.plugins.threads", 1).start();
            // The probe before the settings came into force was the first one.
            let texts = [aegis.get("/").text(), aegis.get("/").text()];
            let standing = aegis.admin("/status")["node"]["plugins"][0].clone();
            assert_eq!(standing["state"], "ready", "{standing}");
            assert_eq!(standing["image_mib"].is_number(), instances != "shared", "{standing}");
            texts
        });
        assert_eq!(texts, [["r", "s"], ["q", "q"], ["q", "q"]]);
    }
    "plugins.*.config" it_is_handed_over {
        let guest = Guest { configure: KEEP_CONFIGURATION, request: ANSWER, ..Guest::default() };
        let texts = each(guest, &json!({}), "config", [json!("one"), json!("two")]).map(|answer| answer.text());
        assert_eq!(texts, ["one", "two"]);
    }
    "plugins.*.stage" before_the_cache_it_sees_hits_too {
        let jobs = ["before_cache", "before_origin"].map(|stage| {
            let origin = origin();
            let aegis = with(Aegis::before(&origin), "probe", Guest::default(), &json!({ "stage": stage })).start();
            assert_eq!([aegis.get("/fresh").status, aegis.get("/fresh").status], [200, 200]);
            assert_eq!(origin.hits("/fresh"), 1);
            eventually("a request was judged", || {
                let jobs = aegis.metrics().sum("aegis_plugin_jobs_total", &["probe"]);
                (jobs >= 1.0).then_some(jobs as u32)
            })
        });
        assert!(jobs[0] > jobs[1], "{jobs:?}");
    }
    "plugins.*.on_error" a_failure_denies_or_allows {
        let code = on_body("unreachable");
        let guest = Guest { more: &code, ..Guest::default() };
        assert_eq!(statuses(guest, &json!({}), "on_error", [json!("deny"), json!("allow")]), [503, 200]);
    }
    "plugins.*.memory_max" more_memory_is_refused {
        let grow = "(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)) i32.const 0";
        let code = on_body(grow);
        let guest = Guest { more: &code, ..Guest::default() };
        assert_eq!(statuses(guest, &json!({}), "memory_max", [json!("1MiB"), json!("64MiB")]), [503, 200]);
    }
    "plugins.*.deadline" more_time_is_refused {
        let code = on_body(&busy(200));
        let guest = Guest { more: &code, ..Guest::default() };
        assert_eq!(statuses(guest, &json!({ "deadline_per_kib": "0s" }), "deadline", [json!("5ms"), json!("60s")]), [503, 200]);
    }
    "plugins.*.deadline_per_kib" a_body_gives_more_time {
        let code = on_body(&busy(200));
        let guest = Guest { more: &code, ..Guest::default() };
        assert_eq!(statuses(guest, &json!({ "deadline": "5ms" }), "deadline_per_kib", [json!("0s"), json!("1s")]), [503, 200]);
    }
    "plugins.*.http_call" only_those_pools_can_be_called {
        let fields = fields_at(200, &[(":method", "GET"), (":path", "/"), (":authority", "app")]);
        let length = 4 + 3 * 8 + (":method".len() + "GET".len() + ":path".len() + "/".len() + ":authority".len() + "app".len() + 6);
        let more = format!(
            "(data (i32.const 300) \"app\") {fields}
             (func (export \"proxy_on_http_call_response\") (param i32 i32 i32 i32 i32) (drop (call $speak_for (global.get $stream))) (drop (block (result i32) {ANSWER})))"
        );
        let call = format!(
            "(global.set $stream (local.get 0))
             (if (result i32) (call $http_call (i32.const 300) (i32.const 3) (i32.const 200) (i32.const {length}) (i32.const 0) (i32.const 0)
                                (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 8))
               (then (i32.const 0)) (else (i32.const 1)))"
        );
        let guest = Guest { more: &more, request: &call, ..Guest::default() };
        let bodies = [json!([]), json!(["app"])].map(|pools| {
            let origin = origin();
            let aegis = Aegis::before(&origin).set("pools.app.servers", json!([origin.address().to_string()]));
            with(aegis, "probe", guest, &json!({ "http_call": pools })).start().get("/").text()
        });
        assert_eq!(bodies, ["site", "plugin"]);
    }
    "plugins.*.inspect_response" it_is_shown_responses {
        let more = "(data (i32.const 400) \"x-seenyes\")
            (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32)
              (drop (call $add_header (i32.const 2) (i32.const 400) (i32.const 6) (i32.const 406) (i32.const 3)))
              i32.const 0)";
        let guest = Guest { more, ..Guest::default() };
        let seen = each(guest, &json!({}), "inspect_response", [json!("off"), json!("headers")]).map(|a| a.header("x-seen").to_owned());
        assert_eq!(seen, ["", "yes"]);
    }
    "plugins.*.body_max" a_longer_body_is_413 {
        let code = on_body("i32.const 0");
        let guest = Guest { more: &code, ..Guest::default() };
        assert_eq!(statuses(guest, &json!({}), "body_max", [json!("1KiB"), json!("1MiB")]), [413, 200]);
    }
}
