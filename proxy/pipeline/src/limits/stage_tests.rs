use super::*;
use aegis_limits::Facts as _;
use std::net::Ipv4Addr;

fn request(headers: &HeaderMap) -> Request<'_> {
    Request {
        address: Ipv4Addr::LOCALHOST.into(),
        site: "a",
        path: decoded("/"),
        headers,
        ja4: None,
    }
}

fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().expect("a value"));
    }
    headers
}

#[test]
fn a_header_counts_when_it_is_there_once() {
    let value = |lines: &[_]| request(&fields(lines)).header("x-key").map(<[u8]>::to_vec);
    assert_eq!(value(&[("x-key", "a")]).as_deref(), Some(&b"a"[..]));
    assert_eq!(value(&[("x-key", "")]).as_deref(), Some(&b""[..]));
    assert_eq!(value(&[("x-keys", "a")]), None);
    assert_eq!(value(&[("x-key", "a"), ("x-key", "b")]), None);
}

#[test]
fn a_cookie_counts_when_it_is_there_once_in_one_field_or_many() {
    for (lines, expected) in [
        (&["id=7"][..], Some("7")),
        (&["a=b; id=7; c"], Some("7")),
        (&["a=b", "id=7"], Some("7")),
        (&["id=a=b"], Some("a=b")),
        (&["id="], Some("")),
        (&["  id=7  "], Some("7")),
        (&["ID=7"], None),
        (&["xid=7;id"], None),
        (&["id=7; id=8"], None),
        (&["id=7", "id=7"], None),
        (&[], None),
    ] {
        let lines: Vec<_> = lines.iter().map(|value| ("cookie", *value)).collect();
        let headers = fields(&lines);
        let found = request(&headers).cookie("id").map(<[u8]>::to_vec);
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{lines:?}");
    }
}

#[test]
fn spellings_of_one_path_are_one() {
    for (path, expected) in [
        ("/login", "/login"),
        ("/%6Cogin", "/login"),
        ("/%6cogin", "/login"),
        ("/a%2fb", "/a/b"),
        ("/100%", "/100%"),
        ("/%4", "/%4"),
        ("/%zz", "/%zz"),
        ("/%%41", "/%A"),
    ] {
        assert_eq!(decoded(path), expected.as_bytes(), "{path}");
    }
}
