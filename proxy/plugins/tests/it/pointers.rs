//! Every pointer of every host function, outside of memory and misaligned: generated over the ABI's signatures.

use crate::probe::{escaped, others_are_fine, pairs};
use crate::support::*;
use aegis_plugins::{Body, host_functions};
use std::fmt::Write;

/// Name, then its parameters; `abi.rs` says what the words mean and holds them to what is linked.
const FUNCTIONS: &str = include_str!("../../src/abi/functions.txt");

/// Bytes of memory of the modules here.
const END: u32 = 4 << 16;
/// Where bytes that are handed over are kept, the host writes, and codes are noted.
const IN: u32 = 0;
const OUT: u32 = 1536;
const CODES: u32 = 4096;

const INVALID_MEMORY_ACCESS: u8 = 6;
const EFAULT: u8 = 21;
const EINVAL: u8 = 28;

/// Arguments with which a function does what it is for, in `proxy_on_request_body`, and what must have been called before.
struct Sane {
    numbers: &'static [i64],
    bytes: Vec<Vec<u8>>,
    before: &'static str,
    code: u8,
}

fn list(fields: &[(&str, &str)]) -> Vec<u8> {
    let (text, _) = pairs(fields);
    let hex = text.split('\\').skip(1);
    hex.map(|byte| u8::from_str_radix(byte, 16).expect("hex"))
        .collect()
}

fn sane(name: &str) -> Sane {
    let call = list(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    let none = list(&[]);
    let text = |all: &[&str]| all.iter().map(|one| one.as_bytes().to_vec()).collect();
    let (numbers, bytes, before): (&[i64], Vec<Vec<u8>>, &str) = match name {
        "proxy_log" => (&[2], text(&["line"]), ""),
        "proxy_set_buffer_bytes" => (&[0, 0, 0], text(&["x"]), ""),
        "proxy_get_buffer_bytes" => (&[0, 0, 100], vec![], ""),
        "proxy_set_header_map_pairs" => (&[0], vec![list(&[("x", "1")])], ""),
        "proxy_get_header_map_value" | "proxy_remove_header_map_value" => {
            (&[0], text(&["host"]), "")
        }
        "proxy_add_header_map_value" | "proxy_replace_header_map_value" => {
            (&[0], text(&["x", "1"]), "")
        }
        "proxy_send_local_response" => (
            &[200, -1],
            vec![b"why".to_vec(), b"body".to_vec(), list(&[("x", "1")])],
            "",
        ),
        "proxy_http_call" => (
            &[100],
            vec![b"allowed".to_vec(), call, b"body".to_vec(), none],
            "",
        ),
        "proxy_set_shared_data" => (&[0], text(&["k", "v"]), ""),
        "proxy_get_shared_data" => (
            &[],
            text(&["k"]),
            "(drop (call $set_data (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0)))",
        ),
        "proxy_register_shared_queue" => (&[], text(&["q"]), ""),
        "proxy_resolve_shared_queue" => (
            &[],
            text(&["", "q"]),
            "(drop (call $register_queue (i32.const 800) (i32.const 1) (i32.const 1032)))",
        ),
        "proxy_enqueue_shared_queue" => (
            &[1],
            text(&["item"]),
            "(drop (call $register_queue (i32.const 800) (i32.const 1) (i32.const 1032)))",
        ),
        "proxy_dequeue_shared_queue" => (
            &[1],
            vec![],
            "(drop (call $register_queue (i32.const 800) (i32.const 1) (i32.const 1032)))
            (drop (call $enqueue (i32.const 1) (i32.const 800) (i32.const 1)))",
        ),
        "proxy_define_metric" => (&[0], text(&["m"]), ""),
        "proxy_record_metric" | "proxy_increment_metric" => (
            &[1, 1],
            vec![],
            "(drop (call $define_metric (i32.const 0) (i32.const 800) (i32.const 1) (i32.const 1032)))",
        ),
        "proxy_get_metric" => (
            &[1],
            vec![],
            "(drop (call $define_metric (i32.const 0) (i32.const 800) (i32.const 1) (i32.const 1032)))",
        ),
        "proxy_get_property" => (&[], text(&["request\0path"]), ""),
        "proxy_set_property" => (&[], text(&["mine", "v"]), ""),
        "proxy_call_foreign_function" => (&[], text(&["aegis_waf_event", "{}"]), ""),
        "proxy_set_effective_context" => (&[2], vec![], ""),
        "poll_oneoff" => (&[1], vec![vec![0; 48]], ""),
        // An empty list of pieces.
        "fd_write" => (&[1, 0], vec![], ""),
        "random_get" => (&[8], vec![], ""),
        _ => (&[0; 9], text(&["a", "b", "c", "d", "e", "f"]), ""),
    };
    let code = match (
        name,
        host_functions()
            .iter()
            .find(|f| f.name == name)
            .map(|f| f.status),
    ) {
        ("proxy_done", _) => 1,
        (_, Some(aegis_plugins::Support::Unimplemented)) => 12,
        (_, Some(aegis_plugins::Support::Denied)) => {
            if name.starts_with("path_") || name == "proc_raise" {
                76
            } else {
                8
            }
        }
        _ => 0,
    };
    Sane {
        numbers,
        bytes,
        before,
        code,
    }
}

/// One call: its arguments, and the code it must return.
struct Attempt {
    arguments: Vec<i64>,
    code: u8,
    what: String,
}

/// Parameters and what to put there, the code that must come of it, and what it is.
type Wrong = (Vec<(usize, i64)>, u8, String);

/// The call as it should be, and every way to get one of its pointers wrong.
fn attempts(name: &str, parameters: &str, sane: &Sane) -> Vec<Attempt> {
    let refused = host_functions()
        .iter()
        .any(|f| f.name == name && f.status != aegis_plugins::Support::Works);
    let wasi = !name.starts_with("proxy_");
    let invalid = match name {
        _ if refused => sane.code,
        // Nothing is there, so nothing is written.
        "args_get" | "environ_get" => 0,
        _ if wasi => EFAULT,
        _ => INVALID_MEMORY_ACCESS,
    };
    let (mut numbers, mut bytes) = (sane.numbers.iter(), sane.bytes.iter());
    let (mut place, mut out) = (IN, OUT);
    let mut good: Vec<i64> = Vec::new();
    let mut wrong: Vec<Wrong> = Vec::new();
    for word in parameters
        .split(' ')
        .filter(|word| !matches!(*word, "" | "-"))
    {
        let at = good.len();
        let outside = |size: u32| [END - size + 1, END, u32::MAX, 1 << 31, u32::MAX - size + 1];
        match word {
            "n" | "N" => good.push(*numbers.next().expect("a number")),
            "in" => {
                let len = u32::try_from(bytes.next().expect("bytes").len()).expect("short");
                good.extend([i64::from(place), i64::from(len)]);
                let mut bad = vec![
                    (place, u32::MAX),
                    (1 << 31, 1 << 31),
                    (END + 1, 0),
                    (u32::MAX, 0),
                    (0, END + 1),
                    (END, 1),
                ];
                bad.extend(outside(len.max(1)).map(|ptr| (ptr, len.max(1))));
                for (ptr, len) in bad {
                    wrong.push((
                        vec![(at, ptr.into()), (at + 1, len.into())],
                        invalid,
                        format!("{len} bytes at {ptr:#x}"),
                    ));
                }
                // One further on, on no boundary: the same bytes are there again.
                let twin = place + 129;
                wrong.push((
                    vec![(at, twin.into())],
                    sane.code,
                    format!("misaligned at {twin:#x}"),
                ));
                place += 256;
            }
            "give" => {
                good.extend([i64::from(out), i64::from(out + 8)]);
                for which in [at, at + 1] {
                    for ptr in outside(4) {
                        wrong.push((
                            vec![(which, ptr.into())],
                            invalid,
                            format!("given to {ptr:#x}"),
                        ));
                    }
                    wrong.push((
                        vec![(which, i64::from(out + 17))],
                        sane.code,
                        "given to a misaligned word".into(),
                    ));
                    wrong.push((
                        vec![(which, i64::from(END - 4))],
                        sane.code,
                        "given to the last word".into(),
                    ));
                }
                out += 64;
            }
            "p" => {
                good.push(out.into());
                // A list without pieces needs no memory, only a place that is not beyond it.
                let size = if name == "random_get" { 8 } else { 0 };
                let code = if name == "fd_write" { EINVAL } else { invalid };
                for ptr in [END - size + 1, u32::MAX, 1 << 31] {
                    wrong.push((vec![(at, ptr.into())], code, format!("at {ptr:#x}")));
                }
                wrong.push((
                    vec![(at, i64::from(out + 1))],
                    sane.code,
                    "misaligned".into(),
                ));
                out += 64;
            }
            _ => {
                let (kind, size) =
                    word.split_at(word.find(|c: char| c.is_ascii_digit()).expect("a size"));
                let size: u32 = size.parse().expect("a size");
                let is_in = kind == "in";
                let here = if is_in { place } else { out };
                good.push(here.into());
                for ptr in outside(size) {
                    wrong.push((
                        vec![(at, ptr.into())],
                        invalid,
                        format!("{size} bytes at {ptr:#x}"),
                    ));
                }
                wrong.push((
                    vec![(at, i64::from(here + 1))],
                    sane.code,
                    "misaligned".into(),
                ));
                wrong.push((
                    vec![(at, i64::from(END - size))],
                    sane.code,
                    "at the end".into(),
                ));
                if is_in {
                    bytes.next().expect("bytes");
                    place += 256;
                } else {
                    out += 64;
                }
            }
        }
    }
    let mut attempts = vec![Attempt {
        arguments: good.clone(),
        code: sane.code,
        what: "as it should be".into(),
    }];
    for (changes, code, what) in wrong {
        let mut arguments = good.clone();
        for (at, value) in changes {
            arguments[at] = value;
        }
        attempts.push(Attempt {
            arguments,
            code,
            what,
        });
    }
    attempts
}

/// A module that makes these attempts in `proxy_on_request_body` and tells their codes in events.
fn module(name: &str, parameters: &str, sane: &Sane, attempts: &[Attempt]) -> String {
    let module = host_functions()
        .iter()
        .find(|f| f.name == name)
        .expect("in the table")
        .module;
    let types: Vec<&str> = parameters
        .split(' ')
        .flat_map(|word| match word {
            "" | "-" => &[][..],
            "in" | "give" => &["i32", "i32"],
            "N" => &["i64"],
            _ => &["i32"],
        })
        .copied()
        .collect();
    let params = types.join(" ");
    let import = format!(
        "(module (import \"{module}\" \"{name}\" (func $tried (param {params}) (result i32)))"
    );
    let mut own = String::new();
    for (n, bytes) in sane.bytes.iter().enumerate() {
        let at = n * 256;
        let text = escaped(bytes);
        writeln!(
            own,
            "(data (i32.const {at}) \"{text}\") (data (i32.const {}) \"{text}\")",
            at + 129
        )
        .expect("a string");
    }
    writeln!(
        own,
        "(data (i32.const 800) \"q\") (data (i32.const 1100) \"aegis_waf_event\")"
    )
    .expect("a string");
    let mut calls = String::new();
    for (n, attempt) in attempts.iter().enumerate() {
        let arguments: String = attempt
            .arguments
            .iter()
            .zip(&types)
            .map(|(value, kind)| {
                let value = if *kind == "i32" {
                    i64::from(u32::try_from(value & 0xffff_ffff).expect("a word"))
                } else {
                    *value
                };
                format!("({kind}.const {value}) ")
            })
            .collect();
        writeln!(
            calls,
            "{} (i32.store8 (i32.const {}) (call $tried {arguments}))",
            sane.before,
            CODES as usize + n
        )
        .expect("a string");
    }
    writeln!(
        own,
        "(func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32) {calls}
           (drop (call $foreign (i32.const 1100) (i32.const 15) (i32.const {CODES}) (i32.const {}) (i32.const 0) (i32.const 0)))
           (i32.const 0))",
        attempts.len()
    )
    .expect("a string");
    wat(&own).replacen("(module", &import, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pointer_of_every_host_function_is_checked_and_none_needs_to_be_aligned() {
    let bench = bench();
    let mut tried = 0;
    for line in FUNCTIONS.lines() {
        let (name, parameters) = line.split_once(' ').unwrap_or((line, ""));
        if parameters.contains('-') {
            // Nothing is returned, and no pointer is taken.
            continue;
        }
        let sane = sane(name);
        let attempts = attempts(name, parameters, &sane);
        let wat = module(name, parameters, &sane, &attempts);
        let plugin = bench
            .prepare(bench.spec(name, &wat))
            .unwrap_or_else(|error| panic!("{error}\n{wat}"));
        let verdict = ask_with_body(&plugin, Body::Whole(vec![bytes("body")])).await;
        let told = verdict
            .events
            .last()
            .unwrap_or_else(|| panic!("{name}: {verdict:?}"));
        for (attempt, code) in attempts.iter().zip(&told.data) {
            assert_eq!(
                *code, attempt.code,
                "{name} {:?}: {}",
                attempt.arguments, attempt.what
            );
            tried += 1;
        }
        assert_eq!(told.data.len(), attempts.len());
        others_are_fine(&bench, &plugin).await;
    }
    assert!(tried > 500, "{tried} attempts");
}
