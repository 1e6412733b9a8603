//! The host a site is looked up by: lower case, without port and without the dot of the root.

use std::borrow::Cow;

/// Longest name DNS can hold (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;

/// Brings a `Host` value to the form sites are keyed by; `None` if it cannot name a site.
///
/// `Shop.Example.COM.:8443` → `shop.example.com`; `[::1]:80` → `[::1]`. Allocates only when a letter is upper case.
#[must_use]
pub fn normalize(host: &str) -> Option<Cow<'_, str>> {
    let name = without_port(host)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_host_byte) {
        return None;
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Some(Cow::Owned(name.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(name))
    }
}

fn without_port(host: &str) -> Option<&str> {
    if host.starts_with('[') {
        let (name, rest) = host.split_at(host.find(']')? + 1);
        return is_port_suffix(rest).then_some(name);
    }
    match host.find(':') {
        None => Some(host),
        Some(colon) => {
            let (name, rest) = host.split_at(colon);
            is_port_suffix(rest).then_some(name)
        }
    }
}

fn is_port_suffix(rest: &str) -> bool {
    rest.is_empty()
        || rest
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.len() <= 5)
}

fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'[' | b']' | b':' | b'*' | b'~')
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn port_case_and_root_dot_do_not_matter() {
        for (host, name) in [
            ("shop.example.com", "shop.example.com"),
            ("Shop.Example.COM:8443", "shop.example.com"),
            ("shop.example.com.", "shop.example.com"),
            ("shop.example.com.:80", "shop.example.com"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("localhost:", "localhost"),
        ] {
            assert_eq!(normalize(host).as_deref(), Some(name), "{host}");
        }
    }

    #[test]
    fn what_cannot_name_a_site_is_refused() {
        let long = "a".repeat(254);
        for host in [
            "", ".", ":80", "a:b", "a:80:80", "[::1", "[::1]x", "a b", "a/b", "a@b", "a:999999",
            &long,
        ] {
            assert_eq!(normalize(host), None, "{host}");
        }
    }
}
