//! A stream with a guard of HTTP/2.

use super::*;
use crate::guard::{Limits, Rest};
use crate::seats::Seats;
use aegis_identity::{Refuse, Reject};
use aegis_testkit::h2::{END_HEADERS, END_STREAM, PREFACE, frame, get, kind};
use std::task::{Wake, Waker};

/// Refuses nothing.
struct Lenient;

impl Refuse for Lenient {
    fn refuse(&self, _: &Connection, _: &[u8], _: Reject) -> Vec<u8> {
        Vec::new()
    }

    fn admits(&self, _: &Connection) -> bool {
        true
    }

    fn cut(&self, _: &Connection, _: &'static str) {}
}

/// A guard that waits so long for a client to take an answer.
async fn guard(send: Duration) -> Guard {
    let pace = |longest| Pace { longest, rate: 0 };
    let limits = Limits {
        head_timeout: LONG,
        body_timeout: LONG,
        receive: pace(LONG),
        send: pace(send),
    };
    let (seat, _) = Seats::new(1).take().await.unwrap();
    let address = "127.0.0.1:1".parse().unwrap();
    let connection = Arc::new(Connection::new(7, address, address, None));
    let rest = Rest::in_seat(seat);
    let guard = Http2::new(connection, Arc::new(Lenient), Arc::new(limits), rest);
    Guard::Http2(Box::new(guard))
}

/// A connection on which these streams are open; what it says first has been sent.
async fn with_streams(streams: &[u32]) -> (Wire<Counted<true>>, TcpStream) {
    let (wire, mut client) = pair::<true>(LONG).await;
    let mut wire = wire.guarded(guard(LONG).await);
    let settings = frame(kind::SETTINGS, 0, 0, &[]);
    let mut asked = [PREFACE, &settings].concat();
    for &stream in streams {
        asked.extend(get(stream, "a", "/"));
    }
    client.write_all(&asked).await.unwrap();
    let mut read = vec![0; asked.len()];
    wire.read_exact(&mut read).await.unwrap();
    wire.write_all(&settings).await.unwrap();
    wire.flush().await.unwrap();
    client.read_exact(&mut [0; 9]).await.unwrap();
    (wire, client)
}

/// All of the answer on a stream.
fn answer(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_STREAM | END_HEADERS, stream, b"\x88")
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn answers_of_streams_that_are_ready_together_are_one_record() {
    let (mut wire, mut client) = with_streams(&[1, 3, 5]).await;
    let before = wire.writes();
    wire.write_all(&answer(1)).await.unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let flushed = Pin::new(&mut wire).poll_flush(&mut Context::from_waker(&waker));
    assert!(flushed.is_pending());
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "its turn comes again");
    wire.write_all(&answer(3)).await.unwrap();
    wire.flush().await.unwrap();
    assert_eq!(wire.writes() - before, 1);
    let both = [answer(1), answer(3)].concat();
    let mut got = vec![0; both.len()];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(got, both);
}

#[tokio::test]
async fn the_answer_of_the_only_stream_waits_for_nobody() {
    let (mut wire, _client) = with_streams(&[1]).await;
    wire.write_all(&answer(1)).await.unwrap();
    let flushed = Pin::new(&mut wire).poll_flush(&mut Context::from_waker(Waker::noop()));
    assert!(flushed.is_ready());
}

#[tokio::test]
async fn frames_of_the_guard_reach_a_reader_with_little_room_in_parts() {
    let (wire, mut client) = pair::<true>(LONG).await;
    let mut wire = wire.guarded(guard(Duration::from_millis(10)).await);
    let no_window = frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let asked = [PREFACE, &no_window, &get(1, "a", "/"), &get(3, "a", "/")].concat();
    client.write_all(&asked).await.unwrap();
    let mut read = vec![0; asked.len()];
    wire.read_exact(&mut read).await.unwrap();
    assert_eq!(read, asked);
    for stream in [1, 3] {
        let head = frame(kind::HEADERS, END_HEADERS, stream, b"\x88");
        wire.write_all(&head).await.unwrap();
    }
    wire.flush().await.unwrap();
    // Both are ended at the same look: two frames of 13 bytes.
    let mut came = Vec::new();
    while came.len() < 26 {
        let mut room = [0; 5];
        let read = wire.read(&mut room).await.unwrap();
        came.extend_from_slice(&room[..read]);
    }
    for (stream, frame) in [1, 3].into_iter().zip(came.chunks(13)) {
        let head = [0, 0, 4, kind::RST_STREAM, 0, 0, 0, 0, stream];
        assert_eq!(frame[..9], head);
    }
    // And what the client sends comes after them.
    let ping = frame(kind::PING, 0, 0, &[7; 8]);
    client.write_all(&ping).await.unwrap();
    let mut read = vec![0; ping.len()];
    wire.read_exact(&mut read).await.unwrap();
    assert_eq!(read, ping);
}
