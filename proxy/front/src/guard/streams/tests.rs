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
    now: Duration,
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

    /// Whether a stream keeps us waiting.
    fn waits(&self) -> bool {
        let streams = &self.streams;
        let (client, ours) = (streams.client.connection > 0, streams.ours.connection > 0);
        let in_data = self.received.in_data();
        let waits = |stream: &Stream| {
            stream.waits_for_request(client, in_data) || stream.waits_to_answer(ours)
        };
        streams.open.iter().any(waits)
    }

    fn pass(&mut self, time: Duration) -> Vec<(u32, Reject)> {
        self.now += time;
        let in_data = self.received.in_data();
        self.streams.pass(self.now, in_data, &limits());
        self.streams.take_slow()
    }

    /// Seconds until a stream is given up, and why; each second the client and we send this.
    fn lasts(&mut self, client: &[u8], we: &[u8]) -> Option<(u32, u32, Reject)> {
        (1..1000).find_map(|second| {
            self.client(client).we(we);
            let slow = self.pass(SECOND);
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
        Some((89, 1, Reject::BodyTimeout))
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

#[test]
fn time_is_charged_to_those_who_waited_in_it_however_short_its_pieces_are() {
    let mut both = Both::default();
    both.client(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    both.client(&get(1)).we(&ok(1));
    let piece = Duration::from_millis(1);
    let ended = (1..1_000_000).find(|_| {
        // As the guard does it: what has passed is charged, then the frame counts. The window is open for no time.
        let slow = both.pass(piece);
        both.client(&number(WINDOW_UPDATE, 1, 1));
        let still = both.pass(Duration::ZERO);
        both.we(&frame(DATA, 0, 1, b"x"));
        assert_eq!(still, []);
        !slow.is_empty()
    });
    // A byte a millisecond is a thousand a second, which is the rate; without the last one it would be below.
    assert_eq!(ended, None);
    let ended = (1..1_000_000).find(|n| {
        let slow = both.pass(piece);
        if n % 2 == 0 {
            both.client(&number(WINDOW_UPDATE, 1, 1));
            both.pass(Duration::ZERO);
            both.we(&frame(DATA, 0, 1, b"x"));
        }
        !slow.is_empty()
    });
    assert!(
        ended.is_some_and(|pieces| (19_900..20_100).contains(&pieces)),
        "{ended:?}"
    );
}

#[test]
fn the_whole_time_of_a_body_passes_also_when_nobody_looks() {
    let mut both = Both::default();
    both.pass(1000 * SECOND);
    both.client(&post(1));
    both.client(&frame(DATA, 0, 1, &vec![0; 65_535]));
    assert!(!both.waits());
    assert_eq!(both.pass(99 * SECOND), []);
    assert_eq!(both.pass(SECOND), [(1, Reject::BodyTimeout)]);
}

#[test]
fn windows_that_are_used_up_are_nobodys_wait_once_the_answers_are_complete() {
    let mut both = Both::default();
    // Small answers, until the connection's window is exactly gone.
    for n in 0..5 {
        both.client(&get(2 * n + 1)).we(&ok(2 * n + 1));
        both.we(&frame(DATA, END_STREAM, 2 * n + 1, &[0; 13_107]));
    }
    assert_eq!(both.streams.ours.connection, 0);
    assert!(!both.waits() && !both.streams.wait());
    // The next one has more to send, and nothing to send it in.
    both.client(&get(11)).we(&ok(11));
    assert_eq!(both.lasts(&[], &[]), Some((10, 11, Reject::SlowReader)));
}
