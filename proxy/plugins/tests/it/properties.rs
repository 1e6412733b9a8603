//! Properties: what may be kept with a stream, under which names, and how much of it.

use crate::probe::escaped;
use crate::support::*;
use aegis_plugins::Decision;

/// Sets a property of this path to `size` bytes; the status.
async fn set(path: &[u8], size: u32) -> u16 {
    let bench = bench();
    let plugin = bench.plugin(
        "sets",
        &format!(
            r#"(data (i32.const 2048) "{}")
               (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (call $say_word (call $set_property (i32.const 2048) (i32.const {}) (i32.const 65536) (i32.const {size})))
                 (i32.const 1))"#,
            escaped(path),
            path.len()
        ),
    );
    said(ask(&plugin, "/").await).0 - 200
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_fact_can_be_set() {
    for fact in [
        "request.path",
        "request.headers.x-one",
        "response.code",
        "source.address",
        "destination.port",
        "connection.mtls",
        "aegis.site",
        "aegis.waf_policy",
        "aegis.anything",
        "plugin_name",
        "plugin_root_id",
    ] {
        let dots = fact.as_bytes();
        let zeros = fact.replace('.', "\0");
        let mixed = fact.replacen('.', "\0", 1);
        for path in [
            dots,
            zeros.as_bytes(),
            mixed.as_bytes(),
            format!("{zeros}\0").as_bytes(),
            format!("{zeros}\0\0").as_bytes(),
        ] {
            assert_eq!(set(path, 1).await, 2, "{fact}: {path:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_values_of_properties_have_their_bounds() {
    assert_eq!(set(b"", 1).await, 2);
    assert_eq!(set(b"\0", 1).await, 2);
    assert_eq!(set(b"\xff", 1).await, 2);
    assert_eq!(set(b"mine", 0).await, 0);
    assert_eq!(set(&[b'a'; 1024], 1).await, 0);
    assert_eq!(set(&[b'a'; 1025], 1).await, 2);
    assert_eq!(set(b"mine", (64 << 10) - 4).await, 0);
    assert_eq!(set(b"mine", (64 << 10) - 3).await, 2);
    assert_eq!(set(b"mine", (64 << 10) + 1).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_without_end_stop_at_their_number_and_go_with_their_stream() {
    let bench = bench();
    let plugin = bench.plugin(
        "many-properties",
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (local $code i32)
             (i32.store (i32.const 1032) (i32.const 0))
             (loop $l
               (i32.store (i32.const 1032) (i32.add (i32.load (i32.const 1032)) (i32.const 1)))
               (i32.store8 (i32.const 2048) (i32.add (i32.const 48) (i32.and (i32.load (i32.const 1032)) (i32.const 7))))
               (i32.store8 (i32.const 2049) (i32.add (i32.const 48) (i32.shr_u (i32.load (i32.const 1032)) (i32.const 3))))
               (local.set $code (call $set_property (i32.const 2048) (i32.const 2) (i32.const 2048) (i32.const 2)))
               (br_if $l (i32.eqz (local.get $code))))
             (call $say_word (local.get $code))
             (i32.const 1))"#,
    );
    for _ in 0..3 {
        let answer = response(ask(&plugin, "/").await);
        assert_eq!(
            (answer.status, &answer.body[..]),
            (202, &65_u32.to_le_bytes()[..])
        );
    }
    assert!(metric("aegis_limit_hits_total{limit=\"plugin_properties\"}") >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_is_set_again_and_emptied_and_no_other_stream_sees_it() {
    let bench = bench();
    let plugin = bench.plugin(
        "again",
        r#"
        (data (i32.const 0) "my\00ownfirstsecond")
        (func $set (param $at i32) (param $len i32)
          (if (call $set_property (i32.const 0) (i32.const 6) (local.get $at) (local.get $len)) (then (unreachable))))
        (func $is (param $len i32)
          (if (call $get_property (i32.const 0) (i32.const 6) (i32.const 1024) (i32.const 1028)) (then (unreachable)))
          (if (i32.ne (i32.load (i32.const 1028)) (local.get $len)) (then (unreachable))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (if (i32.ne (call $get_property (i32.const 0) (i32.const 6) (i32.const 1024) (i32.const 1028)) (i32.const 1)) (then (unreachable)))
          (call $set (i32.const 6) (i32.const 5)) (call $is (i32.const 5))
          (call $set (i32.const 11) (i32.const 6)) (call $is (i32.const 6))
          (call $set (i32.const 0) (i32.const 0)) (call $is (i32.const 0))
          (i32.const 0))"#,
    );
    for _ in 0..3 {
        assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
    }
}
