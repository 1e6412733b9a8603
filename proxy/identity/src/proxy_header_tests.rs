use super::ProxyHeaderError::{Absent, Checksum, Malformed, TooLong};
use super::{
    Behalf, PROXY_HEADER_MAX, ProxyHeader, ProxyHeaderError, SIGNATURE, crc32c, read_proxy_header,
};

/// The client that was read (`-` = the peer itself, `?` = nobody knows), and what is left.
fn read(bytes: &[u8]) -> Result<Option<(String, Vec<u8>)>, ProxyHeaderError> {
    let header = read_proxy_header(bytes)?;
    Ok(header.map(|ProxyHeader { len, behalf }| {
        let client = match behalf {
            Behalf::Itself => "-".to_owned(),
            Behalf::Unnamed => "?".to_owned(),
            Behalf::Address(client) => client.to_string(),
        };
        (client, bytes[len..].to_vec())
    }))
}

/// Version 2 with this version and command, family, and block.
fn v2(version: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([version, family]);
    bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend(block);
    bytes
}

fn tcp4(fields: &[u8]) -> Vec<u8> {
    let mut block = vec![192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
    block.extend(fields);
    v2(0x21, 0x11, &block)
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind][..], &length, value].concat()
}

/// With a right checksum between these fields.
fn summed(before: &[u8], after: &[u8]) -> Vec<u8> {
    summed_in(tcp4, before, after)
}

/// The same in another header.
fn summed_in(header: impl Fn(&[u8]) -> Vec<u8>, before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut bytes = header(&[before, &field(0x03, &[0; 4]), after].concat());
    let crc = (!crc32c(!0, &bytes)).to_be_bytes();
    let place = bytes.len() - after.len() - 4;
    bytes[place..place + 4].copy_from_slice(&crc);
    bytes
}

#[test]
fn lines_of_version_1_are_read_to_the_letter() {
    #[rustfmt::skip]
    let good: &[(&str, &str)] = &[
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", "192.0.2.7:4711"),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 0 0\r\n", "192.0.2.7:0"),
        ("PROXY TCP6 2001:db8::7 fd00::1 4711 443\r\n", "[2001:db8::7]:4711"),
        ("PROXY TCP6 2001:DB8::7 fd00::1 4711 443\r\n", "[2001:db8::7]:4711"),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 443\r\n", "192.0.2.7:4711"),
        ("PROXY TCP6 1111:2222:3333:4444:5555:6666:7777:8888 1111:2222:3333:4444:5555:6666:7777:8888 65535 65535\r\n", "[1111:2222:3333:4444:5555:6666:7777:8888]:65535"),
        ("PROXY UNKNOWN\r\n", "?"),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "?"),
    ];
    for (text, client) in good {
        for rest in ["", "\x16\x03\x01", "GET / HTTP/1.1\r\n\r\n"] {
            let bytes = [text.as_bytes(), rest.as_bytes()].concat();
            let expected = Some(((*client).to_owned(), rest.as_bytes().to_vec()));
            assert_eq!(read(&bytes), Ok(expected), "{text:?}");
        }
        for short in 0..text.len() {
            assert_eq!(
                read(&text.as_bytes()[..short]),
                Ok(None),
                "{:?}",
                &text[..short]
            );
        }
    }
    #[rustfmt::skip]
    let bad: &[(&str, ProxyHeaderError)] = &[
        ("GET / HTTP/1.1\r\n", Absent),
        ("\x16\x03\x01\x02\0", Absent),
        ("proxy TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Absent),
        ("PROXY\tTCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Absent),
        (" PROXY TCP4", Absent),
        ("PROXY \r\n", Malformed),
        ("PROXY  TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4  192.0.2.7 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 \r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 1\r\n", Malformed),
        ("PROXY TCP4 192.0.2.07 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.256 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 04711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n", Malformed),
        ("PROXY TCP4 2001:db8::7 fd00::1 4711 443\r\n", Malformed),
        ("PROXY TCP6 192.0.2.7 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n", Malformed),
        ("PROXY TCP6 [::1] ::1 4711 443\r\n", Malformed),
        ("PROXY UDP4 192.0.2.7 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY UNKNOWNS\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\rX", Malformed),
        ("PROXY TCP4 \u{e9} 10.0.0.1 4711 443\r\n", Malformed),
    ];
    for (text, why) in bad {
        assert_eq!(read(text.as_bytes()), Err(*why), "{text:?}");
    }
}

#[test]
fn a_line_ends_within_107_bytes() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(line(107).len(), 107);
    assert!(matches!(read(line(107).as_bytes()), Ok(Some(_))));
    assert_eq!(
        read(line(108).as_bytes()),
        Err(Malformed),
        "its CR alone is within"
    );
    assert_eq!(read(line(109).as_bytes()), Err(TooLong));
    assert_eq!(read(&line(200).as_bytes()[..107]), Err(TooLong));
}

#[test]
fn headers_of_version_2_are_read_by_their_length() {
    let tcp6 = [&[0x20; 32][..], &[0x12, 0x67, 1, 187]].concat();
    let mapped = [
        &[0; 10][..],
        &[255, 255, 192, 0, 2, 7],
        &[0; 16],
        &[0, 1, 0, 2],
    ]
    .concat();
    let everything = [
        field(0x02, b"shop.example"),
        field(0x05, b"id"),
        field(0x04, &[0; 3]),
    ]
    .concat();
    #[rustfmt::skip]
    let good: Vec<(Vec<u8>, &str)> = vec![
        (tcp4(&[]), "192.0.2.7:4711"),
        (tcp4(&everything), "192.0.2.7:4711"),
        (tcp4(&field(0xE0, &[7; 200])), "192.0.2.7:4711"),
        (summed(&[], &[]), "192.0.2.7:4711"),
        (summed(&everything, &field(0x30, b"netns")), "192.0.2.7:4711"),
        (v2(0x21, 0x21, &tcp6), "[2020:2020:2020:2020:2020:2020:2020:2020]:4711"),
        (v2(0x21, 0x21, &mapped), "192.0.2.7:1"),
        (v2(0x20, 0x00, &[]), "-"),
        (v2(0x20, 0x11, &[1; 12]), "-"),
        (v2(0x20, 0x11, &[]), "-"),
        (v2(0x21, 0x00, &[]), "?"),
        (v2(0x21, 0x00, &[9; 50]), "?"),
        (v2(0x21, 0x01, &[9; 50]), "?"),
        (v2(0x21, 0x10, &[9; 50]), "?"),
        (v2(0x21, 0x31, &[b'/'; 216]), "?"),
    ];
    for (bytes, client) in good {
        for short in 0..bytes.len() {
            assert_eq!(read(&bytes[..short]), Ok(None), "{bytes:?} cut at {short}");
        }
        let expected = Some((client.to_owned(), b"next".to_vec()));
        assert_eq!(
            read(&[&bytes[..], b"next"].concat()),
            Ok(expected),
            "{bytes:?}"
        );
    }
    // A checksum counts also where nothing else is looked at, wherever the addresses would end.
    let local = |fields: &[u8]| v2(0x20, 0x00, fields);
    let local_tcp4 = |fields: &[u8]| v2(0x20, 0x11, &[&[1; 12][..], fields].concat());
    let unnamed = |fields: &[u8]| v2(0x21, 0x00, fields);
    let mut unsure: Vec<Vec<u8>> = Vec::new();
    for (sealed, client) in [
        (summed_in(local, &everything, &[]), "-"),
        (summed_in(local_tcp4, &everything, &[]), "-"),
        (summed_in(unnamed, &everything, &field(0x30, b"x")), "?"),
    ] {
        assert_eq!(read(&sealed), Ok(Some((client.to_owned(), Vec::new()))));
        let mut broken = sealed;
        broken[22] ^= 1;
        unsure.push(broken);
    }
    for bytes in unsure {
        assert_eq!(read(&bytes), Err(Checksum), "{bytes:?}");
    }
    let mut wrong_sum = summed(&[], &[]);
    *wrong_sum.last_mut().unwrap() ^= 1;
    let mut other_address = summed(&[], &[]);
    other_address[16] ^= 1;
    #[rustfmt::skip]
    let bad: Vec<(Vec<u8>, ProxyHeaderError)> = vec![
        (v2(0x11, 0x11, &[1; 12]), Malformed),
        (v2(0x31, 0x11, &[1; 12]), Malformed),
        (v2(0x22, 0x11, &[1; 12]), Malformed),
        (v2(0x2f, 0x00, &[]), Malformed),
        (v2(0x21, 0x41, &[1; 12]), Malformed),
        (v2(0x21, 0x13, &[1; 12]), Malformed),
        (v2(0x20, 0xf0, &[]), Malformed),
        (v2(0x21, 0x12, &[1; 12]), Malformed),
        (v2(0x21, 0x22, &[1; 36]), Malformed),
        (v2(0x21, 0x32, &[1; 216]), Malformed),
        (v2(0x21, 0x11, &[1; 11]), Malformed),
        (v2(0x21, 0x11, &[]), Malformed),
        (v2(0x21, 0x21, &[1; 35]), Malformed),
        (v2(0x21, 0x31, &[1; 215]), Malformed),
        (tcp4(&[0x04]), Malformed),
        (tcp4(&[0x04, 0]), Malformed),
        (tcp4(&[0x04, 0, 1]), Malformed),
        (tcp4(&[0x04, 255, 255, 0]), Malformed),
        (tcp4(&field(0x03, &[0; 3])), Malformed),
        (tcp4(&field(0x03, &[0; 4])), Checksum),
        (wrong_sum, Checksum),
        (other_address, Checksum),
        (b"\r\n\r\n\0\r\nQUIX\n".to_vec(), Absent),
        (b"\r\n\r\n\n".to_vec(), Absent),
    ];
    for (bytes, why) in bad {
        assert_eq!(read(&bytes), Err(why), "{bytes:?}");
    }
}

#[test]
fn a_header_of_version_2_is_bounded_before_it_is_waited_for() {
    let most = PROXY_HEADER_MAX - 16;
    assert!(matches!(read(&v2(0x21, 0x00, &vec![0; most])), Ok(Some(_))));
    assert_eq!(read(&v2(0x21, 0x00, &vec![0; most + 1])), Err(TooLong));
    assert_eq!(read(&v2(0x20, 0x00, &[0; 60_000])[..16]), Err(TooLong));
}

#[test]
fn the_checksum_is_crc_32c() {
    // RFC 3720 appendix B.4.
    assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
    assert_eq!(!crc32c(!0, &[0xff; 32]), 0x62a8_ab43);
    assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
}

#[test]
fn a_broken_header_is_refused_and_never_more() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let seeds = [
        summed(&field(0x02, b"a"), &field(0x05, b"id")),
        v2(0x21, 0x21, &[1; 36]),
        b"PROXY TCP6 2001:db8::7 fd00::1 4711 443\r\n".to_vec(),
    ];
    for round in 0..60_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=next(3) {
            let place = next(bytes.len());
            match next(3) {
                0 => bytes[place] = next(256) as u8,
                1 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, next(256) as u8),
            }
        }
        if let Ok(Some(header)) = read_proxy_header(&bytes) {
            assert!(header.len <= bytes.len() && header.len <= PROXY_HEADER_MAX);
        }
    }
}
