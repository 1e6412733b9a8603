use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
fn addresses_and_networks_are_read_and_written_the_same() {
    for text in [
        "192.0.2.7",
        "192.0.2.0/24",
        "10.0.0.0/8",
        "0.0.0.0/8",
        "2001:db8::1",
        "2001:db8::/32",
        "2001:db8:1:2::/64",
        "::1",
    ] {
        assert_eq!(prefix(text).to_string(), text);
    }
    assert_eq!(prefix("192.0.2.7/32").to_string(), "192.0.2.7");
    assert_eq!(prefix("::ffff:192.0.2.7").to_string(), "192.0.2.7");
    assert_eq!(prefix("::ffff:192.0.2.0/120").to_string(), "192.0.2.0/24");
}

#[test]
fn what_is_no_prefix_is_refused_with_what_to_write() {
    for (text, word) in [
        ("", "192.0.2.7"),
        ("example.com", "192.0.2.7"),
        ("192.0.2.7/", "192.0.2.7"),
        ("192.0.2.7/+24", "192.0.2.7"),
        ("192.0.2.7/-1", "192.0.2.7"),
        ("192.0.2.7/999", "192.0.2.7"),
        ("192.0.2.7/24", "write 192.0.2.0/24"),
        ("2001:db8::1/64", "write 2001:db8::/64"),
        ("0.0.0.0/0", "8..=32"),
        ("192.0.0.0/7", "8..=32"),
        ("192.0.2.7/33", "8..=32"),
        ("::/0", "32..=128"),
        ("2001:db8::/31", "32..=128"),
        ("2001:db8::/129", "32..=128"),
        ("::ffff:10.0.0.0/95", "192.0.2.7"),
    ] {
        let error = text.parse::<Prefix>().unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
}

#[test]
fn a_network_covers_itself_and_what_is_in_it() {
    let network = prefix("10.0.0.0/8");
    for (other, covered) in [
        ("10.0.0.0/8", true),
        ("10.255.255.255", true),
        ("10.2.0.0/16", true),
        ("11.0.0.0/8", false),
        ("9.255.255.255", false),
        // The same bits in the other family.
        ("a00::/32", false),
    ] {
        assert_eq!(network.covers(&prefix(other)), covered, "{other}");
    }
    assert!(!prefix("10.2.0.0/16").covers(&network));
    assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
}
