//! Bodies: reading and changing pieces of them, at their edges.

use crate::probe::response_head;
use crate::support::*;
use aegis_plugins::{Body, Decision};
use bytes::Bytes;

/// Reads `max` bytes from `start` on of a body of ten, and answers with them.
async fn read(start: i64, max: i64) -> (u16, String) {
    let bench = bench();
    let plugin = bench.plugin(
        "reads",
        &format!(
            r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
                 (call $say_result (call $get_buffer (i32.const 0) (i32.const {start}) (i32.const {max}) (i32.const 1024) (i32.const 1028)))
                 (i32.const 1))"#
        ),
    );
    let body = Body::Whole(vec![bytes("0123"), bytes("456"), bytes("789")]);
    said(ask_with_body(&plugin, body).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_piece_of_a_body_is_read_and_what_is_past_its_end_is_left_out() {
    for (start, max, expected) in [
        (0, 10, "0123456789"),
        (0, 4_294_967_295, "0123456789"),
        (0, 1, "0"),
        (3, 2, "34"),
        (2, 7, "2345678"),
        (9, 1, "9"),
        (9, 100, "9"),
        (10, 1, ""),
        (11, 1, ""),
        (0, 0, ""),
        (5, 0, ""),
        (4_294_967_295, 4_294_967_295, ""),
        (2_147_483_648, 2_147_483_648, ""),
    ] {
        assert_eq!(
            read(start, max).await,
            (200, expected.into()),
            "{max} from {start}"
        );
    }
}

/// Puts `with` in the place of `len` bytes from `start` on of `body`; what the body is then, and the status.
async fn write(body: &'static str, start: i64, len: i64, with: &str) -> (u8, Option<Bytes>) {
    let bench = bench();
    let size = with.len();
    let plugin = bench.plugin(
        "writes",
        &format!(
            r#"(data (i32.const 0) "{with}") (data (i32.const 900) "aegis_waf_event")
               (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
                 (i32.store8 (i32.const 920) (call $set_buffer (i32.const 0) (i32.const {start}) (i32.const {len}) (i32.const 0) (i32.const {size})))
                 (drop (call $foreign (i32.const 900) (i32.const 15) (i32.const 920) (i32.const 1) (i32.const 0) (i32.const 0)))
                 (i32.const 0))"#
        ),
    );
    let chunks = if body.is_empty() {
        vec![]
    } else {
        vec![bytes(body)]
    };
    let verdict = ask_with_body(&plugin, Body::Whole(chunks)).await;
    assert_eq!(verdict.decision, Decision::Continue);
    (verdict.events[0].data[0], verdict.new_body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_of_a_body_is_replaced_by_a_shorter_a_longer_or_none() {
    let all = 4_294_967_295;
    for (body, start, len, with, expected) in [
        ("hello", 0, 0, ">", ">hello"),
        ("hello", 5, 0, "<", "hello<"),
        ("hello", 99, 7, "<", "hello<"),
        ("hello", 0, 5, "bye", "bye"),
        ("hello", 0, all, "good morning", "good morning"),
        ("hello", 0, all, "", ""),
        ("hello", 1, 3, "ipp", "hippo"),
        ("hello", 4, all, "", "hell"),
        ("hello", all, all, "!", "hello!"),
        ("hello", 0, 0, "", "hello"),
        ("", 0, 0, "new", "new"),
        ("", 7, 7, "new", "new"),
    ] {
        let (code, now) = write(body, start, len, with).await;
        assert_eq!(
            (code, now.as_deref()),
            (0, Some(expected.as_bytes())),
            "{body:?} {start} {len} {with:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_grows_to_its_bound_and_no_further() {
    // `body_max` is 64 bytes; the body has 60.
    for (len, size, code) in [
        (0, 4, 0),
        (0, 5, 2),
        (60, 64, 0),
        (60, 65, 2),
        (10, 14, 0),
        (10, 15, 2),
        (60, 0, 0),
    ] {
        let bench = bench();
        let mut spec = bench.spec(
            "grows",
            &wat(&format!(
                r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
                     (call $say_word (call $set_buffer (i32.const 0) (i32.const 0) (i32.const {len}) (i32.const 0) (i32.const {size})))
                     (i32.const 1))"#
            )),
        );
        spec.body_max = 64;
        let plugin = bench.prepare(spec).expect("a plugin");
        let body = Body::Whole(vec![Bytes::from(vec![b'x'; 60])]);
        assert_eq!(
            said(ask_with_body(&plugin, body).await).0,
            200 + code,
            "{size} for {len}"
        );
    }
    assert!(metric("aegis_limit_hits_total{limit=\"plugin_body\"}") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_body_is_its_length() {
    let bench = bench();
    let plugin = bench.inspecting(
        "lengths",
        r#"
        (func $length (param $kind i32) (result i32)
          (drop (call $buffer_status (local.get $kind) (i32.const 1032) (i32.const 1036)))
          (if (i32.load (i32.const 1036)) (then (unreachable)))
          (i32.load (i32.const 1032)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (if (i32.ne (call $length (i32.const 0)) (i32.const 0)) (then (unreachable)))
          (if (i32.ne (call $length (i32.const 7)) (i32.const 20)) (then (unreachable)))
          (if (i32.ne (call $length (i32.const 6)) (i32.const 0)) (then (unreachable)))
          (i32.const 0))
        (func (export "proxy_on_request_body") (param i32) (param $len i32) (param i32) (result i32)
          (if (i32.ne (call $length (i32.const 0)) (local.get $len)) (then (unreachable))) (i32.const 0))
        (func (export "proxy_on_response_body") (param i32) (param $len i32) (param i32) (result i32)
          (if (i32.ne (call $length (i32.const 1)) (local.get $len)) (then (unreachable)))
          (call $say (i32.const 200) (i32.const 1032) (i32.const 4)) (i32.const 0))"#,
    );
    let mut open = ask_with_body(&plugin, Body::Whole(vec![bytes("four")]))
        .await
        .open
        .expect("inspected");
    assert_eq!(
        open.response_headers(response_head()).await.decision,
        Decision::Continue
    );
    assert_eq!(
        response(response_body(&mut open, "three", true)).body[..],
        5_u32.to_le_bytes()
    );
}
