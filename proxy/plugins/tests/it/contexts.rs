//! Where each function may be called: every one is tried in every callback, and the plugin contract's table says what comes
//! of it.

use crate::probe::*;
use crate::support::*;
use std::path::Path;

const START: &str = "<!-- contexts:start -->\n";
const END: &str = "<!-- contexts:end -->";

/// The columns of the table.
const COLUMNS: [&str; 9] = ["ab", "cd", "e", "f", "g", "h", "i", "j", "klm"];

/// Row → statuses, from `wasm-modules/README.md`.
fn table() -> Vec<(String, Vec<u64>)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wasm-modules/README.md");
    let text = std::fs::read_to_string(file).expect("the plugin contract");
    let (_, rest) = text.split_once(START).expect("the start of the table");
    let (table, _) = rest.split_once(END).expect("the end of the table");
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().expect("a name").replace('`', "");
        let codes: Vec<u64> = cells.map(|cell| cell.parse().expect("a status")).collect();
        assert_eq!(codes.len(), COLUMNS.len(), "{line}");
        (name, codes)
    };
    table.lines().skip(2).map(row).collect()
}

async fn row(name: &str, data: &str, call: &str) {
    let table = table();
    let (_, expected) = table
        .iter()
        .find(|(row, _)| row == name)
        .expect("a row of the table");
    let plugin_name = name.replace(' ', "_");
    let mut got = Vec::new();
    // What ends or resumes a stream changes what follows, so it is tried in one callback after the other.
    let steers = ["local_response", "_stream"]
        .iter()
        .any(|part| name.contains(part));
    let all: String = COLUMNS.concat();
    let rounds = if steers {
        all.chars().map(String::from).collect()
    } else {
        vec![all]
    };
    let mut codes = std::collections::HashMap::new();
    for (n, letters) in rounds.iter().enumerate() {
        let bench = answering(2);
        let only = letters
            .chars()
            .next()
            .filter(|_| steers)
            .map_or(String::new(), |letter| {
                format!(
                    "(if (i32.ne (local.get $at) (i32.const {})) (then (return (i32.const 0))))",
                    u32::from(letter)
                )
            });
        let plugin = bench.inspecting(
            &format!("{plugin_name}-{n}"),
            &everywhere(data, &format!("{only} {call}")),
        );
        let verdicts = through(&plugin).await;
        if !steers {
            assert!(
                verdicts
                    .iter()
                    .all(|v| v.decision == aegis_plugins::Decision::Continue),
                "{name}: {verdicts:?}"
            );
        }
        drop(verdicts);
        for letter in letters.chars() {
            until(&format!("{name} in {letter}"), || {
                code(&plugin, letter).is_some()
            })
            .await;
            codes.insert(letter, code(&plugin, letter).expect("tried"));
        }
        assert_eq!(
            metric(&format!(
                "aegis_plugin_faults_total{{kind=\"trap\",plugin=\"{}\"}}",
                plugin.name()
            )),
            0
        );
    }
    for column in COLUMNS {
        let mut of_column: Vec<u64> = column.chars().map(|letter| codes[&letter]).collect();
        of_column.dedup();
        got.push(of_column);
    }
    let expected: Vec<_> = expected.iter().map(|code| vec![*code]).collect();
    assert_eq!(
        got, expected,
        "{name}, in the callbacks {COLUMNS:?} of {CALLBACKS:?}"
    );
}

/// `$tried` of each row of the table, and a test for it.
macro_rules! rows {
    ($($test:ident: $row:literal, $data:literal, $call:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            row($row, $data, $call).await;
        })+

        #[test]
        fn every_row_of_the_table_is_tried() {
            let rows: Vec<String> = table().into_iter().map(|(name, _)| name).collect();
            assert_eq!(rows, [$($row),+]);
        }
    };
}

rows! {
    a_line_may_be_logged_anywhere: "proxy_log", "line", "(call $log (i32.const 0) (i32.const 0) (i32.const 4))";
    the_time_may_be_asked_for_anywhere: "proxy_get_current_time_nanoseconds", "", "(call $now (i32.const 1032))";
    the_period_of_ticks_may_be_set_anywhere: "proxy_set_tick_period_milliseconds", "", "(call $set_tick (i32.const 10))";
    the_configuration_may_be_read_anywhere: "proxy_get_buffer_bytes plugin configuration", "", "(call $get_buffer (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 1024) (i32.const 1028))";
    a_request_body_is_read_until_the_verdict: "proxy_get_buffer_bytes request body", "", "(call $get_buffer (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 1024) (i32.const 1028))";
    a_request_body_is_changed_in_its_callback_only: "proxy_set_buffer_bytes request body", "x", "(call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))";
    a_response_body_is_read_from_the_response_on: "proxy_get_buffer_bytes response body", "", "(call $get_buffer (i32.const 1) (i32.const 0) (i32.const 9) (i32.const 1024) (i32.const 1028))";
    a_response_body_is_changed_in_its_callback_only: "proxy_set_buffer_bytes response body", "x", "(call $set_buffer (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))";
    the_body_of_a_calls_answer_is_read_in_its_callback_only: "proxy_get_buffer_bytes body of a call's answer", "", "(call $get_buffer (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 1024) (i32.const 1028))";
    bodies_of_what_is_no_http_stream_are_nowhere: "proxy_get_buffer_bytes anything else", "", "(call $get_buffer (i32.const 100) (i32.const 0) (i32.const 9) (i32.const 1024) (i32.const 1028))";
    request_fields_are_read_with_their_stream: "proxy_get_header_map_pairs request", "", "(call $get_pairs (i32.const 0) (i32.const 1024) (i32.const 1028))";
    a_request_field_is_read_with_its_stream: "proxy_get_header_map_value request", "x-one", "(call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028))";
    a_request_field_is_added_until_the_verdict: "proxy_add_header_map_value request", "x-newv", "(call $add (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1))";
    a_request_field_is_replaced_until_the_verdict: "proxy_replace_header_map_value request", "x-onev", "(call $replace (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1))";
    a_request_field_is_removed_until_the_verdict: "proxy_remove_header_map_value request", "x-two", "(call $remove (i32.const 0) (i32.const 0) (i32.const 5))";
    request_fields_are_set_until_the_verdict: "proxy_set_header_map_pairs request", "\\01\\00\\00\\00\\05\\00\\00\\00\\01\\00\\00\\00x-one\\001\\00", "(call $set_pairs (i32.const 0) (i32.const 0) (i32.const 20))";
    response_fields_are_read_from_the_response_on: "proxy_get_header_map_pairs response", "", "(call $get_pairs (i32.const 2) (i32.const 1024) (i32.const 1028))";
    a_response_field_is_read_from_the_response_on: "proxy_get_header_map_value response", "x-one", "(call $get (i32.const 2) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028))";
    a_response_field_is_added_in_the_callback_of_the_head_only: "proxy_add_header_map_value response", "x-newv", "(call $add (i32.const 2) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1))";
    a_response_field_is_replaced_in_the_callback_of_the_head_only: "proxy_replace_header_map_value response", "x-onev", "(call $replace (i32.const 2) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1))";
    a_response_field_is_removed_in_the_callback_of_the_head_only: "proxy_remove_header_map_value response", "x-two", "(call $remove (i32.const 2) (i32.const 0) (i32.const 5))";
    response_fields_are_set_in_the_callback_of_the_head_only: "proxy_set_header_map_pairs response", "\\01\\00\\00\\00\\05\\00\\00\\00\\01\\00\\00\\00x-one\\001\\00", "(call $set_pairs (i32.const 2) (i32.const 0) (i32.const 20))";
    the_fields_of_a_calls_answer_are_read_in_its_callback_only: "proxy_get_header_map_value a call's answer", "x-one", "(call $get (i32.const 6) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028))";
    the_trailers_of_a_calls_answer_are_read_in_its_callback_only: "proxy_get_header_map_value trailers of a call's answer", "x-one", "(call $get (i32.const 7) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028))";
    fields_of_a_calls_answer_are_never_changed: "proxy_add_header_map_value a call's answer", "x-newv", "(call $add (i32.const 6) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1))";
    trailers_of_streams_are_nowhere: "proxy_get_header_map_pairs trailers", "", "(i32.and (call $get_pairs (i32.const 1) (i32.const 1024) (i32.const 1028)) (call $get_pairs (i32.const 3) (i32.const 1024) (i32.const 1028)))";
    a_stream_is_continued_where_there_is_one: "proxy_continue_stream", "", "(call $continue (i32.const 0))";
    a_stream_is_closed_while_it_is_not_over: "proxy_close_stream", "", "(call $close (select (i32.const 1) (i32.const 0) (i32.gt_u (local.get $at) (i32.const 104))))";
    a_stream_is_answered_while_it_is_not_over: "proxy_send_local_response", "", "(call $respond (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))";
    nothing_is_done_that_does_not_linger: "proxy_done", "", "(call $done)";
    a_call_is_sent_everywhere_but_where_a_thread_would_wait_for_it: "proxy_http_call", "allowed", "(call $http_call (i32.const 0) (i32.const 7) (i32.const 820) (i32.const 61) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1032))";
    facts_of_a_request_are_there_with_its_stream: "proxy_get_property request.path", "request\\00path", "(call $get_property (i32.const 0) (i32.const 12) (i32.const 1024) (i32.const 1028))";
    facts_of_a_response_are_there_from_the_response_on: "proxy_get_property response.code", "response\\00code", "(call $get_property (i32.const 0) (i32.const 13) (i32.const 1024) (i32.const 1028))";
    the_plugins_name_is_there_anywhere: "proxy_get_property plugin_name", "plugin_name", "(call $get_property (i32.const 0) (i32.const 11) (i32.const 1024) (i32.const 1028))";
    a_property_is_kept_with_its_stream: "proxy_set_property", "myvalue", "(call $set_property (i32.const 0) (i32.const 2) (i32.const 2) (i32.const 5))";
    a_fact_is_never_set: "proxy_set_property request.path", "request\\00path", "(call $set_property (i32.const 0) (i32.const 12) (i32.const 0) (i32.const 2))";
    data_is_set_anywhere: "proxy_set_shared_data", "kv", "(call $set_data (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 0))";
    data_that_is_not_there_is_not_found_anywhere: "proxy_get_shared_data of nothing", "none", "(call $get_data (i32.const 0) (i32.const 4) (i32.const 1024) (i32.const 1028) (i32.const 1032))";
    a_queue_is_registered_anywhere: "proxy_register_shared_queue", "mine", "(call $register_queue (i32.const 0) (i32.const 4) (i32.const 1032))";
    a_queue_that_is_none_is_not_found_anywhere: "proxy_dequeue_shared_queue of none", "", "(call $dequeue (i32.const 77) (i32.const 1024) (i32.const 1028))";
    a_metric_is_defined_anywhere: "proxy_define_metric", "mine", "(call $define_metric (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1032))";
    a_metric_that_is_none_is_not_found_anywhere: "proxy_increment_metric of none", "", "(call $increment_metric (i32.const 777) (i64.const 1))";
    an_event_belongs_to_a_stream: "proxy_call_foreign_function aegis_waf_event", "aegis_waf_event{}", "(call $foreign (i32.const 0) (i32.const 15) (i32.const 15) (i32.const 2) (i32.const 0) (i32.const 0))";
    a_pattern_is_compiled_at_the_start_only: "proxy_call_foreign_function aegis_rx_compile", "aegis_rx_compilea+", "(call $foreign (i32.const 0) (i32.const 16) (i32.const 16) (i32.const 2) (i32.const 1024) (i32.const 1028))";
    a_foreign_function_that_is_none_is_not_found_anywhere: "proxy_call_foreign_function anything else", "resolve_lua", "(call $foreign (i32.const 0) (i32.const 11) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 1028))";
    there_is_no_grpc_anywhere: "proxy_grpc_call", "", "(call $grpc_call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
}
