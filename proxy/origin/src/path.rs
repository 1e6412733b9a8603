//! Reading a path the ways an origin may read it, so that `/public/..%2fadmin` cannot borrow the route of `/public/*`.
//!
//! The origin gets the path as it was sent. Only the choice of a route looks at all readings: decoded not at all or up to
//! three times (`%xx`; an origin behind another proxy may decode twice), with `\` as it is or taken for `/`, with slashes
//! joined and dot segments removed or not, and with parameters (`;x`) cut from segments or not. An origin may stop after
//! any of these steps, so each combination counts, not only the last.

/// Most times a path is decoded.
const DECODES_MAX: usize = 3;

/// Whether all readings of `path` agree with `same`, which gets one reading after the other; at most 24 calls, and none
/// for a path that can be read in one way only (nearly always).
pub(crate) fn all_readings(path: &str, mut same: impl FnMut(&str) -> bool) -> bool {
    if !may_differ(path) {
        return true;
    }
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..=DECODES_MAX {
        let slashed: Vec<u8> = bytes
            .iter()
            .map(|&b| if b == b'\\' { b'/' } else { b })
            .collect();
        for reading in [&bytes, &slashed] {
            let agreed = same(&String::from_utf8_lossy(reading))
                && same(&resolve(reading, false))
                && same(&resolve(reading, true));
            if !agreed {
                return false;
            }
        }
        let once = decode_once(&bytes);
        if once.len() == bytes.len() {
            break;
        }
        bytes = once;
    }
    true
}

/// Joins slashes and removes dot segments; `cut` takes parameters off each segment first, as servlet containers do.
fn resolve(path: &[u8], cut: bool) -> String {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut directory = false;
    for segment in path.split(|&b| b == b'/') {
        let name = match segment.iter().position(|&b| b == b';') {
            Some(end) if cut => segment.get(..end).unwrap_or_default(),
            _ => segment,
        };
        directory = matches!(name, b"" | b"." | b"..");
        match name {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            name => segments.push(name),
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
    out
}

fn may_differ(path: &str) -> bool {
    let mut last = 0;
    path.bytes().any(|b| {
        let odd = matches!(b, b'%' | b'\\' | b';') || (last == b'/' && matches!(b, b'/' | b'.'));
        last = b;
        odd
    })
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
    use super::all_readings;

    fn readings(path: &str) -> Vec<String> {
        let mut all = Vec::new();
        all_readings(path, |reading| {
            all.push(reading.to_owned());
            true
        });
        all
    }

    #[test]
    fn plain_paths_have_one_reading() {
        for path in ["/", "/a/b.c", "/shop/cart", "/a..b/c", "*"] {
            assert_eq!(readings(path), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn encodings_slashes_parameters_and_dot_segments_are_resolved() {
        for (path, other) in [
            ("/public/../admin", "/admin"),
            ("/public/..%2fadmin", "/admin"),
            ("/public/%2e%2e/admin", "/admin"),
            ("/public/%252e%252e/admin", "/admin"),
            ("/public/..\\admin/", "/admin/"),
            ("/public/..;/admin", "/admin"),
            ("//admin//x", "/admin/x"),
            ("/../../etc", "/etc"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/%zz", "/%zz"),
            ("/caf%C3%A9", "/café"),
        ] {
            let all = readings(path);
            assert!(
                all.iter().any(|reading| reading == other),
                "{path}: {all:?}"
            );
        }
    }

    #[test]
    fn readings_between_the_first_and_the_last_count_too() {
        for path in [
            "/pub/../adm/%2e%2e/pub/x",
            "/pub/%2e%2e/adm/%252e%252e/pub/x",
            "/pub/..\\adm/..%2fpub/x",
        ] {
            let all = readings(path);
            assert!(
                all.iter().any(|r| r.starts_with("/adm/")),
                "{path}: {all:?}"
            );
        }
    }
}
