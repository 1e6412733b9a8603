//! The fingerprint of a client's TLS, of real clients: it is that of the bytes they send, worked out here in another way.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use aegis_testkit::{Aegis, Curl, Origin, Reply};
use boring::sha::sha256;
use e2e::tls::{Offer, get};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::thread;

/// The first message of whoever connects while `connect` runs.
fn hello_of(connect: impl FnOnce(SocketAddr)) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let reading = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut message = Vec::new();
        loop {
            let mut head = [0; 5];
            client.read_exact(&mut head).unwrap();
            assert_eq!(head[0], 22, "a record of the handshake");
            let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            client.read_exact(&mut record).unwrap();
            message.extend(record);
            let length = u32::from_be_bytes([0, message[1], message[2], message[3]]);
            if message.len() >= 4 + length as usize {
                assert_eq!(message[0], 1, "a ClientHello");
                return message.split_off(4);
            }
        }
    });
    connect(address);
    reading.join().unwrap()
}

/// JA4 by text: every list is hexadecimal words, sorted as words.
fn ja4(hello: &[u8]) -> String {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let words = |bytes: &[u8]| -> Vec<String> {
        let grease = |word: &String| word[..2] == word[2..] && word.ends_with('a');
        bytes
            .chunks(2)
            .map(hex)
            .filter(|word| !grease(word))
            .collect()
    };
    let number = |at: usize, bytes: usize| {
        hello[at..at + bytes]
            .iter()
            .fold(0, |n, b| n * 256 + usize::from(*b))
    };
    let short = |text: String| hex(&sha256(text.as_bytes()))[..12].to_owned();
    let mut at = 34;
    at += 1 + number(at, 1);
    let mut ciphers = words(&hello[at + 2..at + 2 + number(at, 2)]);
    at += 2 + number(at, 2);
    at += 1 + number(at, 1);
    let end = at + 2 + number(at, 2);
    assert_eq!(end, hello.len());
    at += 2;
    let (mut kinds, mut count, mut signatures) = (Vec::new(), 0, String::new());
    let (mut version, mut name, mut alpn) = (hex(&hello[..2]), "i", "00".to_owned());
    while at < end {
        let (kind, length) = (hex(&hello[at..at + 2]), number(at + 2, 2));
        let content = &hello[at + 4..at + 4 + length];
        at += 4 + length;
        if words(&hello[at - 4 - length..at - 2 - length]).is_empty() {
            continue;
        }
        count += 1;
        match kind.as_str() {
            "0000" => name = "d",
            "0010" => {
                let first = &content[3..3 + usize::from(content[2])];
                let text = String::from_utf8(first.to_vec()).unwrap();
                alpn = format!("{}{}", &text[..1], &text[text.len() - 1..]);
            }
            _ => kinds.push(kind.clone()),
        }
        match kind.as_str() {
            "002b" => version = words(&content[1..]).into_iter().max().unwrap(),
            "000d" => signatures = format!("_{}", words(&content[2..]).join(",")),
            _ => {}
        }
    }
    ciphers.sort();
    kinds.sort();
    let version = match version.as_str() {
        "0304" => "13",
        "0303" => "12",
        other => panic!("{other}"),
    };
    let cipher_count = ciphers.len();
    format!(
        "t{version}{name}{cipher_count:02}{count:02}{alpn}_{}_{}",
        short(ciphers.join(",")),
        short(format!("{}{signatures}", kinds.join(",")))
    )
}

#[test]
fn the_fingerprint_in_the_log_is_that_of_the_bytes_a_real_client_sends() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let versions: [(&str, &[&str], &str); 4] = [
        ("/h2", &["--http2"], "t13d"),
        ("/h1", &["--http1.1"], "t13d"),
        ("/old", &["--http1.1", "--tls-max", "1.2"], "t12d"),
        ("/no-alpn", &["--no-alpn"], "t13d"),
    ];
    let mut seen = Vec::new();
    for (path, args, begin) in versions {
        let curl = |to: SocketAddr| {
            let url = format!("https://a.test{path}");
            Curl::get(url).connect_to(to).arg(&["-k"]).arg(args)
        };
        let expected = ja4(&hello_of(|to| {
            // Nobody answers it.
            curl(to).arg(&["--connect-timeout", "1"]).send();
        }));
        assert_eq!(curl(aegis.tls()).send().status, 200);
        let logged = aegis.logged(path)["ja4"].as_str().unwrap().to_owned();
        assert_eq!(logged, expected);
        assert!(logged.starts_with(begin), "{logged}");
        seen.push(logged);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn grease_and_post_quantum_groups_of_a_client_with_boringssl_are_read_too() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let offer = Offer {
        groups: "X25519MLKEM768:X25519".to_owned(),
        ca: None,
    };
    let expected = ja4(&hello_of(|to| {
        assert!(get(to, "a.test", "/", &offer).is_err(), "nobody answers it");
    }));
    assert_eq!(get(aegis.tls(), "a.test", "/", &offer).unwrap().status, 200);
    assert_eq!(aegis.logged("/")["ja4"], expected);
}

#[test]
fn a_plain_connection_has_no_fingerprint() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    aegis.get("/");
    assert!(aegis.logged("/")["ja4"].is_null());
}
