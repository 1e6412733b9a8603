use super::*;
use std::net::IpAddr;

#[path = "policy_range_tests.rs"]
mod ranges;

pub(crate) struct Client<'a> {
    address: IpAddr,
    site: &'a str,
    path: &'a [u8],
    ja4: Option<&'a str>,
    header: Option<&'a [u8]>,
    cookie: Option<&'a [u8]>,
}

impl Facts for Client<'_> {
    fn address(&self) -> IpAddr {
        self.address
    }
    fn site(&self) -> &str {
        self.site
    }
    fn path(&self) -> &[u8] {
        self.path
    }
    fn ja4(&self) -> Option<&str> {
        self.ja4
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.header.filter(|_| name == "x-key")
    }
    fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.cookie.filter(|_| name == "id")
    }
}

fn client(address: &str) -> Client<'_> {
    Client {
        address: address.parse().unwrap(),
        site: "shop",
        path: b"/",
        ja4: None,
        header: None,
        cookie: None,
    }
}

fn spec(key: Vec<Part>) -> Spec {
    Spec {
        name: "api".into(),
        bound: Bound::Rate {
            of: Measure::Requests {
                count_refused: false,
            },
            limit: 10,
            window: Duration::from_secs(1),
            burst: 0,
        },
        key,
        penalty: Duration::ZERO,
        dry_run: false,
        v4_prefix: 32,
        v6_prefix: 64,
    }
}

fn table() -> Table {
    Table::new(Table::ENTRIES_MIN, [7; 32], 0).unwrap()
}

fn policy(spec: &Spec) -> Policy {
    Policy::new(&table(), spec, "shop").unwrap()
}

#[test]
fn addresses_are_grouped_by_prefix() {
    let policy = policy(&Spec {
        v4_prefix: 24,
        ..spec(vec![Part::Address])
    });
    let key = |address| policy.key(&client(address));
    assert_eq!(key("192.0.2.1"), key("192.0.2.200"));
    assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.9"));
    assert_ne!(key("192.0.2.1"), key("192.0.3.1"));
    assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
    assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
    // As numbers the same, as addresses not.
    assert_ne!(key("0.0.0.0"), key("::"));
}

#[test]
fn each_part_tells_requests_apart_and_the_others_do_not() {
    let one = || client("192.0.2.1");
    let others = [
        (
            Part::Site,
            Client {
                site: "blog",
                ..one()
            },
        ),
        (
            Part::Path,
            Client {
                path: b"/b",
                ..one()
            },
        ),
        (
            Part::Ja4,
            Client {
                ja4: Some("t13d1516h2"),
                ..one()
            },
        ),
        (
            Part::Header("x-key".into()),
            Client {
                header: Some(b"k"),
                ..one()
            },
        ),
        (
            Part::Cookie("id".into()),
            Client {
                cookie: Some(b"c"),
                ..one()
            },
        ),
        (Part::Address, client("192.0.2.2")),
    ];
    for (part, _) in &others {
        let policy = policy(&spec(vec![part.clone()]));
        for (differs, other) in &others {
            // Without a header, a cookie or TLS, the address is what tells apart.
            let by_address = *differs == Part::Address && !matches!(part, Part::Site | Part::Path);
            let same = policy.key(&one()) == policy.key(other);
            assert_eq!(same, differs != part && !by_address, "{part:?} {differs:?}");
        }
    }
}

#[test]
fn a_request_without_the_header_is_counted_by_its_address() {
    let policy = policy(&spec(vec![Part::Header("x-key".into())]));
    let with = |address, header| {
        policy.key(&Client {
            header,
            ..client(address)
        })
    };
    assert_ne!(with("192.0.2.1", None), with("192.0.2.2", None));
    assert_eq!(with("192.0.2.1", Some(b"k")), with("192.0.2.2", Some(b"k")));
    assert_ne!(with("192.0.2.1", Some(b"")), with("192.0.2.1", None));
}

#[test]
fn bytes_cannot_move_from_one_part_to_the_next() {
    let policy = policy(&spec(vec![Part::Path, Part::Header("x-key".into())]));
    let with = |path, header| {
        policy.key(&Client {
            path,
            header: Some(header),
            ..client("::1")
        })
    };
    assert_ne!(with(b"/ab", b"c"), with(b"/a", b"bc"));
    let long = [b'x'; 5000];
    assert_ne!(with(&long, b"c"), with(&long[1..], b"xc"));
    assert_eq!(with(&long, b"c"), with(&long.clone(), b"c"));
}

#[test]
fn a_count_goes_on_under_another_limit_and_starts_anew_under_another_window_name_scope_or_secret() {
    let table = table();
    let base = spec(vec![Part::Address]);
    let key = |table: &Table, spec: &Spec, scope| {
        Policy::new(table, spec, scope).unwrap().key(&client("::1"))
    };
    let bound = |limit, window| Bound::Rate {
        of: Measure::Requests {
            count_refused: true,
        },
        limit,
        window: Duration::from_secs(window),
        burst: 3,
    };
    let first = key(&table, &base, "shop");
    assert_eq!(
        first,
        key(
            &table,
            &Spec {
                bound: bound(99, 1),
                ..base.clone()
            },
            "shop"
        )
    );
    assert_ne!(
        first,
        key(
            &table,
            &Spec {
                bound: bound(10, 2),
                ..base.clone()
            },
            "shop"
        )
    );
    assert_ne!(
        first,
        key(
            &table,
            &Spec {
                name: "b".into(),
                ..base.clone()
            },
            "shop"
        )
    );
    assert_ne!(first, key(&table, &base, "blog"));
    let other = Table::new(Table::ENTRIES_MIN, [8; 32], 0).unwrap();
    assert_ne!(first, key(&other, &base, "shop"));
}
