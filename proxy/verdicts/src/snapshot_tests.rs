use super::*;
use crate::{Author, Kind, NeverBan, Scope, Terms};

const NOW: Millis = 1_800_000_000_000;

fn all_kinds() -> Vec<Verdict> {
    let base = Verdict {
        kind: Kind::Ban,
        prefix: "192.0.2.7".parse().unwrap(),
        scope: Scope::Node,
        author: Author::Operator("ann".into()),
        reason: "hunts for /wp-login.php – again".into(),
        request: None,
        since: NOW - 1,
        until: None,
        l7_only: false,
        hits: 7,
    };
    vec![
        base.clone(),
        Verdict {
            kind: Kind::Allow,
            prefix: "2001:db8::/48".parse().unwrap(),
            ..base.clone()
        },
        Verdict {
            prefix: "2001:db8:1:1::/64".parse().unwrap(),
            scope: Scope::Site("shop.example.com".into()),
            author: Author::Rule("waf".into()),
            reason: "5 WAF blocks in 60 s".into(),
            request: Some("01J0000000000000000000000A".into()),
            until: Some(NOW + 600_000),
            l7_only: true,
            ..base.clone()
        },
        Verdict {
            prefix: "10.0.0.0/8".parse().unwrap(),
            request: Some("a-hop's own id".into()),
            ..base
        },
    ]
}

fn table() -> Table {
    Table::new(1000, [1; 16], NeverBan::new([])).unwrap()
}

fn filled() -> Table {
    let table = table();
    for verdict in all_kinds() {
        table.put(verdict, Terms::default(), NOW).unwrap();
    }
    table
}

fn bytes(table: &Table) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_snapshot(table, NOW, 0, &mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_written_is_read_back_the_same() {
    assert_eq!(read_snapshot(&bytes(&filled())).unwrap(), all_kinds());
    assert_eq!(read_snapshot(&bytes(&table())).unwrap(), []);
    let again = table();
    again.restore(read_snapshot(&bytes(&filled())).unwrap(), NOW);
    assert_eq!(bytes(&again), bytes(&filled()));
}

#[test]
fn what_ended_is_not_written() {
    let mut bytes = Vec::new();
    write_snapshot(&filled(), NOW + 600_000, 0, &mut bytes).unwrap();
    assert_eq!(read_snapshot(&bytes).unwrap().len(), 3);
}

#[test]
fn any_flipped_bit_is_noticed() {
    let good = bytes(&filled());
    for at in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[at / 8] ^= 1 << (at % 8);
        assert!(read_snapshot(&bad).is_err(), "bit {at}");
    }
}

#[test]
fn any_byte_less_or_more_is_noticed() {
    let good = bytes(&filled());
    for length in 0..good.len() {
        let error = read_snapshot(&good[..length]).unwrap_err();
        assert!(matches!(error, PersistError::Short(_)), "{length}: {error}");
    }
    let mut long = good.clone();
    long.push(0);
    assert_eq!(read_snapshot(&long), Err(PersistError::Long(good.len())));
    assert_eq!(
        read_snapshot(b"<html>404 Not Found"),
        Err(PersistError::Magic)
    );
}

/// With a right hash: what a broken writer, or an attacker with the file, could write.
fn rehashed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - HASH);
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

#[test]
fn numbers_that_lie_are_refused_even_with_a_right_hash() {
    let good = bytes(&filled());
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        read_snapshot(&rehashed(bytes))
    };
    assert_eq!(with(8, &2_u16.to_le_bytes()), Err(PersistError::Version(2)));
    assert!(matches!(
        with(10, &u32::MAX.to_le_bytes()),
        Err(PersistError::TooMany { .. })
    ));
    assert!(with(10, &5_u32.to_le_bytes()).is_err());
    assert!(matches!(
        with(10, &3_u32.to_le_bytes()),
        Err(PersistError::Long(_))
    ));
    assert!(matches!(
        with(14, &u64::MAX.to_le_bytes()),
        Err(PersistError::Short(_))
    ));
}

#[test]
fn no_bytes_make_it_panic_even_with_a_right_hash() {
    let good = bytes(&filled());
    let mut random = fastrand::Rng::with_seed(1);
    let mut refused = 0;
    for _ in 0..100_000 {
        let mut bad = good.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(HEADER..good.len() - HASH);
            bad[at] = random.u8(..);
        }
        match read_snapshot(&rehashed(bad)) {
            Err(_) => refused += 1,
            // What is accepted is well-formed, and written the same again.
            Ok(verdicts) => assert!(verdicts.iter().all(|verdict| verdict.check().is_ok())),
        }
    }
    assert!(refused > 10_000);
}
