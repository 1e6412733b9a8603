//! Header fields: what may be read, and which changes are taken.

use crate::probe::{escaped, others_are_fine, pairs, response_head};
use crate::support::*;
use aegis_plugins::{Body, Decision, Fields, RequestHead, ResponseHead};
use std::fmt::Write;
use std::sync::Arc;

const MAPS: [&str; 2] = ["0", "2"];

/// A change of the list of fields: `set` is given a list in the ABI's form.
#[derive(Clone, Copy)]
enum Change<'a> {
    Add(&'a [u8], &'a [u8]),
    Replace(&'a [u8], &'a [u8]),
    Remove(&'a [u8]),
    Set(&'a [(&'a str, &'a str)]),
}

/// A module that makes the changes in `proxy_on_request_headers` (map 0) or `proxy_on_response_headers` (map 2) and tells
/// the code of each.
fn changing(map: &str, changes: &[Change<'_>]) -> String {
    let (mut data, mut calls) = (String::new(), String::new());
    let mut at = 8192;
    let mut place = |bytes: &str, len: usize| {
        writeln!(data, "(data (i32.const {at}) \"{bytes}\")").expect("a string");
        let words = format!("(i32.const {at}) (i32.const {len})");
        at += len;
        words
    };
    for (n, change) in changes.iter().enumerate() {
        let mut raw = |bytes: &[u8]| place(&escaped(bytes), bytes.len());
        let call = match change {
            Change::Add(name, value) => {
                format!("(call $add (i32.const {map}) {} {})", raw(name), raw(value))
            }
            Change::Replace(name, value) => format!(
                "(call $replace (i32.const {map}) {} {})",
                raw(name),
                raw(value)
            ),
            Change::Remove(name) => format!("(call $remove (i32.const {map}) {})", raw(name)),
            Change::Set(list) => {
                let (bytes, len) = pairs(list);
                format!("(call $set_pairs (i32.const {map}) {})", place(&bytes, len))
            }
        };
        writeln!(calls, "(i32.store8 (i32.const {}) {call})", 4096 + n).expect("a string");
    }
    let callback = if map == "0" {
        "proxy_on_request_headers"
    } else {
        "proxy_on_response_headers"
    };
    format!(
        r#"{data} (data (i32.const 0) "aegis_waf_event")
           (func (export "{callback}") (param i32 i32 i32) (result i32)
             {calls}
             (drop (call $foreign (i32.const 0) (i32.const 15) (i32.const 4096) (i32.const {}) (i32.const 0) (i32.const 0)))
             (i32.const 0))"#,
        changes.len()
    )
}

/// The codes of the changes, and the list they made if they changed it.
async fn change(map: &str, changes: &[Change<'_>]) -> (Vec<u8>, Option<Fields>) {
    let bench = bench();
    let plugin = bench.inspecting("changes", &changing(map, changes));
    let mut verdict = ask(&plugin, "/p").await;
    if map == "2" {
        let head = ResponseHead {
            headers: [
                ("Content-Type", "text/plain"),
                ("X-One", "1"),
                ("x-one", "2"),
                ("Set-Cookie", "a=1"),
            ]
            .map(|(n, v)| (bytes(n), bytes(v)))
            .to_vec(),
            ..response_head()
        };
        verdict = verdict
            .open
            .expect("inspected")
            .response_headers(head)
            .await;
    }
    assert_eq!(verdict.decision, Decision::Continue);
    (verdict.events[0].data.to_vec(), verdict.edits)
}

fn of(fields: &Fields, name: &str) -> Vec<Vec<u8>> {
    let named = fields
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|(_, value)| value.to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_added_beside_those_of_the_same_name_even_with_an_empty_value() {
    for map in MAPS {
        let (codes, edits) = change(
            map,
            &[
                Change::Add(b"x-new", b"1"),
                Change::Add(b"x-new", b"1"),
                Change::Add(b"X-ONE", b""),
                Change::Add(b"x-empty", b""),
            ],
        )
        .await;
        let edits = edits.expect("changed");
        assert_eq!(codes, [0, 0, 0, 0]);
        assert_eq!(of(&edits, "x-new"), [b"1", b"1"]);
        assert_eq!(of(&edits, "x-one"), [&b"1"[..], b"2", b""]);
        assert_eq!(of(&edits, "x-empty"), [b""]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_replaced_whatever_its_case_and_stays_where_the_first_one_stood() {
    for map in MAPS {
        let (codes, edits) = change(
            map,
            &[
                Change::Replace(b"x-oNe", b"n"),
                Change::Replace(b"x-oNe", b"new"),
                Change::Replace(b"x-absent", b""),
            ],
        )
        .await;
        let edits = edits.expect("changed");
        assert_eq!(codes, [0, 0, 0]);
        assert_eq!(of(&edits, "x-one"), [b"new"]);
        let place = edits
            .iter()
            .position(|(name, _)| name.eq_ignore_ascii_case(b"x-one"));
        assert!(place < Some(edits.len() - 1), "{edits:?}");
        assert_eq!(
            edits.last().map(|(name, _)| name.clone()),
            Some(bytes("x-absent"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_removed_with_all_of_its_name_and_one_that_is_not_there_is_no_change() {
    for map in MAPS {
        let (codes, edits) = change(map, &[Change::Remove(b"X-ONE")]).await;
        assert_eq!(
            (codes, of(&edits.expect("changed"), "x-one")),
            (vec![0], vec![])
        );
        let (codes, edits) = change(map, &[Change::Remove(b"x-absent"), Change::Remove(b"")]).await;
        assert_eq!(codes, [0, 0]);
        assert!(edits.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_break_a_head_is_refused_and_the_list_stays_as_it_was() {
    let bad: &[(&[u8], &[u8])] = &[
        (b"", b"v"),
        (b"a b", b"v"),
        (b"a:", b"v"),
        (b"a\r\nb", b"v"),
        (b"a\0", b"v"),
        (b"\xc3\xbc", b"v"),
        (b"a", b"v\r\nset-cookie: x"),
        (b"a", b"v\n"),
        (b"a", b"v\0"),
        (b"a", b"\x7f"),
        (b"a", b"\x1b[2J"),
        (b":new", b"v"),
        (b":", b"v"),
    ];
    for map in MAPS {
        for (name, value) in bad {
            let text = [(
                std::str::from_utf8(name).expect("text"),
                std::str::from_utf8(value).expect("text"),
            )];
            let (codes, edits) = change(
                map,
                &[
                    Change::Add(name, value),
                    Change::Replace(name, value),
                    Change::Set(&text),
                ],
            )
            .await;
            assert_eq!(codes, [2, 2, 2], "{name:?} {value:?}");
            assert!(edits.is_none());
        }
    }
    // Bytes past ASCII and tabs are legal in a value.
    let (codes, _) = change("0", &[Change::Add(b"a", b"\t\xff\x80 z")]).await;
    assert_eq!(codes, [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn method_path_and_authority_are_changed_only_to_what_they_may_be() {
    let good: &[(&[u8], &[u8])] = &[
        (b":method", b"PATCH"),
        (b":path", b"/a?b=%20"),
        (b":path", b"/"),
        (b":path", b"*"),
        (b":authority", b"b.example"),
    ];
    for (name, value) in good {
        let (codes, edits) = change("0", &[Change::Replace(name, value)]).await;
        assert_eq!(codes, [0], "{name:?} {value:?}");
        let edits = edits.expect("changed");
        let name = std::str::from_utf8(name).expect("text");
        assert_eq!(of(&edits, name), [value.to_vec()]);
        if name == ":authority" {
            assert_eq!(of(&edits, "host"), [value.to_vec()]);
        }
    }
    let bad: &[(&[u8], &[u8])] = &[
        (b":method", b""),
        (b":method", b"G T"),
        (b":path", b""),
        (b":path", b"/a b"),
        (b":path", b"/ HTTP/1.1\r\nx: y"),
        (b":authority", b"a\r\nb"),
        (b":status", b"200"),
    ];
    for (name, value) in bad {
        let (codes, edits) = change(
            "0",
            &[Change::Replace(name, value), Change::Add(name, value)],
        )
        .await;
        assert_eq!(codes, [2, 2], "{name:?} {value:?}");
        assert!(edits.is_none());
    }
    for name in [":method", ":path", ":authority", ":scheme"] {
        assert_eq!(
            change("0", &[Change::Remove(name.as_bytes())]).await.0,
            [2],
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_three_digits() {
    for (value, code) in [
        ("204", 0),
        ("599", 0),
        ("", 2),
        ("20", 2),
        ("2000", 2),
        ("abc", 2),
        ("-20", 2),
        ("2 0", 2),
    ] {
        let (codes, edits) = change("2", &[Change::Replace(b":status", value.as_bytes())]).await;
        assert_eq!(codes, [code], "{value}");
        assert_eq!(edits.is_some(), code == 0);
    }
    assert_eq!(
        change(
            "2",
            &[Change::Remove(b":status"), Change::Add(b":path", b"/")]
        )
        .await
        .0,
        [2, 2]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_list_takes_the_place_of_the_old_one_and_keeps_the_pseudo_fields() {
    let (codes, edits) = change(
        "0",
        &[Change::Set(&[("a", "1"), ("A", "2"), (":path", "/new")])],
    )
    .await;
    assert_eq!(codes, [0]);
    let edits = edits.expect("changed");
    let names: Vec<_> = edits
        .iter()
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(
        names,
        [":method", ":scheme", ":authority", ":path", "a", "A"]
    );
    let (codes, edits) = change("2", &[Change::Set(&[])]).await;
    assert_eq!(
        (codes, edits),
        (vec![0], Some(vec![(bytes(":status"), bytes("200"))]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_many_fields_is_read_whole_and_bounded_when_it_is_written() {
    let bench = bench();
    let plugin = bench.plugin(
        "reads-many",
        r#"(func (export "proxy_on_request_headers") (param i32) (param $n i32) (param i32) (result i32)
             (drop (call $get_pairs (i32.const 0) (i32.const 1024) (i32.const 1028)))
             (i32.store (i32.const 1032) (i32.load (i32.load (i32.const 1024))))
             (if (i32.ne (i32.load (i32.const 1032)) (local.get $n)) (then (unreachable)))
             (call $say_word (call $set_pairs (i32.const 0) (i32.load (i32.const 1024)) (i32.load (i32.const 1028))))
             (i32.const 1))"#,
    );
    for (fields, code) in [(100, 200), (512 - 4, 200), (512 - 3, 202), (4000, 202)] {
        let head = RequestHead {
            headers: vec![(bytes("x-many"), bytes("v")); fields],
            ..head("/")
        };
        let answer = response(plugin.request(Arc::new(head), Body::None, site("a")).await);
        assert_eq!(answer.status, code, "{fields}");
        assert_eq!(
            answer.body[..],
            u32::try_from(fields + 4).expect("few").to_le_bytes()
        );
    }
    assert!(metric("aegis_limit_hits_total{limit=\"plugin_header_fields\"}") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_bomb_is_refused_before_it_is_kept() {
    let bench = bench();
    // Doubles one field's value for as long as it may; then adds values of 64 KiB; then sets a list of 300 KiB.
    let plugin = bench.plugin(
        "bomb",
        r#"
        (data (i32.const 0) "x-bomb")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (local $len i32) (local $all i32)
          (drop (memory.grow (i32.const 8)))
          (memory.fill (i32.const 2048) (i32.const 97) (i32.const 600000))
          (local.set $len (i32.const 1))
          (loop $l
            (local.set $len (i32.mul (local.get $len) (i32.const 2)))
            (br_if $l (i32.eqz (call $replace (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 2048) (local.get $len)))))
          (loop $m
            (local.set $all (i32.add (local.get $all) (i32.const 1)))
            (br_if $m (i32.eqz (call $add (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 2048) (i32.const 65536)))))
          (if (i32.gt_u (local.get $all) (i32.const 4)) (then (unreachable)))
          (if (i32.ne (call $set_pairs (i32.const 0) (i32.const 2048) (i32.const 300000)) (i32.const 2)) (then (unreachable)))
          (i32.const 0))"#,
    );
    let verdict = ask(&plugin, "/").await;
    assert_eq!(verdict.decision, Decision::Continue);
    let size: usize = verdict
        .edits
        .expect("changed")
        .iter()
        .map(|(n, v)| n.len() + v.len())
        .sum();
    assert!(size <= 256 << 10, "{size}");
    others_are_fine(&bench, &plugin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_empty_is_not_one_that_is_missing() {
    let bench = bench();
    let plugin = bench.plugin(
        "empty-value",
        r#"
        (data (i32.const 0) "x-emptyx-none")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (if (call $get (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 1024) (i32.const 1028)) (then (unreachable)))
          (if (i32.or (i32.load (i32.const 1024)) (i32.load (i32.const 1028))) (then (unreachable)))
          (call $say_word (call $get (i32.const 0) (i32.const 7) (i32.const 6) (i32.const 1024) (i32.const 1028)))
          (i32.const 1))"#,
    );
    let mut head = head("/");
    head.headers.push((bytes("X-Empty"), bytes("")));
    let verdict = plugin.request(Arc::new(head), Body::None, site("a")).await;
    assert_eq!(said(verdict).0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_and_bodies_of_no_kind_are_refused_by_every_function() {
    let bench = bench();
    let kinds = ["1", "3", "4", "5", "8", "100", "-1", "0x7fffffff"];
    let mut calls = String::new();
    for kind in kinds {
        for call in [
            "(call $map_size (i32.const {}) (i32.const 1032))",
            "(call $get_pairs (i32.const {}) (i32.const 1024) (i32.const 1028))",
            "(call $set_pairs (i32.const {}) (i32.const 0) (i32.const 0))",
            "(call $get (i32.const {}) (i32.const 0) (i32.const 4) (i32.const 1024) (i32.const 1028))",
            "(call $add (i32.const {}) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 1))",
            "(call $replace (i32.const {}) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 1))",
            "(call $remove (i32.const {}) (i32.const 0) (i32.const 4))",
        ] {
            let call = call.replace("{}", kind);
            writeln!(
                calls,
                "(if (i32.ne {call} (i32.const 2)) (then (unreachable)))"
            )
            .expect("a string");
        }
    }
    for kind in ["2", "3", "5", "8", "100", "-1", "0x7fffffff"] {
        for (call, code) in [
            (
                "(call $get_buffer (i32.const {}) (i32.const 0) (i32.const 9) (i32.const 1024) (i32.const 1028))",
                1,
            ),
            (
                "(call $buffer_status (i32.const {}) (i32.const 1024) (i32.const 1028))",
                1,
            ),
            (
                "(call $set_buffer (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))",
                2,
            ),
        ] {
            let call = call.replace("{}", kind);
            writeln!(
                calls,
                "(if (i32.ne {call} (i32.const {code})) (then (unreachable)))"
            )
            .expect("a string");
        }
    }
    let plugin = bench.plugin(
        "no-kind",
        &format!(
            r#"(data (i32.const 0) "host")
               (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) {calls} (i32.const 0))"#
        ),
    );
    let verdict = ask_with_body(&plugin, Body::Whole(vec![bytes("body")])).await;
    assert_eq!(verdict.decision, Decision::Continue);
    assert!(verdict.edits.is_none() && verdict.new_body.is_none());
}
