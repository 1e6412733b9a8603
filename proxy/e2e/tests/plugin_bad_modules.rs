//! Modules that are broken or hostile: a clear error, and nothing else suffers.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::Builder;
use aegis_testkit::{Aegis, Origin, Reply, eventually, wait};
use e2e::wasm::{Guest, busy, on_body};
use serde_json::json;
use std::time::Duration;

fn origin() -> Origin {
    Origin::start(|_| Reply::text("site"))
}

fn with(builder: Builder, module: impl AsRef<[u8]>) -> Builder {
    builder
        .file("bad.wasm", module)
        .set("plugins.bad.module", "bad.wasm")
        .set("sites[0].plugins", json!(["bad"]))
}

/// No ABI version, no callbacks.
fn no_abi() -> Vec<u8> {
    wat::parse_str("(module (memory (export \"memory\") 1))").unwrap()
}

fn configure(code: &str) -> Vec<u8> {
    Guest {
        configure: code,
        ..Guest::default()
    }
    .build()
}

/// Modules that fail before they have seen a request.
fn stillborn() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("no Wasm", b"#!/bin/sh\n".to_vec()),
        ("cut off", Guest::default().build()[..40].to_vec()),
        ("no ABI", no_abi()),
        ("an import that does not exist", wat::parse_str("(module (import \"env\" \"proxy_fly\" (func)) (memory (export \"memory\") 1) (func (export \"proxy_abi_version_0_2_1\")))").unwrap()),
        ("traps at configure", configure("unreachable")),
        ("refuses its configuration", configure("i32.const 0")),
        ("allocates without end", configure("(loop $again (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $again)) i32.const 1")),
    ]
}

#[test]
fn a_first_start_with_a_broken_module_ends_with_78_and_names_the_plugin() {
    for (what, module) in stillborn() {
        let origin = origin();
        let aegis = with(Aegis::before(&origin), module).spawn();
        let status = aegis.process().wait(Duration::from_secs(60));
        assert_eq!(status.code(), Some(78), "{what}: {}", aegis.output());
        assert!(aegis.output().contains("bad"), "{what}: {}", aegis.output());
        assert!(origin.requests().is_empty());
    }
}

#[test]
fn a_broken_module_later_is_refused_and_serving_goes_on() {
    let origin = origin();
    let mut aegis = Aegis::before(&origin).start();
    for (what, module) in stillborn() {
        let before = aegis.metrics().sum("aegis_config_rejected_total", &[]);
        let name = format!("{}.wasm", what.replace(' ', "-"));
        std::fs::write(aegis.dir().join(&name), module).unwrap();
        aegis.rewrite(|c| {
            c.set("plugins.bad.module", name.as_str())
                .set("sites[0].plugins", json!(["bad"]));
        });
        wait::within(Duration::from_secs(60), format!("refused: {what}"), || {
            (aegis.metrics().sum("aegis_config_rejected_total", &[]) > before).then_some(())
        });
        let last = aegis.admin("/status")["config"]["last_try"].to_string();
        assert!(
            last.contains(&name) || last.contains("`bad`"),
            "{what}: {last}"
        );
        assert_eq!(aegis.get("/").text(), "site", "{what}");
    }
}

#[test]
fn a_module_that_loops_at_configure_is_stopped_and_serving_goes_on() {
    let origin = origin();
    let mut aegis = Aegis::before(&origin)
        .file(
            "bad.wasm",
            configure("(loop $again (br $again)) i32.const 1"),
        )
        .start();
    aegis.rewrite(|c| {
        c.set("plugins.bad.module", "bad.wasm")
            .set("sites[0].plugins", json!(["bad"]));
    });
    wait::within(Duration::from_secs(90), "refused", || {
        (aegis.admin("/status")["config"]["last_try"]["result"] == "rejected").then_some(())
    });
    assert_eq!(aegis.get("/").text(), "site");
}

/// Faults only at a request with a body: a plugin that fails at a plain GET never goes live.
#[test]
fn a_fault_at_a_request_is_that_requests_alone() {
    let slow = busy(2000);
    let grow = "(loop $again (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $again)) i32.const 0";
    for (kind, code, more) in [
        ("trap", "unreachable", ""),
        ("deadline", slow.as_str(), ""),
        ("memory", grow, ""),
        (
            "stack",
            "(call $deep)",
            "(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))",
        ),
    ] {
        let origin = origin();
        let more = format!("{} {more}", on_body(code));
        let module = Guest {
            more: &more,
            ..Guest::default()
        }
        .build();
        let aegis = with(Aegis::before(&origin), module).start();
        for _ in 0..3 {
            assert_eq!(aegis.curl("/bad").body("x").send().status, 503, "{kind}");
            assert_eq!(aegis.get("/good").text(), "site", "{kind}");
        }
        eventually(format!("{kind} is counted"), || {
            let of_kind = format!("kind=\"{kind}\"");
            let counted = aegis
                .metrics()
                .sum("aegis_plugin_faults_total", &["plugin=\"bad\"", &of_kind]);
            (counted >= 3.0).then_some(())
        });
        assert_eq!(origin.hits("/bad"), 0);
    }
}

#[test]
fn a_plugin_that_fails_at_a_plain_request_never_goes_live() {
    let origin = origin();
    let module = Guest {
        request: "unreachable",
        ..Guest::default()
    }
    .build();
    let aegis = with(Aegis::before(&origin), module).spawn();
    assert_eq!(
        aegis.process().wait(Duration::from_secs(60)).code(),
        Some(78),
        "{}",
        aegis.output()
    );
    assert!(
        aegis
            .output()
            .contains("plugin `bad` fails at a plain GET request"),
        "{}",
        aegis.output()
    );
}
