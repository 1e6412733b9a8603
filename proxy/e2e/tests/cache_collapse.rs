//! One fetch for many who wait.

use aegis_testkit::{Aegis, Origin, Reply, eventually};
use bytes::Bytes;
use std::process::Command;
use std::thread;
use std::time::Duration;

#[test]
fn a_thousand_who_ask_at_once_cost_the_origin_one_request() {
    let origin = Origin::start(|_| Reply::cacheable("page", 60).after(Duration::from_millis(500)));
    let aegis = Aegis::before(&origin).start();
    let url = format!("http://{}/page", aegis.http());
    let output = Command::new("h2load")
        .args(["--h1", "-n", "1000", "-c", "1000", "-t", "1", &url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("1000 succeeded, 0 failed, 0 errored"),
        "{text}"
    );
    assert_eq!(origin.hits("/page"), 1);
}

#[test]
fn those_who_wait_get_the_first_bytes_while_the_origin_still_sends() {
    let origin = Origin::start(|_| {
        let late = Duration::from_secs(3);
        Reply::parts([
            (Duration::ZERO, Bytes::from("first ")),
            (late, Bytes::from("last")),
        ])
        .header("cache-control", "max-age=60")
    });
    let aegis = Aegis::before(&origin).start();
    let (one, two) = (aegis.curl("/page"), aegis.curl("/page"));
    let first = thread::spawn(move || one.send());
    eventually("the origin was asked", || {
        (origin.hits("/page") == 1).then_some(())
    });
    let second = two.send();
    assert_eq!(second.text(), "first last");
    assert!(
        second.first_byte < 2.0,
        "first byte after {} s",
        second.first_byte
    );
    assert_eq!(first.join().unwrap().text(), "first last");
    assert_eq!(origin.hits("/page"), 1);
}

#[test]
fn those_who_wait_for_what_cannot_be_kept_are_not_served_one_after_the_other() {
    let origin = Origin::start(|_| {
        Reply::text("mine")
            .header("cache-control", "no-store")
            .after(Duration::from_millis(300))
    });
    let aegis = Aegis::before(&origin).start();
    let url = format!("http://{}/mine", aegis.http());
    let start = std::time::Instant::now();
    let output = Command::new("h2load")
        .args(["--h1", "-n", "40", "-c", "20", "-t", "1", &url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("40 succeeded, 0 failed"), "{text}");
    assert_eq!(origin.hits("/mine"), 40);
    // One after the other would take 12 s.
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "took {:?}",
        start.elapsed()
    );
}
