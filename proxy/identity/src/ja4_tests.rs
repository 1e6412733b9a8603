use super::{Ja4, ends, hash, is_grease};

/// A `ClientHello` of these parts, as RFC 8446 §4.1.2 lays it out.
struct Made {
    version: u16,
    ciphers: Vec<u16>,
    extensions: Vec<(u16, Vec<u8>)>,
}

fn vector(length: usize, content: &[u8]) -> Vec<u8> {
    let all = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&all[4 - length..], content].concat()
}

fn bytes_of(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| vector(1, name)).collect();
    vector(2, &list)
}

fn versions(numbers: &[u16]) -> Vec<u8> {
    vector(1, &bytes_of(numbers))
}

fn signatures(numbers: &[u16]) -> Vec<u8> {
    vector(2, &bytes_of(numbers))
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &vector(2, content)].concat())
            .collect();
        [
            &self.version.to_be_bytes()[..],
            &[7; 32],
            &vector(1, &[9; 32]),
            &vector(2, &bytes_of(&self.ciphers)),
            &vector(1, &[0]),
            &vector(2, &extensions),
        ]
        .concat()
    }

    fn ja4(&self) -> String {
        Ja4::of_client_hello(&self.bytes()).unwrap().to_string()
    }
}

/// The example of the specification, with the GREASE a browser would add.
fn example() -> Made {
    let ciphers = [
        0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
        0x009c, 0x009d, 0x002f, 0x0035,
    ];
    let kinds = [
        0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
        0x002b, 0xff01, 0x000b, 0x000a, 0x0015,
    ];
    let mut extensions: Vec<_> = kinds
        .into_iter()
        .map(|kind| {
            let content = match kind {
                0x0010 => alpn(&[b"h2", b"http/1.1"]),
                0x002b => versions(&[0x5a5a, 0x0304, 0x0303]),
                0x000d => signatures(&[
                    0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
                ]),
                _ => vec![1, 2, 3],
            };
            (kind, content)
        })
        .collect();
    extensions.insert(0, (0xaaaa, vec![]));
    extensions.push((0x1a1a, vec![0]));
    Made {
        version: 0x0303,
        ciphers: [&[0x3a3a][..], &ciphers].concat(),
        extensions,
    }
}

#[test]
fn the_specifications_example_has_the_specifications_fingerprint() {
    assert_eq!(example().ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    let mut shuffled = example();
    shuffled.ciphers.reverse();
    shuffled.extensions.reverse();
    assert_eq!(shuffled.ja4(), example().ja4(), "order does not count");
}

#[test]
fn the_specifications_hashes_are_those_of_its_lists() {
    let text = |hash: [u8; 12]| String::from_utf8(hash.to_vec()).unwrap();
    let extensions = [
        0x0005, 0x000a, 0x000b, 0x000d, 0x0012, 0x0015, 0x0017, 0x001b, 0x0023, 0x002b, 0x002d,
        0x0033, 0x4469, 0xff01,
    ];
    let algorithms = [
        0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
    ];
    assert_eq!(text(hash(&extensions, &algorithms)), "e5627efa2ab1");
    assert_eq!(text(hash(&extensions, &[])), "6d807ffa2a79");
    assert_eq!(text(hash(&[], &[])), "000000000000");
}

#[test]
fn each_part_of_the_first_section_says_what_it_says() {
    let a = |change: &dyn Fn(&mut Made)| {
        let mut made = example();
        change(&mut made);
        made.ja4()[..10].to_owned()
    };
    let without = |kind: u16| move |made: &mut Made| made.extensions.retain(|(k, _)| *k != kind);
    let with = |kind: u16, content: Vec<u8>| {
        move |made: &mut Made| {
            made.extensions.retain(|(k, _)| *k != kind);
            made.extensions.push((kind, content.clone()));
        }
    };
    assert_eq!(a(&|_| {}), "t13d1516h2");
    assert_eq!(a(&without(0)), "t13i1515h2");
    assert_eq!(a(&without(0x10)), "t13d151500");
    assert_eq!(
        a(&without(0x2b)),
        "t12d1515h2",
        "then the version is the old field's"
    );
    for (number, shown) in [
        (0x0304, "13"),
        (0x0303, "12"),
        (0x0302, "11"),
        (0x0301, "10"),
        (0x0300, "s3"),
        (0x0002, "s2"),
        (0xfefd, "d2"),
        (0x7f1c, "00"),
        (0x0000, "00"),
    ] {
        assert_eq!(a(&with(0x2b, versions(&[number])))[1..3], *shown);
    }
    // The highest counts, wherever it stands; GREASE alone leaves the old field's.
    assert_eq!(
        a(&with(0x2b, versions(&[0x0301, 0x0304, 0x0303, 0xfafa]))),
        "t13d1516h2"
    );
    assert_eq!(a(&with(0x2b, versions(&[0xfafa]))), "t12d1516h2");
    assert_eq!(
        a(&|made| made.ciphers = (0x0100..0x0163).collect()),
        "t13d9916h2"
    );
    assert_eq!(
        a(&|made| made.ciphers = (0x0100..0x0200).collect()),
        "t13d9916h2"
    );
    assert_eq!(
        a(&|made| made
            .extensions
            .extend((0x0100..0x0200).map(|k| (k, vec![])))),
        "t13d1599h2"
    );
    // SCSV and reserved values count.
    assert_eq!(
        a(&|made| made.ciphers.extend([0x00ff, 0x5600, 0xfe00])),
        "t13d1816h2"
    );
    for (names, shown) in [
        (&[&b"http/1.1"[..]][..], "h1"),
        (&[b"h3", b"h2"], "h3"),
        (&[b"x"], "xx"),
        (&[b""], "00"),
        (&[], "00"),
        (&[b"\x20\x61"], "21"),
    ] {
        assert_eq!(a(&with(0x10, alpn(names)))[8..], *shown);
    }
}

#[test]
fn protocols_that_are_no_text_are_shown_as_the_specification_shows_them() {
    for (name, shown) in [
        (&[0xab][..], "ab"),
        (&[0x20], "20"),
        (&[0xab, 0xcd], "ad"),
        (&[0x20, 0x61], "21"),
        (&[0x30, 0xab], "3b"),
        (&[0x61, 0x20], "60"),
        (&[0x30, 0x31, 0xab, 0xcd], "3d"),
        (&[0x30, 0xab, 0xcd, 0x31], "01"),
    ] {
        assert_eq!(ends(name), shown.as_bytes(), "{name:x?}");
    }
}

#[test]
fn what_is_not_offered_has_no_hash() {
    let bare = Made {
        version: 0x0301,
        ciphers: vec![0x8a8a],
        extensions: vec![(0, vec![]), (0x10, vec![])],
    };
    assert_eq!(bare.ja4(), "t10d000200_000000000000_000000000000");
    let mut old = bare.bytes();
    // No extensions at all, as before RFC 3546.
    old.truncate(old.len() - 10);
    let old = Ja4::of_client_hello(&old).unwrap().to_string();
    assert_eq!(old, "t10i000000_000000000000_000000000000");
}

#[test]
fn the_sixteen_values_of_grease_are_left_out() {
    let grease: Vec<u16> = (0..=u16::MAX).filter(|n| is_grease(*n)).collect();
    assert_eq!(grease.len(), 16);
    assert_eq!((grease[0], grease[15]), (0x0a0a, 0xfafa));
}

#[test]
fn whatever_the_bytes_there_is_a_fingerprint_of_36_characters_or_none() {
    let good = example().bytes();
    // Where the extensions would begin it may end (RFC 5246 §7.4.1.2); nowhere else.
    let whole = (0..good.len()).filter(|end| Ja4::of_client_hello(&good[..*end]).is_some());
    assert_eq!(whole.collect::<Vec<_>>(), [2 + 32 + 33 + 2 + 2 * 16 + 2]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..50_000 {
        let mut bytes = good.clone();
        for _ in 0..=next(6) {
            let place = next(bytes.len());
            match next(3) {
                0 => bytes[place] = next(256) as u8,
                1 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, next(256) as u8),
            }
        }
        if let Some(ja4) = Ja4::of_client_hello(&bytes) {
            let text = ja4.as_str();
            assert!(
                text.len() == 36 && text.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()),
                "{text}"
            );
        }
    }
}
