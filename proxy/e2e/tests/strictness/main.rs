//! The table of what clients send, played to nginx and to HAProxy: where they answer otherwise than Aegis, or let an origin
//! see something else, `differences.txt` says why. What Aegis itself does with each row is held in pipeline's tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

mod book;

use aegis_testkit::cases::{self, Case};
use aegis_testkit::haproxy::Haproxy;
use aegis_testkit::nginx::Nginx;
use aegis_testkit::play::{Patience, play};
use aegis_testkit::ports;
use aegis_testkit::tape::{Asked, Tape};
use book::Book;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Addresses a peer listens on, each with an origin of its own, so that as many rows are played at once.
const PLAYERS: usize = 12;
/// A peer that has said nothing for so long waits for more bytes. It is then told that none will come, so that being too
/// hasty changes nothing.
const QUIET: Patience = Patience::Quiet(Duration::from_millis(300));

#[test]
fn every_difference_from_nginx_has_its_reason() {
    let pairs = pairs();
    let http: String = pairs
        .iter()
        .enumerate()
        .map(|(at, (listen, tape))| {
            let origin = tape.address();
            format!(
                "upstream o{at} {{ server {origin}; keepalive 4; }}\n\
                 server {{ listen {listen}; location / {{ proxy_pass http://o{at}; proxy_http_version 1.1; \
                 proxy_set_header Connection \"\"; proxy_set_header Host $http_host; }} }}\n"
            )
        })
        .collect();
    // A client that has ended its side still waits for its answer.
    let http = format!("access_log off; proxy_ignore_client_abort on;\n{http}");
    let dir = TempDir::new().expect("a folder");
    let _nginx = Nginx::start(dir, pairs[0].0, "master_process off;", &http, &[]);
    compare("nginx", &version("nginx"), &pairs);
}

#[test]
fn every_difference_from_haproxy_has_its_reason() {
    let pairs = pairs();
    let addresses: Vec<_> = pairs
        .iter()
        .map(|(at, tape)| (*at, tape.address()))
        .collect();
    let _haproxy = Haproxy::before(&addresses);
    compare("haproxy", &version("haproxy"), &pairs);
}

fn pairs() -> Vec<(SocketAddr, Tape)> {
    let pair = |_| (ports::free_address(), Tape::start());
    (0..PLAYERS).map(pair).collect()
}

/// `1.22` of what the program says.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("-v").output().expect(program);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let number = text
        .split([' ', '/'])
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    let number = number.unwrap_or_else(|| panic!("no version in {text}"));
    number.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn compare(peer: &str, version: &str, pairs: &[(SocketAddr, Tape)]) {
    let rows = cases::all();
    let differences = std::thread::scope(|threads| {
        let players: Vec<_> = pairs
            .iter()
            .enumerate()
            .map(|(player, (address, tape))| {
                let mine = rows.iter().skip(player).step_by(pairs.len());
                threads.spawn(move || {
                    mine.filter_map(|row| difference(row, *address, tape))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        players
            .into_iter()
            .flat_map(|player| player.join().expect("it ends"))
            .collect::<BTreeMap<_, _>>()
    });
    let names = rows.iter().map(|row| row.name.as_str()).collect();
    Book::read().hold(peer, version, &differences, &names);
}

/// The row's name, and what the peer makes of it, where that is not what Aegis makes of it.
fn difference(row: &Case, address: SocketAddr, tape: &Tape) -> Option<(String, String)> {
    let outcome = play(address, tape, row, QUIET);
    let ours = told(&row.answers, row.closes, &row.origin, &[]);
    let theirs = told(
        &outcome.answers,
        outcome.closed,
        &outcome.origin,
        &outcome.unclear,
    );
    (ours != theirs).then(|| (row.name.clone(), theirs))
}

/// An outcome in a line: classes of the answers, the connection's fate, what the origin saw.
fn told(answers: &[u16], closed: bool, origin: &[Asked], unclear: &[String]) -> String {
    let mut words: Vec<String> = answers
        .iter()
        .map(|status| match status {
            0 => "bare".to_owned(),
            status => format!("{}xx", status / 100),
        })
        .collect();
    words.push(if closed { "closed" } else { "open" }.to_owned());
    for asked in origin {
        words.push(format!("| {}", shown(&asked.line)));
        if asked.host != "a.example" {
            words.push(format!("for {}", shown(&asked.host)));
        }
        if !asked.body.is_empty() {
            words.push(format!(
                "with {}",
                shown(&asked.body.escape_ascii().to_string())
            ));
        }
    }
    if !unclear.is_empty() {
        words.push("| unclear".to_owned());
    }
    words.join(" ")
}

fn shown(text: &str) -> String {
    if text.is_empty() {
        return "nothing".to_owned();
    }
    let text: String = text.chars().flat_map(char::escape_default).collect();
    if text.len() > 60 {
        format!("{}…{}", &text[..20], text.len())
    } else {
        text
    }
}
