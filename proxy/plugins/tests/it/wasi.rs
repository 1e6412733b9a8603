//! The sandbox has no files, no environment, and as much of a system as a language runtime needs to start.

use crate::support::*;

/// Answers with the code of a WASI call.
async fn code(name: &str, call: &str) -> u16 {
    let bench = bench();
    let plugin = bench.plugin(
        name,
        &format!(
            r#"(data (i32.const 0) "/etc/passwd")
               (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (call $say_word {call}) (i32.const 1))"#
        ),
    );
    said(ask(&plugin, "/").await).0 - 200
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_descriptors_are_denied() {
    let open = "(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 11) (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 1032))";
    assert_eq!(code("path-open", open).await, 76);
    assert_eq!(
        code(
            "fd-read",
            "(call $fd_read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1032))"
        )
        .await,
        8
    );
    assert_eq!(
        code(
            "fd-write",
            "(call $fd_write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1032))"
        )
        .await,
        8
    );
    assert_eq!(
        code(
            "fd-write-wild",
            "(call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 1032))"
        )
        .await,
        28
    );
    assert_eq!(
        code(
            "environ",
            "(call $environ_sizes (i32.const 1032) (i32.const 1036))"
        )
        .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_move_and_randomness_is_random() {
    let bench = bench();
    let plugin = bench.plugin(
        "clocks",
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 0)))
          (loop $l
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8)))
            (br_if $l (i64.le_u (i64.load (i32.const 8)) (i64.load (i32.const 0)))))
          (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 0)))
          (drop (call $now (i32.const 8)))
          (if (i64.lt_u (i64.load (i32.const 0)) (i64.const 1700000000000000000)) (then (unreachable)))
          (if (i64.lt_u (i64.load (i32.const 8)) (i64.load (i32.const 0))) (then (unreachable)))
          (if (i32.ne (call $clock (i32.const 9) (i64.const 0) (i32.const 8)) (i32.const 28)) (then (unreachable)))
          (if (i32.ne (call $random (i32.const 0) (i32.const 65537)) (i32.const 28)) (then (unreachable)))
          (drop (call $random (i32.const 0) (i32.const 32)))
          (call $say (i32.const 200) (i32.const 0) (i32.const 32))
          (i32.const 1))"#,
    );
    let (one, two) = (
        response(ask(&plugin, "/").await),
        response(ask(&plugin, "/").await),
    );
    assert_eq!(one.body.len(), 32);
    assert_ne!(one.body, two.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn randomness_comes_in_every_size_up_to_its_bound() {
    let bench = bench();
    let plugin = bench.plugin(
        "random-sizes",
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (if (call $random (i32.const 2048) (i32.const 0)) (then (unreachable)))
          (if (i64.ne (i64.load (i32.const 2048)) (i64.const 0)) (then (unreachable)))
          (if (call $random (i32.const 2048) (i32.const 32)) (then (unreachable)))
          (if (i64.ne (i64.load (i32.const 2080)) (i64.const 0)) (then (unreachable)))
          (if (call $random (i32.const 65536) (i32.const 65536)) (then (unreachable)))
          (if (i64.ne (i64.load (i32.const 131072)) (i64.const 0)) (then (unreachable)))
          (if (i32.ne (call $random (i32.const 65536) (i32.const 65537)) (i32.const 28)) (then (unreachable)))
          (if (i32.ne (call $random (i32.const 65536) (i32.const -1)) (i32.const 28)) (then (unreachable)))
          (call $say (i32.const 200) (i32.const 65536) (i32.const 65536))
          (i32.const 1))"#,
    );
    let bytes = response(ask(&plugin, "/").await).body;
    // Each value is as frequent as the others: 256 times, and never by chance fewer than 100.
    let mut counts = [0; 256];
    bytes
        .iter()
        .for_each(|byte| counts[usize::from(*byte)] += 1);
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}
