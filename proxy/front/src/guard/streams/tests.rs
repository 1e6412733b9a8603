use super::*;
use crate::guard::frame::{GOAWAY, Reader, SETTINGS, WINDOW_UPDATE, goaway, reset};

const SECOND: Duration = Duration::from_secs(1);
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn limits() -> Limits {
    let pace = Pace {
        longest: 10 * SECOND,
        rate: 1000,
    };
    Limits {
        head_timeout: 10 * SECOND,
        body_timeout: 100 * SECOND,
        receive: pace,
        send: pace,
    }
}

#[derive(Default)]
struct Both {
    streams: Streams,
    received: Reader,
    sent: Reader,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn number(kind: u8, stream: u32, number: u32) -> Vec<u8> {
    frame(kind, 0, stream, &number.to_be_bytes())
}

impl Both {
    fn client(&mut self, bytes: &[u8]) -> &mut Self {
        let mut bytes = bytes;
        while let Some(seen) = self.received.next(&mut bytes) {
            self.streams.received(seen);
        }
        self
    }

    fn we(&mut self, bytes: &[u8]) -> &mut Self {
        let mut bytes = bytes;
        while let Some(seen) = self.sent.next(&mut bytes) {
            self.streams.sent(seen);
        }
        self
    }

    fn waits(&self) -> bool {
        self.streams.wait(self.received.in_data())
    }

    /// Seconds until a stream is given up, and why; each second the client and we send this.
    fn lasts(&mut self, client: &[u8], we: &[u8]) -> Option<(u32, u32, Reject)> {
        self.streams.pass(SECOND, None, &limits());
        (1..1000).find_map(|second| {
            self.client(client).we(we);
            let in_data = self.received.in_data();
            let slow = self.streams.pass(SECOND, in_data, &limits());
            slow.first().map(|&(stream, why)| (second, stream, why))
        })
    }
}

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, b"post")
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, b"get")
}

fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, b"200")
}

#[test]
fn a_stream_is_open_until_both_have_ended_it_or_one_resets_it() {
    for (client, we) in [
        (
            frame(DATA, END_STREAM, 1, b"x"),
            frame(DATA, END_STREAM, 1, b"y"),
        ),
        (reset(1, 8), vec![]),
        (vec![], reset(1, 8)),
        (
            frame(HEADERS, END_STREAM | END_HEADERS, 1, b"trailers"),
            frame(HEADERS, END_STREAM, 1, b"204"),
        ),
        (vec![], goaway(0, 0)),
    ] {
        let mut both = Both::default();
        assert!(both.streams.is_empty());
        both.client(&post(1));
        assert!(!both.streams.is_empty());
        both.client(&client).we(&we);
        assert!(both.streams.is_empty(), "{client:?} {we:?}");
    }
}

#[test]
fn what_the_h2_crate_passes_over_opens_nothing() {
    let mut both = Both::default();
    both.client(&get(5)).we(&reset(5, 8));
    both.client(&get(5)).client(&get(3)).client(&get(4));
    both.we(&goaway(5, 0)).client(&get(7));
    assert!(both.streams.is_empty());
    assert!(both.streams.are_closing());
}

#[test]
fn a_body_has_to_come_and_an_answered_request_need_not() {
    let mut both = Both::default();
    both.client(&post(1));
    assert!(both.waits());
    // A second more than an answer of a stage would need.
    assert_eq!(both.lasts(&[], &[]), Some((11, 1, Reject::BodyRate)));
    let mut both = Both::default();
    both.client(&get(1));
    assert!(!both.waits());
    assert_eq!(both.lasts(&[], &[]), None);
}

#[test]
fn a_body_at_the_rate_goes_on_until_its_whole_time_is_over() {
    let mut both = Both::default();
    both.client(&post(1)).client(&post(3));
    let at_rate = frame(DATA, 0, 1, &[0; 1000]);
    let granted = [
        number(WINDOW_UPDATE, 0, 1000),
        number(WINDOW_UPDATE, 1, 1000),
    ]
    .concat();
    assert_eq!(
        both.lasts(&at_rate, &granted),
        Some((11, 3, Reject::BodyRate))
    );
    both.client(&reset(3, 8));
    assert_eq!(
        both.lasts(&at_rate, &granted),
        Some((88, 1, Reject::BodyTimeout))
    );
}

#[test]
fn who_has_no_window_to_send_in_is_not_waited_for() {
    let mut both = Both::default();
    both.client(&post(1));
    for _ in 0..7 {
        both.client(&frame(DATA, 0, 1, &[0; 9362]));
    }
    // One byte is left.
    assert!(both.waits());
    both.client(&frame(DATA, 0, 1, &[0]));
    assert!(!both.waits());
    both.we(&number(WINDOW_UPDATE, 1, 10));
    assert!(!both.waits(), "the connection has none");
    both.we(&number(WINDOW_UPDATE, 0, 10));
    assert!(both.waits());
}

#[test]
fn the_bytes_of_a_frame_have_to_come_once_it_is_announced() {
    let mut both = Both::default();
    both.we(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10]));
    both.client(&post(1));
    let dripped = frame(DATA, END_STREAM, 1, &[0; 10]);
    both.client(&dripped[..12]);
    assert!(
        both.waits(),
        "the window is used up, but by what has not come"
    );
    both.client(&dripped[12..]);
    assert!(!both.waits());
}

#[test]
fn an_answer_without_a_window_has_to_be_let_through() {
    let mut both = Both::default();
    both.client(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    both.client(&get(1));
    assert!(!both.waits(), "there is no answer yet");
    both.we(&ok(1));
    assert_eq!(both.lasts(&[], &[]), Some((10, 1, Reject::SlowReader)));
    // Windows by drips are no better.
    let mut both = Both::default();
    both.client(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    both.client(&get(1)).we(&ok(1));
    let drip = both.lasts(&number(WINDOW_UPDATE, 1, 1), &frame(DATA, 0, 1, b"x"));
    assert_eq!(drip, Some((11, 1, Reject::SlowReader)));
}

#[test]
fn an_answer_that_has_nothing_to_say_is_not_cut() {
    let mut both = Both::default();
    both.client(&get(1)).we(&ok(1));
    both.we(&frame(DATA, 0, 1, b"event"));
    assert!(!both.waits());
    assert_eq!(both.lasts(&[], &[]), None);
}

#[test]
fn the_window_of_the_connection_counts_for_all_its_streams() {
    let mut both = Both::default();
    both.client(&get(1)).client(&get(3)).we(&ok(1)).we(&ok(3));
    for _ in 0..5 {
        both.we(&frame(DATA, 0, 1, &[0; 13_107]));
    }
    both.client(&number(WINDOW_UPDATE, 1, 100_000));
    assert!(both.waits());
    both.client(&number(WINDOW_UPDATE, 0, 1));
    assert!(!both.waits());
    assert!(both.client(&frame(GOAWAY, 0, 0, &[0; 8])).streams.highest() == 3);
}
