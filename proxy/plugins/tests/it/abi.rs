//! Host functions one by one, as a module sees them.

use crate::support::*;
use aegis_plugins::{Body, Decision};

/// A plugin that answers with what a property is.
fn property(bench: &Bench, path: &str) -> std::sync::Arc<aegis_plugins::Plugin> {
    let wire = path.replace('.', "\\00");
    let len = path.len();
    bench.plugin(
        &format!("property-{path}"),
        &format!(
            r#"(data (i32.const 0) "{wire}")
               (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (call $say_result (call $get_property (i32.const 0) (i32.const {len}) (i32.const 1024) (i32.const 1028)))
                 (i32.const 1))"#
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_have_the_names_and_encodings_of_envoy() {
    let bench = bench();
    let number = |n: u64| n.to_le_bytes().to_vec();
    for (path, expected) in [
        ("request.path", b"/p?q=1".to_vec()),
        ("request.url_path", b"/p".to_vec()),
        ("request.query", b"q=1".to_vec()),
        ("request.host", b"shop.example".to_vec()),
        ("request.scheme", b"https".to_vec()),
        ("request.method", b"GET".to_vec()),
        ("request.protocol", b"HTTP/1.1".to_vec()),
        ("request.id", b"01JD0000000000000000000000".to_vec()),
        ("request.time", number(1_700_000_000_000_000_001)),
        ("request.size", number(0)),
        ("request.headers.x-one", b"1,2".to_vec()),
        ("source.address", b"192.0.2.1:4711".to_vec()),
        ("source.port", number(4711)),
        ("destination.address", b"[2001:db8::1]:443".to_vec()),
        ("destination.port", number(443)),
        ("connection.tls_version", b"TLSv1.3".to_vec()),
        ("connection.requested_server_name", b"shop.example".to_vec()),
        ("connection.mtls", vec![1]),
        (
            "connection.subject_peer_certificate",
            b"CN=anna,O=Example".to_vec(),
        ),
        (
            "connection.sha256_peer_certificate_digest",
            b"00ff".to_vec(),
        ),
        ("plugin_name", b"property-plugin_name".to_vec()),
        ("plugin_root_id", b"property-plugin_root_id".to_vec()),
        ("plugin_vm_id", b"property-plugin_vm_id".to_vec()),
        ("aegis.site", b"a".to_vec()),
        (
            "aegis.ja4",
            b"t13d1516h2_8daaf6152771_e5627efa2ab1".to_vec(),
        ),
        ("aegis.waf_policy_id", number(7)),
        ("aegis.waf_policy", b"{\"mode\":\"block\"}".to_vec()),
        ("aegis.route", b"sites[0]".to_vec()),
    ] {
        let answer = response(ask(&property(&bench, path), "/p?q=1").await);
        assert_eq!(
            (answer.status, answer.body.to_vec()),
            (200, expected),
            "{path}"
        );
    }
    for path in [
        "response.code",
        "request.headers.none",
        "none",
        "aegis.none",
        "upstream.address",
    ] {
        let answer = response(ask(&property(&bench, path), "/p").await);
        assert_eq!(answer.status, 201, "{path}: NotFound");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_keeps_its_own_properties_with_the_stream_and_cannot_forge_facts() {
    let bench = bench();
    let plugin = bench.plugin(
        "own-property",
        r#"
        (data (i32.const 0) "my\00value")
        (data (i32.const 100) "aegis\00site")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (if (call $set_property (i32.const 0) (i32.const 2) (i32.const 3) (i32.const 5)) (then (unreachable)))
          (if (i32.ne (call $set_property (i32.const 100) (i32.const 10) (i32.const 3) (i32.const 5)) (i32.const 2)) (then (unreachable)))
          (call $say_result (call $get_property (i32.const 0) (i32.const 2) (i32.const 1024) (i32.const 1028)))
          (i32.const 1))"#,
    );
    assert_eq!(said(ask(&plugin, "/").await), (200, "value".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_to_the_module_and_back_unchanged() {
    let bench = bench();
    let plugin = bench.plugin(
        "pairs",
        r#"
        (func (export "proxy_on_request_headers") (param i32) (param $n i32) (param i32) (result i32)
          (drop (call $get_pairs (i32.const 0) (i32.const 1024) (i32.const 1028)))
          (if (i32.ne (i32.load (i32.load (i32.const 1024))) (local.get $n)) (then (unreachable)))
          (drop (call $map_size (i32.const 0) (i32.const 1032)))
          (if (i32.ne (i32.load (i32.const 1032)) (i32.load (i32.const 1028))) (then (unreachable)))
          (drop (call $set_pairs (i32.const 0) (i32.load (i32.const 1024)) (i32.load (i32.const 1028))))
          (i32.const 0))"#,
    );
    let verdict = ask(&plugin, "/p").await;
    let head = head("/p");
    let mut expected = vec![
        (bytes(":method"), head.method),
        (bytes(":path"), head.target),
        (bytes(":scheme"), head.scheme),
        (bytes(":authority"), head.authority),
    ];
    expected.extend(head.headers);
    assert_eq!(verdict.edits, Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_and_buffers_exist_only_in_their_phase() {
    let bench = bench();
    // Codes of calls, as bytes of the answer.
    let plugin = bench.plugin(
        "phases",
        r#"
        (data (i32.const 0) "x-one")
        (global $at (mut i32) (i32.const 2048))
        (func $note (param $code i32)
          (i32.store8 (global.get $at) (i32.add (i32.const 48) (local.get $code)))
          (global.set $at (i32.add (global.get $at) (i32.const 1))))
        (func $look (param $map i32)
          (call $note (call $get (local.get $map) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (call $note (call $replace (local.get $map) (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 1))))
        (func $read (param $buffer i32)
          (call $note (call $get_buffer (local.get $buffer) (i32.const 0) (i32.const 9) (i32.const 1024) (i32.const 1028)))
          (call $note (call $set_buffer (local.get $buffer) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (call $look (i32.const 0)) (call $read (i32.const 0)) (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $look (i32.const 0)) (call $look (i32.const 1)) (call $look (i32.const 2)) (call $look (i32.const 6)) (call $look (i32.const 9))
          (call $read (i32.const 0)) (call $read (i32.const 1)) (call $read (i32.const 4)) (call $read (i32.const 7)) (call $read (i32.const 99))
          (i32.const 0))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
          (call $look (i32.const 0)) (call $read (i32.const 0))
          (call $say (i32.const 200) (i32.const 2048) (i32.sub (global.get $at) (i32.const 2048)))
          (i32.const 0))"#,
    );
    let (_, codes) = said(ask_with_body(&plugin, Body::Whole(vec![bytes("body")])).await);
    // root: no map, no body | head: request map both ways, all others none; body to read only, configuration to read only
    // | body: request map and body both ways
    let expected = [
        "22", "12", "00", "22", "22", "22", "22", "02", "12", "12", "02", "12", "00", "00",
    ]
    .concat();
    assert_eq!(codes, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grpc_functions_say_that_they_are_not_there() {
    let bench = bench();
    let arguments = "(i32.const 0) ".repeat(12);
    let plugin = bench.plugin(
        "grpc",
        &format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (drop (call $get_status (i32.const 1032) (i32.const 1024) (i32.const 1028)))
                 (if (i32.load (i32.const 1032)) (then (unreachable)))
                 (call $say_word (call $grpc_call {arguments})) (i32.const 1))"#
        ),
    );
    assert_eq!(said(ask(&plugin, "/").await).0, 212, "Unimplemented");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_effective_context_must_exist() {
    let bench = bench();
    let plugin = bench.plugin(
        "effective",
        r#"
        (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
          (if (i32.ne (call $effective (i32.const 999)) (i32.const 2)) (then (unreachable)))
          (if (call $effective (i32.const 1)) (then (unreachable)))
          ;; The root context has no stream to answer.
          (if (i32.ne (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 2))
            (then (unreachable)))
          (if (call $effective (local.get $id)) (then (unreachable)))
          (i32.const 0))"#,
    );
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
}
