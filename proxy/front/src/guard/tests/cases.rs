//! What clients send, and what becomes of it. Held against the machine alone in front, and against the whole proxy with an
//! origin behind it in pipeline.

#![allow(unreachable_pub, reason = "the tests of another crate include it")]

#[path = "bodies.rs"]
mod bodies;

use aegis_identity::Reject::{self, *};
use bodies::{CHUNKS, FRAMINGS, sizes};

/// Bytes on one connection.
#[derive(Debug)]
pub struct Case {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Requests that are whole and good.
    pub good: usize,
    /// What comes after them: nothing, or a refusal.
    pub then: Option<Reject>,
}

/// A good request that follows each case: it is seen only if the case itself is good.
pub const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a.example\r\n\r\n";

const GOOD: Option<Reject> = None;

fn case(text: impl AsRef<[u8]>, then: Option<Reject>) -> Case {
    let mut bytes = text.as_ref().to_vec();
    bytes.extend_from_slice(NEXT.as_bytes());
    let good = if then.is_none() { 2 } else { 0 };
    Case { bytes, good, then }
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(
        REQUEST_LINES
            .iter()
            .map(|(line, then)| case(format!("{line}\r\nHost: a.example\r\n\r\n"), *then)),
    );
    all.extend(TARGETS.iter().map(|(target, then)| {
        let mut bytes = b"GET ".to_vec();
        bytes.extend_from_slice(target);
        bytes.extend_from_slice(b" HTTP/1.1\r\nHost: a.example\r\n\r\n");
        case(bytes, *then)
    }));
    all.extend(
        HOSTS
            .iter()
            .map(|(lines, then)| case(format!("GET / HTTP/1.1\r\n{lines}\r\n"), *then)),
    );
    all.extend(FIELDS.iter().map(|(lines, then)| {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a.example\r\n".to_vec();
        bytes.extend_from_slice(lines);
        bytes.extend_from_slice(b"\r\n\r\n");
        case(bytes, *then)
    }));
    all.extend(FRAMINGS.iter().map(|(lines, body, then)| {
        case(
            format!("POST / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n\r\n{body}"),
            *then,
        )
    }));
    all.extend(CHUNKS.iter().map(|(body, then)| {
        let mut bytes =
            b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        bytes.extend_from_slice(body);
        case(bytes, *then)
    }));
    all.extend(WHOLE.iter().map(|(text, then)| case(text, *then)));
    all.extend(sizes());
    all
}

const REQUEST_LINES: &[(&str, Option<Reject>)] = &[
    ("GET / HTTP/1.1", GOOD),
    ("GET / HTTP/1.0", GOOD),
    ("HEAD / HTTP/1.1", GOOD),
    ("OPTIONS * HTTP/1.1", GOOD),
    ("M-SEARCH / HTTP/1.1", GOOD),
    ("BREW / HTTP/1.1", GOOD),
    ("get / HTTP/1.1", GOOD),
    ("GET / HTTP/1.2", Some(VersionUnknown)),
    ("GET / HTTP/0.9", Some(VersionUnknown)),
    ("GET / HTTP/2.0", Some(VersionUnknown)),
    ("GET / HTTP/3.0", Some(VersionUnknown)),
    ("PRI * HTTP/2.0", Some(VersionUnknown)),
    ("GET / HTTP/9.9", Some(VersionUnknown)),
    ("GET / http/1.1", Some(Version)),
    ("GET / Http/1.1", Some(Version)),
    ("GET / HTTP/1", Some(Version)),
    ("GET / HTTP/2", Some(Version)),
    ("GET / HTTP/11", Some(Version)),
    ("GET / HTTP/1.10", Some(Version)),
    ("GET / HTTP/01.1", Some(Version)),
    ("GET / HTTP/1.1 ", Some(Version)),
    ("GET / HTTP/1,1", Some(Version)),
    ("GET / HTTP /1.1", Some(Version)),
    ("GET / HTTPS/1.1", Some(Version)),
    ("GET / XTTP/1.1", Some(Version)),
    ("GET / ", Some(Version)),
    ("GET /", Some(Version)),
    ("GET", Some(Method)),
    ("GET  / HTTP/1.1", Some(TargetForm)),
    ("GET /  HTTP/1.1", Some(Version)),
    ("GET / /x HTTP/1.1", Some(Version)),
    ("GET\t/ HTTP/1.1", Some(Method)),
    ("GET /\tHTTP/1.1", Some(TargetByte)),
    (" GET / HTTP/1.1", Some(Method)),
    ("\tGET / HTTP/1.1", Some(Method)),
    ("G(T / HTTP/1.1", Some(Method)),
    ("GET: / HTTP/1.1", Some(Method)),
    ("G\u{0}T / HTTP/1.1", Some(Method)),
    ("GÉT / HTTP/1.1", Some(Method)),
    ("{} / HTTP/1.1", Some(Method)),
    ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", Some(Method)),
    ("", Some(GOOD_AS_EMPTY_LINE)),
    ("POST * HTTP/1.1", Some(TargetForm)),
    ("GET * HTTP/1.1", Some(TargetForm)),
    ("OPTIONS ** HTTP/1.1", Some(TargetForm)),
    ("OPTIONS *? HTTP/1.1", Some(TargetForm)),
    ("CONNECT / HTTP/1.1", Some(HostInvalid)),
    ("CONNECT a.example HTTP/1.1", Some(TargetForm)),
    ("CONNECT http://a.example/ HTTP/1.1", Some(HostInvalid)),
    ("CONNECT u@a.example:443 HTTP/1.1", Some(HostInvalid)),
    ("CONNECT b.example:443 HTTP/1.1", Some(HostDisagrees)),
    ("CONNECT a.example:0 HTTP/1.1", Some(HostInvalid)),
];

/// A line with nothing in it is an empty line before a request, which here begins with `Host:`.
const GOOD_AS_EMPTY_LINE: Reject = Method;

const TARGETS: &[(&[u8], Option<Reject>)] = &[
    (b"/a/b;c=1/~d?e=f&g", GOOD),
    (b"/!$&'()*+,;=:@-._~", GOOD),
    (b"//double", GOOD),
    (b"/%00", GOOD),
    (b"/100%", GOOD),
    (b"/?a[]=1&b={x|y}^`z", GOOD),
    (b"/a|b^c{d}e[f]", GOOD),
    (b"/a`b", Some(TargetByte)),
    (b"/?q=\"quoted\"", Some(TargetByte)),
    (b"/?q=<b>", Some(TargetByte)),
    (b"/\"", Some(TargetByte)),
    (b"/?path=c:\\x", GOOD),
    (b"/caf\xc3\xa9?q=\xe2\x82\xac", GOOD),
    (b"/caf\xe9", Some(TargetByte)),
    (b"/?q=\xc0\xaf", Some(TargetByte)),
    (b"/?a=http://b.example/?c", GOOD),
    (b"http://a.example", GOOD),
    (b"http://a.example/x?y", GOOD),
    (b"HTTP://a.example/", GOOD),
    (b"https://a.example?q", GOOD),
    (b"/a\\b", Some(TargetByte)),
    (b"/a#b", Some(TargetByte)),
    (b"/a?b#c", Some(TargetByte)),
    (b"/a\x00b", Some(TargetByte)),
    (b"/a\x01b", Some(TargetByte)),
    (b"/a\x0bb", Some(TargetByte)),
    (b"/a\x7fb", Some(TargetByte)),
    (b"/a\tb", Some(TargetByte)),
    (b"/a\rb", Some(Version)),
    (b"/a\nb", Some(Version)),
    (b"a", Some(TargetForm)),
    (b"a.example/", Some(TargetForm)),
    (b"a.example:80", Some(TargetForm)),
    (b"?q", Some(TargetForm)),
    (b"\\\\a.example\\x", Some(TargetForm)),
    (b"ftp://a.example/", Some(TargetForm)),
    (b"ws://a.example/", Some(TargetForm)),
    (b"http:/a.example/", Some(TargetForm)),
    (b"http:a.example", Some(TargetForm)),
    (b"http://", Some(HostInvalid)),
    (b"http:///x", Some(HostInvalid)),
    (b"http://u@a.example/", Some(HostInvalid)),
    (b"http://a.example:x/", Some(HostInvalid)),
    (b"http://a.example:/", Some(HostInvalid)),
    (b"http://a.example\\x", Some(TargetByte)),
    (b"http://b.example/", Some(HostDisagrees)),
    (b"http://a.example:80/", Some(HostDisagrees)),
    (b"http://A.example/", Some(HostDisagrees)),
];

const HOSTS: &[(&str, Option<Reject>)] = &[
    ("Host: a.example\r\n", GOOD),
    ("Host:a.example\r\n", GOOD),
    ("hOST: \t a.example \t \r\n", GOOD),
    ("Host: a.example:8080\r\n", GOOD),
    ("Host: A.EXAMPLE.\r\n", GOOD),
    ("Host: a_b.example\r\n", GOOD),
    ("Host: 192.0.2.1:65535\r\n", GOOD),
    ("Host: [2001:db8::1]\r\n", GOOD),
    ("Host: [::ffff:192.0.2.1]:443\r\n", GOOD),
    ("", Some(HostMissing)),
    ("X: y\r\n", Some(HostMissing)),
    ("Hosts: a.example\r\n", Some(HostMissing)),
    ("Host: a.example\r\nHost: a.example\r\n", Some(HostSeveral)),
    (
        "Host: a.example\r\nX: y\r\nhost: b.example\r\n",
        Some(HostSeveral),
    ),
    ("Host:\r\n", Some(HostInvalid)),
    ("Host: \r\n", Some(HostInvalid)),
    ("Host: a.example, b.example\r\n", Some(HostInvalid)),
    ("Host: a.example b.example\r\n", Some(HostInvalid)),
    ("Host: u@a.example\r\n", Some(HostInvalid)),
    ("Host: u:p@a.example\r\n", Some(HostInvalid)),
    ("Host: a.example/x\r\n", Some(HostInvalid)),
    ("Host: a.example?x\r\n", Some(HostInvalid)),
    ("Host: a.example#x\r\n", Some(HostInvalid)),
    ("Host: http://a.example\r\n", Some(HostInvalid)),
    ("Host: a\\b\r\n", Some(HostInvalid)),
    ("Host: a%00b\r\n", Some(HostInvalid)),
    ("Host: bücher.example\r\n", Some(HostInvalid)),
    ("Host: a.example:\r\n", Some(HostInvalid)),
    ("Host: a.example:0\r\n", Some(HostInvalid)),
    ("Host: a.example:65536\r\n", Some(HostInvalid)),
    ("Host: a.example:080000\r\n", Some(HostInvalid)),
    ("Host: a.example:+80\r\n", Some(HostInvalid)),
    ("Host: a.example:80x\r\n", Some(HostInvalid)),
    ("Host: a.example:80:80\r\n", Some(HostInvalid)),
    ("Host: :80\r\n", Some(HostInvalid)),
    ("Host: [::1\r\n", Some(HostInvalid)),
    ("Host: [::1]x\r\n", Some(HostInvalid)),
    ("Host: [::1%25lo]\r\n", Some(HostInvalid)),
    ("Host: [a.example]\r\n", Some(HostInvalid)),
    ("Host: []\r\n", Some(HostInvalid)),
    ("Host: ::1\r\n", Some(HostInvalid)),
    ("Host : a.example\r\n", Some(FieldSpace)),
    (" Host: a.example\r\n", Some(Folding)),
    ("Host: a.example\r\n b.example\r\n", Some(Folding)),
];

const FIELDS: &[(&[u8], Option<Reject>)] = &[
    (b"X: y", GOOD),
    (b"X:", GOOD),
    (b"X: \t ", GOOD),
    (b"X: a\tb", GOOD),
    (b"X: \"(),/:;<=>?@[\\]{}", GOOD),
    (b"X: \xc3\xa9\xff\x80", GOOD),
    (b"x_y: 1", GOOD),
    (b"!#$%&'*+-.^_`|~09azAZ: 1", GOOD),
    (b"X: a: b", GOOD),
    (b"X: y\r\nX: z", GOOD),
    (b"Connection: keep-alive, x", GOOD),
    (b"Connection: Upgrade\r\nUpgrade: h2c", GOOD),
    (b"Expect: 100-continue", GOOD),
    (b"X : y", Some(FieldSpace)),
    (b"X\t: y", Some(FieldSpace)),
    (b": y", Some(FieldName)),
    (b"X", Some(FieldName)),
    (b"X y", Some(FieldSpace)),
    (b"X\x00: y", Some(FieldName)),
    (b"X(: y", Some(FieldName)),
    (b"X\xc3\xa9: y", Some(FieldName)),
    (b"X\x0b: y", Some(FieldName)),
    (b"{X}: y", Some(FieldName)),
    (b"X\r: y", Some(FieldName)),
    (b"X\n: y", Some(LineEnding)),
    (b"X: y\r\n z", Some(Folding)),
    (b"X: y\r\n\tz", Some(Folding)),
    (b" X: y", Some(Folding)),
    (b"X: y\nY: z", Some(LineEnding)),
    (b"X: y\rY: z", Some(LineEnding)),
    (b"X: y\r\r\nY: z", Some(LineEnding)),
    (b"X: y\n\r\nY: z", Some(LineEnding)),
    (b"X: y\n\n", Some(LineEnding)),
    (b"\nX: y", Some(LineEnding)),
    (b"X: a\x00b", Some(Control)),
    (b"X: a\x01b", Some(Control)),
    (b"X: a\x08b", Some(Control)),
    (b"X: a\x0bb", Some(Control)),
    (b"X: a\x0cb", Some(Control)),
    (b"X: a\x1bb", Some(Control)),
    (b"X: a\x7fb", Some(Control)),
    (b"Connection: close, content-length", Some(ConnectionOption)),
    (b"Connection: Transfer-Encoding", Some(ConnectionOption)),
    (b"Connection: keep-alive , HOST", Some(ConnectionOption)),
];

const WHOLE: &[(&str, Option<Reject>)] = &[
    ("GET / HTTP/1.0\r\n\r\n", GOOD),
    ("\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n", GOOD),
    ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n\r\n", GOOD),
    (
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx\r\n",
        GOOD,
    ),
    (
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        Some(EmptyLines),
    ),
    (
        "\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        Some(LineEnding),
    ),
    (
        "\rGET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        Some(LineEnding),
    ),
    ("GET /\r\n", Some(Version)),
    ("GET /\n", Some(Version)),
    ("GET / HTTP/1.1\nHost: a.example\n\n", Some(LineEnding)),
    ("GET / HTTP/1.1\rHost: a.example\r\r", Some(LineEnding)),
    ("GET / HTTP/1.1\r\nHost: a.example\n\n", Some(LineEnding)),
    ("GET / HTTP/1.1\r\nHost: a.example\r\n\n", Some(LineEnding)),
    ("GET / HTTP/1.1\r\nHost: a.example\r\n\r", Some(LineEnding)),
    (
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Some(CodingIn10),
    ),
    ("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", GOOD),
    (
        "GET / HTTP/1.0\r\nHost: a.example\r\nHost: a.example\r\n\r\n",
        Some(HostSeveral),
    ),
    ("GET http://a.example/ HTTP/1.0\r\n\r\n", GOOD),
    ("GET http://a.example/ HTTP/1.1\r\n\r\n", Some(HostMissing)),
    (
        "GET http://[::1]:81/ HTTP/1.1\r\nHost: [::1]:81\r\n\r\n",
        GOOD,
    ),
    (
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
        GOOD,
    ),
    (
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        GOOD,
    ),
    ("SSH-2.0-OpenSSH_9.2\r\n", Some(Method)),
    ("{\"json\":1}\r\n", Some(Method)),
    ("hello\r\n", Some(Method)),
];

impl Case {
    fn after(self, good: usize) -> Self {
        Self { good, ..self }
    }
}
