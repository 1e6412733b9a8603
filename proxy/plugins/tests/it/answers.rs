//! Local responses: what may be in one, and where it may come from.

use crate::probe::*;
use crate::support::*;
use aegis_plugins::{Body, Decision};

/// Answers, tells what came of it in an event, and goes on.
fn answers(data: &str, call: &str) -> String {
    format!(
        r#"(data (i32.const 0) "{data}") (data (i32.const 900) "aegis_waf_event")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (i32.store8 (i32.const 920) (call $respond {call}))
             (drop (call $foreign (i32.const 900) (i32.const 15) (i32.const 920) (i32.const 1) (i32.const 0) (i32.const 0)))
             (i32.const 0))"#
    )
}

/// The status of the call, and what became of the request.
async fn tried(data: &str, call: &str) -> (u8, Decision) {
    let bench = bench();
    let plugin = bench.plugin("answers", &answers(data, call));
    let verdict = ask(&plugin, "/").await;
    assert!(ask(&bench.plugin("other", ""), "/").await.decision == Decision::Continue);
    (verdict.events[0].data[0], verdict.decision)
}

fn with_status(status: i32) -> String {
    format!("(i32.const {status}) {}", "(i32.const 0) ".repeat(7))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_200_to_599_and_any_other_lets_the_request_go_on() {
    for status in [200, 204, 304, 404, 599] {
        let (code, decision) = tried("", &with_status(status)).await;
        let Decision::Respond(answer) = decision else {
            panic!("{status}: {decision:?}")
        };
        assert_eq!((code, i32::from(answer.status)), (0, status));
        assert!(answer.headers.is_empty() && answer.body.is_empty() && answer.details.is_empty());
    }
    for status in [0, -1, 99, 100, 103, 199, 600, 999, 65736, i32::MIN] {
        assert_eq!(
            tried("", &with_status(status)).await,
            (2, Decision::Continue),
            "{status}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_an_answer_are_legal_or_the_whole_answer_is_refused() {
    let with = |fields: &[(&str, &str)]| {
        let (data, len) = pairs(fields);
        let call = format!(
            "(i32.const 200) {} (i32.const 0) (i32.const {len}) (i32.const -1)",
            "(i32.const 0) ".repeat(4)
        );
        (data, call)
    };
    for good in [
        ("x", "1"),
        ("X-Empty", ""),
        ("x", "\t a\u{fc}"),
        ("x!#$%&'*+-.^_`|~9", "v"),
    ] {
        let (data, call) = with(&[good]);
        let (code, decision) = tried(&data, &call).await;
        assert!(
            matches!(decision, Decision::Respond(answer) if code == 0 && answer.headers.len() == 1),
            "{good:?}"
        );
    }
    for bad in [
        ("", "no name"),
        ("a b", "1"),
        ("a:", "1"),
        (":status", "200"),
        ("x\r\ny", "1"),
        ("\u{fc}", "1"),
        ("x", "a\r\nset-cookie: b"),
        ("x", "a\0b"),
        ("x", "\u{7f}"),
    ] {
        let (data, call) = with(&[("fine", "1"), bad]);
        assert_eq!(
            tried(&data, &call).await,
            (2, Decision::Continue),
            "{bad:?}"
        );
    }
    // Lengths that do not add up, and more fields than a head may have.
    let call = |len: usize| {
        format!(
            "(i32.const 200) {} (i32.const 0) (i32.const {len}) (i32.const -1)",
            "(i32.const 0) ".repeat(4)
        )
    };
    assert_eq!(
        tried("\\01\\00\\00\\00\\ff\\00\\00\\00", &call(8)).await,
        (4, Decision::Continue)
    );
    assert_eq!(
        tried("\\01\\02\\00\\00", &call(4)).await,
        (2, Decision::Continue)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_mebibyte_is_an_answer_and_one_byte_more_is_not() {
    let grow = "(drop (memory.grow (i32.const 20)))";
    for (len, expected) in [(1 << 20, 0), ((1 << 20) + 1, 2)] {
        let bench = bench();
        let call = format!(
            "(i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {len}) (i32.const 0) (i32.const 0) (i32.const -1)"
        );
        let own = answers("", &call).replace(
            "(i32.store8 (i32.const 920)",
            &format!("{grow} (i32.store8 (i32.const 920)"),
        );
        let verdict = ask(&bench.plugin("long-body", &own), "/").await;
        assert_eq!(verdict.events[0].data[0], expected, "{len}");
        assert_eq!(
            matches!(verdict.decision, Decision::Respond(_)),
            expected == 0
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn details_are_cut_and_need_not_be_text() {
    let call = "(i32.const 403) (i32.const 2048) (i32.const 60000) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)";
    let Decision::Respond(answer) = tried("", call).await.1 else {
        panic!("no answer")
    };
    assert_eq!(answer.details.len(), 1024);
    let call = "(i32.const 403) (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)";
    let Decision::Respond(answer) = tried("\\ff\\fe", call).await.1 else {
        panic!("no answer")
    };
    assert_eq!(answer.details, "\u{fffd}\u{fffd}");
}

/// Answers 418 and says `Continue`, in the callback of this letter.
fn answers_in(letter: char) -> String {
    everywhere(
        "",
        &format!(
            "(if (i32.ne (local.get $at) (i32.const {})) (then (return (i32.const 0))))
             (call $respond (i32.const 418) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))",
            u32::from(letter)
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ends_the_stream_in_each_callback_that_may_give_one_and_none_comes_after_it() {
    for (letter, verdicts) in [('f', 1), ('g', 1), ('h', 1), ('i', 2), ('j', 3)] {
        let bench = answering(2);
        let plugin = bench.inspecting(&format!("answers-in-{letter}"), &answers_in(letter));
        let mut all = through(&plugin).await;
        assert_eq!(all.len(), verdicts, "{letter}");
        let last = all.pop().expect("a verdict");
        assert_eq!(said(last), (418, String::new()), "{letter}");
        assert!(
            all.iter()
                .all(|verdict| verdict.decision == Decision::Continue)
        );
        drop(all);
        // The context still ends as it should.
        until("it is deleted", || code(&plugin, 'm').is_some()).await;
        let later = CALLBACKS
            .map(|(l, _)| l)
            .into_iter()
            .filter(|l| *l > letter && *l < 'k');
        for later in later.filter(|_| letter != 'f') {
            assert_eq!(code(&plugin, later), None, "{later} after {letter}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_the_stream_is_refused_and_changes_nothing() {
    for letter in ['a', 'b', 'c', 'd', 'e', 'k', 'l', 'm'] {
        let bench = answering(2);
        let plugin = bench.inspecting(&format!("late-answer-{letter}"), &answers_in(letter));
        let all = through(&plugin).await;
        assert!(
            all.iter()
                .all(|verdict| verdict.decision == Decision::Continue),
            "{letter}"
        );
        drop(all);
        until("it was tried", || code(&plugin, letter).is_some()).await;
        assert_eq!(code(&plugin, letter), Some(2), "{letter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_be_answered_when_its_context_is_created() {
    let bench = bench();
    let wat = wat(r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (unreachable))"#).replace(
        "(global.set $heap (i32.const 65536)))",
        "(if (local.get 1) (then (call $say (i32.const 401) (i32.const 0) (i32.const 0)))))",
    );
    let plugin = bench
        .prepare(bench.spec("at-creation", &wat))
        .expect("a plugin");
    for _ in 0..2 {
        assert_eq!(said(ask(&plugin, "/").await).0, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_closed_after_it_was_answered_is_answered() {
    let bench = bench();
    let plugin = bench.plugin(
        "answers-and-closes",
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $say (i32.const 429) (i32.const 0) (i32.const 0))
             (drop (call $close (i32.const 0)))
             (drop (call $continue (i32.const 0)))
             (i32.const 1))"#,
    );
    let body = Body::Whole(vec![bytes("body")]);
    assert_eq!(said(ask_with_body(&plugin, body).await).0, 429);
}
