//! What a module that cannot be used is told, and what is kept of one that can.

use crate::support::*;
use aegis_plugins::{Decision, PluginError};
use std::sync::Arc;

/// The error's sentence.
fn refused(result: Result<Arc<aegis_plugins::Plugin>, PluginError>) -> String {
    match result {
        Ok(plugin) => panic!("{} was taken", plugin.name()),
        Err(error) => error.to_string(),
    }
}

fn of_bytes(bench: &Bench, bytes: &[u8]) -> String {
    let spec = bench.spec("bytes", "(module)");
    std::fs::write(&spec.module, bytes).expect("writes");
    refused(bench.prepare(spec))
}

fn of_wat(bench: &Bench, wat: &str) -> String {
    refused(bench.prepare(bench.spec("wat", wat)))
}

macro_rules! says {
    ($sentence:expr, $($part:literal),+) => {{
        let sentence = $sentence;
        $(assert!(sentence.contains($part), "{sentence:?} does not say {:?}", $part);)+
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_module_is_named_for_what_it_is() {
    let bench = bench();
    says!(of_bytes(&bench, b""), "bytes.wasm: the file is empty");
    says!(of_bytes(&bench, b"\x7fELF\x02"), "native program");
    says!(of_bytes(&bench, b"(module)"), "WebAssembly text");
    says!(
        of_bytes(&bench, b"<html>"),
        "this is not WebAssembly",
        "give a core WebAssembly module"
    );
    says!(of_bytes(&bench, b"\0asm\x0d\0\x01\0"), "component");
    says!(of_bytes(&bench, b"\0asm\x02\0\0\0"), "version");
    says!(
        of_bytes(&bench, b"\0asm\x01\0\0\0garbage"),
        "not a valid WebAssembly module"
    );
    let mut spec = bench.spec("gone", "(module)");
    spec.module.set_extension("none");
    says!(refused(bench.prepare(spec)), "gone.none: No such file");
    let spec = bench.spec("big", "(module)");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&spec.module)
        .expect("opens");
    file.set_len(aegis_plugins::limits::MODULE_MAX + 1)
        .expect("sparse");
    says!(refused(bench.prepare(spec)), "67108865 bytes", "64 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_without_the_abi_is_told_which_export_it_lacks() {
    let bench = bench();
    says!(
        of_wat(&bench, "(module)"),
        "neither `proxy_abi_version_0_2_0` nor `proxy_abi_version_0_2_1`",
        "SDK"
    );
    says!(
        of_wat(
            &bench,
            r#"(module (func (export "proxy_abi_version_0_1_0")))"#
        ),
        "`proxy_abi_version_0_1_0`",
        "does not speak"
    );
    says!(
        of_wat(
            &bench,
            r#"(module (func (export "proxy_abi_version_0_2_0")))"#
        ),
        "`memory`"
    );
    let with = |more: &str| {
        format!(
            r#"(module (func (export "proxy_abi_version_0_2_0")) (memory (export "memory") 1) {more})"#
        )
    };
    says!(
        of_wat(&bench, &with("")),
        "`proxy_on_memory_allocate` nor `malloc`"
    );
    let malloc = r#"(func (export "malloc") (param i32) (result i32) (i32.const 0))"#;
    says!(of_wat(&bench, &with(malloc)), "`proxy_on_context_create`");
    says!(
        of_wat(
            &bench,
            &wat(
                r#"(func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0))"#
            )
        ),
        "proxy_on_request_headers",
        "another type"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_that_the_host_does_not_have_are_listed() {
    let bench = bench();
    let wat = wat("").replacen(
        "(module",
        r#"(module
            (import "env" "proxy_magic" (func (param i32)))
            (import "wasi_snapshot_preview1" "path_magic" (func))
            (import "env" "memory" (memory 1))"#,
        1,
    );
    // A second memory is refused by the compiler already.
    says!(of_wat(&bench, &wat), "wat.wasm");
    let wat = wat.replace(
        r#"(import "env" "memory" (memory 1))"#,
        r#"(import "env" "base" (global i32))"#,
    );
    says!(
        of_wat(&bench, &wat),
        "env.proxy_magic",
        "wasi_snapshot_preview1.path_magic",
        "env.base (a global)"
    );
    let wat = wat_with("(i32.const 0)", "").replacen(
        "(module",
        r#"(module (import "env" "proxy_done" (func (param i64)))"#,
        1,
    );
    says!(of_wat(&bench, &wat), "proxy_done", "incompatible");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_while_starting_names_the_phase_and_what_the_module_said() {
    let bench = bench();
    let own = |name: &str, signature: &str, code: &str| {
        wat(&format!(
            r#"(data (i32.const 0) "rule 7 is broken") (data (i32.const 100) "\64\00\00\00\00\00\00\00")
               (func ${name} (export "{name}") {signature} {code})"#
        ))
    };
    let callback = "(param i32 i32) (result i32)";
    let log = "(drop (call $log (i32.const 4) (i32.const 0) (i32.const 16)))";
    says!(
        of_wat(
            &bench,
            &own(
                "proxy_on_configure",
                callback,
                &format!("{log} (i32.const 0)")
            )
        ),
        "plugin `wat`: the module refused (returned false) in proxy_on_configure; it said: rule 7 is broken"
    );
    says!(
        of_wat(&bench, &own("proxy_on_vm_start", callback, "(i32.const 0)")),
        "returned false",
        "proxy_on_vm_start"
    );
    says!(
        of_wat(
            &bench,
            &own(
                "proxy_on_configure",
                callback,
                &format!("{log} (unreachable)")
            )
        ),
        "unreachable",
        "at `proxy_on_configure`",
        "it said: rule 7 is broken"
    );
    says!(
        of_wat(&bench, &own("_initialize", "", "(unreachable)")),
        "in _initialize"
    );
    says!(
        of_wat(&bench, &own("_start", "", "(call $exit (i32.const 3))")),
        "proc_exit(3)",
        "in _start"
    );
    says!(
        of_wat(
            &bench,
            &own(
                "proxy_on_configure",
                callback,
                "(loop $l (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1)) (then (br $l)))) (unreachable)"
            )
        ),
        "more memory than `memory_max`",
        "proxy_on_configure"
    );
    says!(
        of_wat(
            &bench,
            &own(
                "proxy_on_configure",
                callback,
                "(drop (call $proxy_on_configure (i32.const 0) (i32.const 0))) (i32.const 0)"
            )
        ),
        "call stack"
    );
    // A Go panic: a line on standard error in pieces, without an end, and an exit.
    let panics = r#"
        (i32.store (i32.const 200) (i32.const 0)) (i32.store (i32.const 204) (i32.const 4))
        (i32.store (i32.const 208) (i32.const 4)) (i32.store (i32.const 212) (i32.const 12))
        (drop (call $fd_write (i32.const 2) (i32.const 200) (i32.const 2) (i32.const 1032)))
        (call $exit (i32.const 2)) (i32.const 1)"#;
    says!(
        of_wat(&bench, &own("proxy_on_configure", callback, panics)),
        "proc_exit(2)",
        "it said: rule 7 is broken"
    );
    let start = wat("").replacen(
        "(global $heap",
        "(start $s) (func $s (unreachable)) (global $heap",
        1,
    );
    says!(of_wat(&bench, &start), "in instantiation");
    let mut spec = bench.spec("big-memory", &wat(""));
    spec.memory_max = 65536;
    says!(refused(bench.prepare(spec)), "memory");
    let mut spec = bench.spec("stack", &wat(""));
    spec.stack_max = aegis_plugins::limits::STACK_MAX + 1;
    says!(
        refused(bench.prepare(spec)),
        "a call stack is 64 KiB to 4 MiB"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_given_its_configuration_and_may_start_as_a_command() {
    let bench = bench();
    let plugin = bench.plugin(
        "configured",
        r#"
        (global $started (mut i32) (i32.const 0))
        (global $config (mut i32) (i32.const 0))
        (global $len (mut i32) (i32.const 0))
        (func (export "_start") (global.set $started (i32.const 1)) (call $exit (i32.const 0)))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
          (drop (call $get_buffer (i32.const 6) (i32.const 0) (i32.const 100) (i32.const 1024) (i32.const 1028)))
          (i32.and (global.get $started) (i32.eqz (i32.load (i32.const 1028)))))
        (func (export "proxy_on_configure") (param i32) (param $len i32) (result i32)
          (drop (call $get_buffer (i32.const 7) (i32.const 0) (local.get $len) (i32.const 1024) (i32.const 1028)))
          (memory.copy (i32.const 512) (i32.load (i32.const 1024)) (i32.load (i32.const 1028)))
          (global.set $len (i32.load (i32.const 1028)))
          (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $say (i32.const 200) (i32.const 512) (global.get $len))
          (i32.const 0))"#,
    );
    assert_eq!(
        said(ask(&plugin, "/").await),
        (200, "config of the plugin".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_spec_is_the_same_plugin_and_another_configuration_is_not() {
    let bench = bench();
    let spec = bench.spec("same", &wat(""));
    let one = bench.prepare(spec.clone()).expect("a plugin");
    let two = bench.prepare(spec.clone()).expect("a plugin");
    assert!(Arc::ptr_eq(&one, &two));
    let mut other = spec.clone();
    other.config = bytes("another");
    let three = bench.prepare(other).expect("a plugin");
    assert!(!Arc::ptr_eq(&one, &three));
    drop((one, two));
    let again = bench.prepare(spec).expect("a plugin");
    assert_eq!(ask(&again, "/").await.decision, Decision::Continue);
    assert!(bench.host.preparing().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_whose_host_stopped_refuses() {
    let bench = bench();
    let plugin = bench.plugin("stopped", "");
    let open = bench.inspecting("stopped-open", "");
    let open = ask(&open, "/").await.open.expect("open");
    tokio::task::block_in_place(|| drop(bench));
    assert_eq!(
        ask(&plugin, "/").await.decision,
        Decision::Fault(aegis_plugins::FaultKind::Refused)
    );
    drop(open);
}
