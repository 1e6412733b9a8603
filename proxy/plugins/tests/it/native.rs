//! Native operators: what a module that asks for them gets, and what one gets that lies.

use crate::support::*;
use aegis_plugins::{Decision, LocalResponse};

/// A module that compiles `b(x)?c` at its start, and at a request asks `search` for it with these words: number, value,
/// its length, groups, room for groups.
async fn asked(bench: &Bench, name: &str, words: [&str; 5], argument_len: u32) -> LocalResponse {
    let [number, value, len, groups, room] = words;
    let own = format!(
        r#"(data (i32.const 0) "aegis_rx_compile") (data (i32.const 32) "aegis_rx_search")
        (data (i32.const 64) "b(x)?c") (data (i32.const 96) "abc") (data (i32.const 100) "a\ffbc")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (if (call $foreign (i32.const 0) (i32.const 16) (i32.const 64) (i32.const 6) (i32.const 1024) (i32.const 1028))
            (then (return (i32.const 0))))
          (i32.store (i32.const 200) (i32.load (i32.load (i32.const 1024))))
          (i32.eq (i32.load (i32.const 1028)) (i32.const 4)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.store (i32.const 512) {number}) (i32.store (i32.const 516) {value}) (i32.store (i32.const 520) {len})
          (i32.store (i32.const 524) {groups}) (i32.store (i32.const 528) {room})
          (call $say (i32.add (i32.const 200)
              (call $foreign (i32.const 32) (i32.const 15) (i32.const 512) (i32.const {argument_len}) (i32.const 0) (i32.const 0)))
            (i32.const 1032) (i32.const 16))
          (i32.const 0))"#
    );
    let plugin = bench.plugin(name, &own);
    match ask(&plugin, "/").await.decision {
        Decision::Respond(answer) => answer,
        other => panic!("{name}: {other:?}"),
    }
}

const NUMBER: &str = "(i32.load (i32.const 200))";
const VALUE: &str = "(i32.const 96)";
const THREE: &str = "(i32.const 3)";
const GROUPS: &str = "(i32.const 1032)";
const TWO: &str = "(i32.const 2)";
const ALL: &str = "(i32.const -1)";

fn words(answer: &LocalResponse) -> Vec<i32> {
    let words = answer.body.as_chunks::<4>().0.iter();
    words.map(|word| i32::from_le_bytes(*word)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_matches_tells_its_groups() {
    let bench = bench();
    let found = asked(&bench, "found", [NUMBER, VALUE, THREE, GROUPS, TWO], 20).await;
    assert_eq!((found.status, words(&found)), (200, vec![1, 3, -1, -1]));
    let text = ["(i32.const 100)", "(i32.const 4)"];
    let found = asked(&bench, "bytes", [NUMBER, text[0], text[1], GROUPS, TWO], 20).await;
    assert_eq!((found.status, words(&found)), (200, vec![2, 4, -1, -1]));
    let none = asked(&bench, "none", [NUMBER, VALUE, TWO, GROUPS, TWO], 20).await;
    assert_eq!((none.status, words(&none)), (207, vec![0; 4]), "Empty");
    let any = asked(
        &bench,
        "any",
        [NUMBER, VALUE, THREE, "(i32.const 0)", "(i32.const 0)"],
        20,
    )
    .await;
    assert_eq!((any.status, words(&any)), (200, vec![0; 4]));
    // Room for more than there can be is filled with no more than that.
    let room = asked(&bench, "room", [NUMBER, VALUE, THREE, GROUPS, ALL], 20).await;
    assert_eq!((room.status, words(&room)), (200, vec![1, 3, -1, -1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_places_that_are_none_are_refused_and_nothing_is_written_outside() {
    let bench = bench();
    let memory_end = "(i32.const 262136)";
    for (name, words, len, status) in [
        (
            "number",
            ["(i32.const 77)", VALUE, THREE, GROUPS, TWO],
            20,
            202,
        ),
        ("negative", [ALL, VALUE, THREE, GROUPS, TWO], 20, 202),
        ("short", [NUMBER, VALUE, THREE, GROUPS, TWO], 16, 202),
        ("long", [NUMBER, VALUE, THREE, GROUPS, TWO], 21, 202),
        ("value", [NUMBER, ALL, THREE, GROUPS, TWO], 20, 206),
        ("length", [NUMBER, VALUE, ALL, GROUPS, TWO], 20, 206),
        ("groups", [NUMBER, VALUE, THREE, memory_end, TWO], 20, 206),
        (
            "wraps",
            [NUMBER, VALUE, THREE, "(i32.const -8)", TWO],
            20,
            206,
        ),
    ] {
        let answer = asked(&bench, name, words, len).await;
        assert_eq!(answer.status, status, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_are_compiled_at_the_start_only_and_not_when_they_are_none() {
    let bench = bench();
    let compile = r#"(call $foreign (i32.const 0) (i32.const 16) (i32.const 64) (i32.const 6) (i32.const 1024) (i32.const 1028))"#;
    let own = |pattern: &str| {
        format!(
            r#"(data (i32.const 0) "aegis_rx_compile") (data (i32.const 64) "{pattern}")
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
              (i32.store (i32.const 300) {compile}) (i32.const 1))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (call $say (i32.add (i32.const 200) {compile}) (i32.const 300) (i32.const 4)) (i32.const 0))"#
        )
    };
    for (name, pattern, at_start) in [("good", "a(b)?c", 0), ("bad", "a(?=b)", 12)] {
        let plugin = bench.plugin(name, &own(pattern));
        let Decision::Respond(answer) = ask(&plugin, "/").await.decision else {
            panic!("an answer");
        };
        assert_eq!(
            (answer.status, words(&answer)),
            (202, vec![at_start]),
            "{name}"
        );
    }
}
