use super::*;
use crate::{Author, Kind};

fn changes() -> Vec<Change> {
    let verdict = Verdict {
        kind: Kind::Ban,
        prefix: "2001:db8::/64".parse().unwrap(),
        scope: Scope::Site("shop.example.com".into()),
        author: Author::Rule("waf".into()),
        reason: "5 WAF blocks in 60 s".into(),
        request: Some("01J0000000000000000000000A".into()),
        since: 1000,
        until: Some(2000),
        l7_only: true,
        hits: 0,
    };
    vec![
        Change::Put(verdict.clone()),
        Change::Removed {
            prefix: verdict.prefix,
            scope: verdict.scope,
        },
        Change::Removed {
            prefix: "192.0.2.7".parse().unwrap(),
            scope: Scope::Node,
        },
    ]
}

/// The journal, and where each change ends.
fn journal() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = journal_header();
    let mut ends = vec![bytes.len()];
    for change in changes() {
        bytes.extend(encode_change(&change));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

#[test]
fn changes_are_read_back_in_order() {
    assert_eq!(read_journal(&journal().0, 3).unwrap(), changes());
    assert_eq!(read_journal(&journal_header(), 0).unwrap(), []);
}

#[test]
fn a_journal_cut_within_a_change_says_what_is_whole() {
    let (bytes, ends) = journal();
    for cut in ends[0]..bytes.len() {
        let whole = *ends.iter().rev().find(|end| **end <= cut).unwrap();
        let read = read_journal(&bytes[..cut], 3);
        if whole == cut {
            assert!(read.is_ok());
        } else {
            assert_eq!(
                read,
                Err(PersistError::Journal { intact: whole }),
                "cut at {cut}"
            );
            assert!(read_journal(&bytes[..whole], 3).is_ok());
        }
    }
}

#[test]
fn any_flipped_bit_is_noticed() {
    let (good, ends) = journal();
    for at in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[at / 8] ^= 1 << (at % 8);
        match read_journal(&bad, 3) {
            Err(PersistError::Journal { intact }) => {
                assert!(ends.contains(&intact) && intact <= at / 8);
            }
            Err(PersistError::Magic | PersistError::Version(_)) => assert!(at / 8 < ends[0]),
            other => panic!("bit {at}: {other:?}"),
        }
    }
}

#[test]
fn more_changes_than_expected_are_refused() {
    let error = read_journal(&journal().0, 2).unwrap_err();
    assert_eq!(error, PersistError::TooMany { count: 3, max: 2 });
}

#[test]
fn no_bytes_make_it_panic_even_with_a_right_hash() {
    let mut random = fastrand::Rng::with_seed(1);
    let frame = encode_change(&changes()[0]);
    for _ in 0..50_000 {
        let mut body = frame[20..].to_vec();
        let at = random.usize(0..body.len());
        body[at] = random.u8(..);
        body.truncate(random.usize(0..=body.len()));
        let mut bytes = journal_header();
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(&blake3::hash(&body).as_bytes()[..HASH]);
        bytes.extend(body);
        let _read = read_journal(&bytes, 1);
    }
}
