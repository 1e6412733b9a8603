//! Mutated streams: nothing panics, and what passes is read in the same way by `httparse` and by a decoder of chunks that
//! shares no line with the machine.

use super::run;
use aegis_testkit::cases;

/// A small generator, so that a seed says everything.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const BITS: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"5",
    b"a",
    b"0\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: a.example\r\n",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
    b"\xff",
    b"\x7f",
    b"chunked",
    b"Upgrade: x\r\n",
];

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            2 => {
                let bit = *random.pick(BITS);
                bytes.splice(at..at, bit.iter().copied());
            }
            3 if at < bytes.len() => {
                let end = at + random.below(bytes.len() - at).min(40);
                bytes.drain(at..end);
            }
            _ if at < bytes.len() => {
                let end = at + random.below(bytes.len() - at).min(60);
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {}
        }
    }
}

/// The end of the request at the begin of `bytes`, as another reader sees it.
fn end_of(bytes: &[u8]) -> usize {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    };
    let values = |name: &str| {
        let named = request
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect::<Vec<_>>()
    };
    let body = &bytes[head..];
    match (
        &values("transfer-encoding")[..],
        &values("content-length")[..],
    ) {
        ([coding], []) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            head + chunks(body)
        }
        ([], [length]) => {
            head + std::str::from_utf8(length)
                .unwrap()
                .parse::<usize>()
                .unwrap()
        }
        ([], []) => head,
        other => panic!("two framings: {other:?}"),
    }
}

/// The length of a chunked body, by lines.
fn chunks(body: &[u8]) -> usize {
    let line = |at: usize| {
        let end = body[at..]
            .windows(2)
            .position(|two| two == b"\r\n")
            .expect("a line")
            + at;
        (&body[at..end], end + 2)
    };
    let mut at = 0;
    loop {
        let (size, next) = line(at);
        let size = std::str::from_utf8(size.split(|&b| b == b';').next().unwrap()).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        at = next;
        if size == 0 {
            loop {
                let (trailer, next) = line(at);
                at = next;
                if trailer.is_empty() {
                    return at;
                }
            }
        }
        at += size;
        assert_eq!(&body[at..at + 2], b"\r\n");
        at += 2;
    }
}

#[test]
fn whatever_passes_is_framed_alike_by_another_parser() {
    let seeds: Vec<_> = cases::all()
        .into_iter()
        .map(|case| case.bytes)
        .filter(|bytes| bytes.len() < 2_000)
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..90_000 {
        let mut bytes = random.pick(&seeds).clone();
        mutate(&mut bytes, &mut random);
        let seen = run([&bytes[..]]);
        for request in &seen.requests {
            assert_eq!(end_of(request), request.len(), "{}", request.escape_ascii());
            passed += 1;
        }
        refused += usize::from(seen.refused.is_some());
    }
    assert!(
        passed > 10_000 && refused > 10_000,
        "{passed} passed, {refused} refused"
    );
}
