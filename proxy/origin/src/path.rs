//! Reading a path the way an origin may read it, so that `/public/..%2fadmin` cannot borrow the route of `/public/*`.
//!
//! The origin gets the path as it was sent. Only the choice of a route looks at both readings: the path as written, and
//! the path after decoding `%xx`, taking `\` for `/`, joining slashes and removing dot segments.

use std::borrow::Cow;

/// The other reading of `path`; borrowed when both are the same (nearly always).
pub(crate) fn resolved(path: &str) -> Cow<'_, str> {
    if !may_differ(path) {
        return Cow::Borrowed(path);
    }
    let bytes = decode(path.as_bytes());
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut directory = false;
    for segment in bytes.split(|&b| b == b'/' || b == b'\\') {
        directory = false;
        match segment {
            b"" | b"." => directory = true,
            b".." => {
                segments.pop();
                directory = true;
            }
            _ => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(&String::from_utf8_lossy(segment));
    }
    if directory || out.is_empty() {
        out.push('/');
    }
    Cow::Owned(out)
}

fn may_differ(path: &str) -> bool {
    let mut last = 0;
    path.bytes().any(|b| {
        let odd = matches!(b, b'%' | b'\\') || (last == b'/' && matches!(b, b'/' | b'.'));
        last = b;
        odd
    })
}

/// Decodes `%xx` until nothing changes, at most three times: an origin behind another proxy may decode twice.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut bytes = path.to_vec();
    for _ in 0..3 {
        let once = decode_once(&bytes);
        if once.len() == bytes.len() {
            break;
        }
        bytes = once;
    }
    bytes
}

fn decode_once(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
                    out.push(high * 16 + low);
                    rest = after;
                    continue;
                }
                out.push(first);
            }
            _ => out.push(first),
        }
        rest = tail;
    }
    out
}

fn hex(b: u8) -> Option<u8> {
    char::from(b)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::resolved;

    #[test]
    fn plain_paths_are_not_copied() {
        for path in ["/", "/a/b.c", "/a/.well", "/a..b/c", "*"] {
            let other = resolved(path);
            assert!(other == path, "{path} → {other}");
        }
        assert!(matches!(
            resolved("/shop/cart"),
            std::borrow::Cow::Borrowed(_)
        ));
    }

    #[test]
    fn encodings_slashes_and_dot_segments_are_resolved() {
        for (path, other) in [
            ("/public/../admin", "/admin"),
            ("/public/..%2fadmin", "/admin"),
            ("/public/%2e%2e/admin", "/admin"),
            ("/public/%252e%252e/admin", "/admin"),
            ("/public/..\\admin/", "/admin/"),
            ("//admin//x", "/admin/x"),
            ("/../../etc", "/etc"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/%zz", "/%zz"),
            ("/caf%C3%A9", "/café"),
        ] {
            assert_eq!(resolved(path), other, "{path}");
        }
    }
}
