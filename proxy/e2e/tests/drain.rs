//! SIGTERM: what is in flight ends, nothing new begins.

use aegis_testkit::process::Signal;
use aegis_testkit::{Aegis, Curl, Origin, Reply, eventually};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// What a stop takes beside the grace: a second at most to end the reload thread, two for the last access log lines.
const STOP: Duration = Duration::from_secs(3);

fn slow(wait: Duration) -> Origin {
    Origin::start(move |_| Reply::text("late").after(wait))
}

#[test]
fn a_request_in_flight_gets_its_answer_and_the_process_ends_with_0() {
    let origin = slow(Duration::from_secs(2));
    let aegis = Aegis::before(&origin).start();
    let request = aegis.curl("/slow");
    let in_flight = thread::spawn(move || request.send());
    eventually("the request reached the origin", || {
        (origin.hits("/slow") == 1).then_some(())
    });
    aegis.process().signal(Signal::TERM);
    let address = aegis.http();
    eventually("no new connection is taken", || {
        TcpStream::connect(address).is_err().then_some(())
    });
    assert_eq!(aegis.probe("/readyz").status(), 503);
    let answer = in_flight.join().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
    assert_eq!(
        aegis.process().wait(Duration::from_secs(10)).code(),
        Some(0)
    );
}

#[test]
fn the_grace_is_the_longest_a_stop_takes() {
    let (origin, grace) = (slow(Duration::from_secs(60)), Duration::from_millis(300));
    let aegis = Aegis::before(&origin)
        .set("node.shutdown.grace", "300ms")
        .start();
    let request = aegis.curl("/slow");
    let in_flight = thread::spawn(move || request.send());
    eventually("the request reached the origin", || {
        (origin.hits("/slow") == 1).then_some(())
    });
    let start = Instant::now();
    aegis.process().signal(Signal::TERM);
    assert_eq!(
        aegis.process().wait(Duration::from_secs(20)).code(),
        Some(0)
    );
    assert!(start.elapsed() < grace + STOP, "took {:?}", start.elapsed());
    assert_ne!(in_flight.join().unwrap().status, 200);
}

#[test]
fn idle_connections_do_not_hold_a_stop_up() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let mut idle = aegis.raw();
    assert_eq!(idle.get("a", "/").status(), 200);
    let start = Instant::now();
    aegis.process().signal(Signal::TERM);
    assert_eq!(
        aegis.process().wait(Duration::from_secs(20)).code(),
        Some(0)
    );
    assert!(start.elapsed() < STOP, "took {:?}", start.elapsed());
    assert!(idle.is_closed());
}

#[test]
fn every_request_is_in_the_log_after_a_stop() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    for i in 0..50 {
        assert_eq!(
            Curl::get(format!("http://{}/{i}", aegis.http()))
                .send()
                .status,
            200
        );
    }
    aegis.process().signal(Signal::TERM);
    aegis.process().wait(Duration::from_secs(20));
    assert_eq!(aegis.access_log().len(), 50);
}
