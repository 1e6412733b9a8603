use super::{Claims, Doubt, HOPS_MAX, Hops, host};
use aegis_settings::Networks;
use aegis_settings::model::ForwardedField;

/// Trusts 10.0.0.0/8 and fd00::/8; the connection comes from 10.0.0.1.
fn hops(field: ForwardedField) -> Hops {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
    Hops {
        trusted: Networks::new(&trusted),
        field,
    }
}

fn lines<'a>(lines: &[&'a str]) -> Vec<&'a [u8]> {
    lines.iter().map(|line| line.as_bytes()).collect()
}

fn told(field: ForwardedField, forwarded: &[&str], x_for: &[&str]) -> (String, Option<Doubt>) {
    let claims = Claims {
        forwarded: lines(forwarded),
        x_for: lines(x_for),
        ..Claims::default()
    };
    let told = hops(field).told("10.0.0.1:5".parse().unwrap(), &claims);
    let client = if told.named {
        told.client.to_string()
    } else {
        "-".to_owned()
    };
    (client, told.doubt)
}

const UNREADABLE: Option<Doubt> = Some(Doubt::Unreadable);

#[test]
fn x_forwarded_for_is_followed_from_the_right_to_the_first_that_is_not_trusted() {
    #[rustfmt::skip]
    let cases: &[(&[&str], &str, Option<Doubt>)] = &[
        (&["192.0.2.7"], "192.0.2.7:0", None),
        (&["192.0.2.7:4711"], "192.0.2.7:4711", None),
        (&["2001:db8::7"], "[2001:db8::7]:0", None),
        (&["[2001:db8::7]"], "[2001:db8::7]:0", None),
        (&["[2001:db8::7]:443"], "[2001:db8::7]:443", None),
        (&["::ffff:192.0.2.7"], "192.0.2.7:0", None),
        (&[" 192.0.2.7 "], "192.0.2.7:0", None),
        (&["1.1.1.1, 192.0.2.7"], "192.0.2.7:0", None),
        (&["1.1.1.1,192.0.2.7,10.0.0.9"], "192.0.2.7:0", None),
        (&["1.1.1.1", "192.0.2.7", "10.0.0.9, fd00::1"], "192.0.2.7:0", None),
        (&["192.0.2.7, 10.0.0.9, 198.51.100.1, 10.0.0.8"], "198.51.100.1:0", None),
        (&["10.0.0.7"], "10.0.0.7:0", None),
        (&["10.0.0.7, 10.0.0.8"], "10.0.0.7:0", None),
        (&["192.0.2.7,, ,10.0.0.8,"], "192.0.2.7:0", None),
        (&[""], "-", None),
        (&[" , ,"], "-", None),
        (&["unknown"], "-", None),
        (&["192.0.2.7, unknown"], "-", None),
        (&["192.0.2.7, UNKNOWN, 10.0.0.8"], "10.0.0.8:0", None),
        (&["<script>, 192.0.2.7"], "192.0.2.7:0", None),
        (&["192.0.2.7, <script>"], "-", UNREADABLE),
        (&["192.0.2.7, nobody, 10.0.0.8"], "10.0.0.8:0", UNREADABLE),
        (&["192.0.2.07"], "-", UNREADABLE),
        (&["192.0.2.7:"], "-", UNREADABLE),
        (&["192.0.2.7:65536"], "-", UNREADABLE),
        (&["192.0.2.7:+80"], "-", UNREADABLE),
        (&["192.0.2.7 10.0.0.1"], "-", UNREADABLE),
        (&["192.0.2"], "-", UNREADABLE),
        (&["0x7f.1"], "-", UNREADABLE),
        (&["fe80::1%eth0"], "-", UNREADABLE),
        (&["[2001:db8::7"], "-", UNREADABLE),
        (&["[192.0.2.7]"], "-", UNREADABLE),
        (&["\"192.0.2.7\""], "-", UNREADABLE),
        (&["2001:db8::7:80:x"], "-", UNREADABLE),
        (&["\u{ff11}.1.1.1"], "-", UNREADABLE),
    ];
    for (x_for, client, doubt) in cases {
        let expected = ((*client).to_owned(), *doubt);
        assert_eq!(told(ForwardedField::Any, &[], x_for), expected, "{x_for:?}");
        let only = told(ForwardedField::XForwardedFor, &["for=1.2.3.4"], x_for);
        assert_eq!(only, expected, "{x_for:?}");
        let other = told(ForwardedField::Forwarded, &[], x_for);
        assert_eq!(other, ("-".to_owned(), None), "{x_for:?}");
    }
}

#[test]
fn forwarded_is_read_as_its_rfc_has_it_and_in_no_other_way() {
    #[rustfmt::skip]
    let cases: &[(&[&str], &str, Option<Doubt>)] = &[
        // The examples of RFC 7239 §4 and §6.
        (&["for=192.0.2.43"], "192.0.2.43:0", None),
        (&["For=\"[2001:db8:cafe::17]:4711\""], "[2001:db8:cafe::17]:4711", None),
        (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60:0", None),
        (&["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17:0", None),
        (&["for=\"_gazonk\""], "-", None),
        (&["for=_hidden, for=_SEVKISEK"], "-", None),
        (&["for=unknown"], "-", None),
        (&["for=\"192.0.2.43:47011\""], "192.0.2.43:47011", None),
        // Lists.
        (&["for=192.0.2.7, for=10.0.0.8, for=\"[fd00::9]\""], "192.0.2.7:0", None),
        (&["for=192.0.2.7", "for=10.0.0.8"], "192.0.2.7:0", None),
        (&["for=1.1.1.1,for=192.0.2.7 ,, for=10.0.0.8;by=_us"], "192.0.2.7:0", None),
        (&["for=\"192.0.2.7:_obf\""], "192.0.2.7:0", None),
        (&["for=\"unknown:123\""], "-", None),
        (&["for=\"_x:_y\""], "-", None),
        (&["proto=https"], "-", None),
        (&[";for=192.0.2.7;;"], "192.0.2.7:0", None),
        (&["for=192.0.2.7;ext=1;other=\"a,b;c=\\\"d\\\"\""], "192.0.2.7:0", None),
        (&["for=\"192.0.\\2.7\""], "192.0.2.7:0", None),
        (&["for=\"::ffff:192.0.2.7\""], "-", UNREADABLE),
        (&["for=\"[::ffff:192.0.2.7]\""], "192.0.2.7:0", None),
        // What a client may put to the left of what his proxy writes.
        (&["for=\"1.1.1.1, for=192.0.2.7"], "192.0.2.7:0", None),
        (&["for=\"\\\", for=192.0.2.7"], "192.0.2.7:0", None),
        (&["\", \", for=192.0.2.7;host=\"a\""], "192.0.2.7:0", None),
        (&["for=1.1.1.1;host=\"x\", for=10.0.0.9;host=\"a, b\", for=10.0.0.8"], "1.1.1.1:0", None),
        // What is no element.
        (&["192.0.2.7"], "-", UNREADABLE),
        (&["for"], "-", UNREADABLE),
        (&["for="], "-", UNREADABLE),
        (&["for =192.0.2.7"], "-", UNREADABLE),
        (&["for= 192.0.2.7"], "-", UNREADABLE),
        (&["for=192.0.2.7; proto=http"], "-", UNREADABLE),
        (&["for=192.0.2.7;for=192.0.2.8"], "-", UNREADABLE),
        (&["for=192.0.2.7;FOR=192.0.2.7"], "-", UNREADABLE),
        (&["for=192.0.2.7;x=1;X=2"], "-", UNREADABLE),
        (&["for=192.0.2.7:80"], "-", UNREADABLE),
        (&["for=[2001:db8::7]"], "-", UNREADABLE),
        (&["for=\"2001:db8::7\""], "-", UNREADABLE),
        (&["for=\"192.0.2.7"], "-", UNREADABLE),
        (&["for=\"192.0.2.7\"x"], "-", UNREADABLE),
        (&["for=\"192.0.2.7:\""], "-", UNREADABLE),
        (&["for=\"192.0.2.7:99999\""], "-", UNREADABLE),
        (&["for=\"192.0.2.7:_\""], "-", UNREADABLE),
        (&["for=_"], "-", UNREADABLE),
        (&["for=\"_a b\""], "-", UNREADABLE),
        (&["for=host.example"], "-", UNREADABLE),
        (&["for=192.0.2.7;a=1;b=1;c=1;d=1;e=1;f=1;g=1;h=1;i=1"], "-", UNREADABLE),
        (&["for=192.0.2.7, nonsense, for=10.0.0.8"], "10.0.0.8:0", UNREADABLE),
    ];
    for (forwarded, client, doubt) in cases {
        let expected = ((*client).to_owned(), *doubt);
        assert_eq!(
            told(ForwardedField::Any, forwarded, &[]),
            expected,
            "{forwarded:?}"
        );
        let only = told(ForwardedField::Forwarded, forwarded, &["1.2.3.4"]);
        assert_eq!(only, expected, "{forwarded:?}");
        let other = told(ForwardedField::XForwardedFor, forwarded, &[]);
        assert_eq!(other, ("-".to_owned(), None), "{forwarded:?}");
    }
}

#[test]
fn two_fields_that_differ_are_believed_as_far_as_they_agree() {
    #[rustfmt::skip]
    let cases: &[(&str, &str, &str, bool)] = &[
        ("for=192.0.2.7", "192.0.2.7", "192.0.2.7:0", false),
        ("for=192.0.2.7, for=10.0.0.8", "192.0.2.7, 10.0.0.8", "192.0.2.7:0", false),
        ("for=192.0.2.7, for=10.0.0.8", "192.0.2.9, 10.0.0.8", "10.0.0.8:0", true),
        ("for=192.0.2.7", "192.0.2.9", "-", true),
        ("for=192.0.2.7", "192.0.2.7, 10.0.0.8", "-", true),
        ("for=10.0.0.8", "192.0.2.7, 10.0.0.8", "10.0.0.8:0", true),
        ("for=_hidden", "192.0.2.7", "-", true),
    ];
    for (forwarded, x_for, client, differ) in cases {
        let expected = ((*client).to_owned(), differ.then_some(Doubt::Disagree));
        assert_eq!(
            told(ForwardedField::Any, &[forwarded], &[x_for]),
            expected,
            "{forwarded} {x_for}"
        );
    }
}

#[test]
fn only_so_many_hops_are_followed() {
    let at = |n: usize| {
        let list = ["192.0.2.7"]
            .into_iter()
            .chain(std::iter::repeat_n("10.0.0.8", n));
        list.collect::<Vec<_>>().join(", ")
    };
    let ask = |n| told(ForwardedField::Any, &[], &[&at(n)]);
    assert_eq!(ask(HOPS_MAX - 1), ("192.0.2.7:0".to_owned(), None));
    assert_eq!(
        ask(HOPS_MAX),
        ("10.0.0.8:0".to_owned(), Some(Doubt::TooMany))
    );
}

/// `Forwarded`; `X-Forwarded-{For, Proto, Host}`; scheme, host and chain.
type Row<'a> = (
    &'a [&'a str],
    [&'a [&'a str]; 3],
    Option<&'a str>,
    Option<&'a str>,
    &'a str,
);

#[test]
fn scheme_and_host_are_those_of_whoever_named_the_client() {
    let ask = |forwarded: &[&str], x: [&[&str]; 3]| {
        let claims = Claims {
            forwarded: lines(forwarded),
            x_for: lines(x[0]),
            x_proto: lines(x[1]),
            x_host: lines(x[2]),
        };
        let told = hops(ForwardedField::Any).told("10.0.0.1:5".parse().unwrap(), &claims);
        (told.scheme, told.host.map(String::from), told.chain)
    };
    #[rustfmt::skip]
    let cases: &[Row<'_>] = &[
        (&["for=192.0.2.7;proto=https;host=shop.example, for=10.0.0.8;proto=http;host=inner"], [&[], &[], &[]], Some("https"), Some("shop.example"), "192.0.2.7, 10.0.0.8, 10.0.0.1"),
        (&["for=1.1.1.1;proto=http;host=evil, for=192.0.2.7;proto=HTTPS"], [&[], &[], &[]], Some("https"), None, "192.0.2.7, 10.0.0.1"),
        (&["for=unknown;proto=https"], [&[], &[], &[]], Some("https"), None, "10.0.0.1"),
        (&["for=192.0.2.7;proto=ftp;host=\"a b\""], [&[], &[], &[]], None, None, "192.0.2.7, 10.0.0.1"),
        (&[], [&["192.0.2.7"], &["https"], &["shop.example:8443"]], Some("https"), Some("shop.example:8443"), "192.0.2.7, 10.0.0.1"),
        (&[], [&["192.0.2.7, 10.0.0.8"], &["https, http"], &["shop.example, inner"]], Some("https"), Some("shop.example"), "192.0.2.7, 10.0.0.8, 10.0.0.1"),
        (&[], [&["9.9.9.9, 192.0.2.7"], &["http, https"], &["evil, shop.example"]], Some("https"), Some("shop.example"), "192.0.2.7, 10.0.0.1"),
        (&[], [&["192.0.2.7, 10.0.0.8"], &["https"], &["shop.example"]], Some("https"), Some("shop.example"), "192.0.2.7, 10.0.0.8, 10.0.0.1"),
        (&[], [&["192.0.2.7, 10.0.0.8"], &["http, http, https"], &[]], Some("https"), None, "192.0.2.7, 10.0.0.8, 10.0.0.1"),
        (&[], [&[], &["https"], &[]], Some("https"), None, "10.0.0.1"),
        (&[], [&[], &["wss"], &["http://x/"]], None, None, "10.0.0.1"),
        (&["for=192.0.2.7;proto=https"], [&["192.0.2.7"], &["http"], &["shop.example"]], None, Some("shop.example"), "192.0.2.7, 10.0.0.1"),
        (&["for=192.0.2.7;proto=https"], [&["192.0.2.8"], &["https"], &["shop.example"]], None, None, "10.0.0.1"),
        (&["for=192.0.2.7;proto=https"], [&[], &["https"], &["shop.example"]], Some("https"), Some("shop.example"), "192.0.2.7, 10.0.0.1"),
    ];
    for (forwarded, x, scheme, host, chain) in cases {
        let expected = (*scheme, host.map(str::to_owned), (*chain).to_owned());
        assert_eq!(ask(forwarded, *x), expected, "{forwarded:?} {x:?}");
    }
}

#[test]
fn what_a_proxy_calls_a_host_is_one() {
    for good in [
        "a",
        "shop.example",
        "a_b.example:443",
        "192.0.2.7",
        "[2001:db8::1]",
        "[2001:db8::1]:80",
    ] {
        assert_eq!(host(good), Some(good));
    }
    let long = "a".repeat(262);
    for bad in [
        "", ":80", "a:", "a:x", "a:80:90", "a/b", "a b", "a@b", "a,b", "[::1", "[x]", "\u{e9}",
        &long,
    ] {
        assert_eq!(host(bad), None, "{bad}");
    }
}

#[test]
fn no_bytes_at_all_end_the_walk_in_a_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let alphabet = b"for=10.0.0.8,;\"\\[]:_ unknown\xff\t192";
    for _ in 0..20_000 {
        let length = next() % 64;
        let bytes: Vec<u8> = (0..length)
            .map(|_| alphabet[(next() % alphabet.len() as u64) as usize])
            .collect();
        let claims = Claims {
            forwarded: vec![&bytes],
            x_for: vec![&bytes],
            x_proto: vec![&bytes],
            x_host: vec![&bytes],
        };
        let told = hops(ForwardedField::Any).told("10.0.0.1:5".parse().unwrap(), &claims);
        assert!(told.chain.ends_with("10.0.0.1"));
    }
}
