//! W3C Trace Context: `traceparent` and `tracestate`, <https://www.w3.org/TR/trace-context/>.

/// Length of a `traceparent` of version 00.
const LEN: usize = 55;
/// Members and bytes of a `tracestate` that are passed on (§3.3.1.1, §3.3.1.5).
const MEMBERS_MAX: usize = 32;
const STATE_MAX: usize = 512;

/// Who called, of which trace, and whether it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span of whoever called.
    pub parent: [u8; 8],
    /// Whether it is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`, §3.2. A later version than 00 is read as far as 00 goes.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LEN)?;
        let version = hex::<1>(known.get(..2)?)?;
        let [flags] = hex(known.get(53..)?)?;
        let whole = rest.is_empty() || (version != [0] && rest.starts_with(b"-"));
        let dashes = [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'));
        let context = Self {
            trace: hex(known.get(3..35)?)?,
            parent: hex(known.get(36..52)?)?,
            sampled: flags & 1 == 1,
        };
        let meant = version != [0xff] && context.trace != [0; 16] && context.parent != [0; 8];
        (whole && dashes && meant).then_some(context)
    }

    /// Writes it as version 00.
    #[must_use]
    pub fn write(&self) -> [u8; LEN] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        if let Some(place) = out.get_mut(3..35) {
            write(place, &self.trace);
        }
        if let Some(place) = out.get_mut(36..52) {
            write(place, &self.parent);
        }
        if let Some(last) = out.last_mut() {
            *last = b'0' + u8::from(self.sampled);
        }
        out
    }
}

/// Each byte in hexadecimal.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut all = [[0; 2]; 256];
    let mut byte = 0;
    while byte < all.len() {
        all[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    all
};

fn write(place: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in place.chunks_exact_mut(2).zip(bytes) {
        if let Some(digits) = HEX.get(usize::from(*byte)) {
            pair.copy_from_slice(digits);
        }
    }
}

/// Lower case only, as the standard has it.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (place, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *place = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

/// All lines of a `tracestate` as one, if they are well-formed and short enough (§3.3); else it is as if there was none.
#[must_use]
pub fn trace_state<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut state = String::new();
    let mut members = 0;
    let values = lines.flat_map(|line| line.split(|&byte| byte == b','));
    for member in values
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
    {
        let text = std::str::from_utf8(member).ok()?;
        let (key, value) = text.split_once('=')?;
        members += 1;
        if !is_key(key) || !is_value(value) || members > MEMBERS_MAX {
            return None;
        }
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(text);
        if state.len() > STATE_MAX {
            return None;
        }
    }
    (members > 0).then_some(state)
}

fn is_key(key: &str) -> bool {
    let good = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    (1..=256).contains(&key.len())
        && key.bytes().all(good)
        && key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standards_example_reads_and_writes() {
        let context = TraceContext::read(GOOD.as_bytes()).unwrap();
        assert_eq!(context.trace[..2], [0x4b, 0xf9]);
        assert_eq!(
            context.parent,
            [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]
        );
        assert!(context.sampled);
        assert_eq!(context.write(), GOOD.as_bytes());
        let quiet = TraceContext {
            sampled: false,
            ..context
        };
        assert_eq!(TraceContext::read(&quiet.write()), Some(quiet));
    }

    #[test]
    fn later_versions_are_read_and_what_is_none_is_not() {
        for good in [
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03",
        ] {
            assert!(TraceContext::read(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::read(bad.as_bytes()), None, "{bad:?}");
        }
        for end in 0..GOOD.len() {
            assert_eq!(TraceContext::read(&GOOD.as_bytes()[..end]), None);
        }
    }

    #[test]
    fn a_state_is_passed_on_whole_or_not_at_all() {
        let state = |lines: &[&str]| trace_state(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(
            state(&["rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", "a@b=c d"]).as_deref(),
            Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,a@b=c d")
        );
        let many = vec!["a=1"; MEMBERS_MAX].join(",");
        assert!(state(&[&many]).is_some());
        let long = format!("a={}", "x".repeat(256));
        assert!(state(&[&long]).is_some());
        let too_long = [long.as_str(), long.as_str()];
        for bad in [
            &[""][..],
            &["a"],
            &["=1"],
            &["a="],
            &["A=1"],
            &["a=1=2"],
            &["a=\u{e9}"],
            &["-a=1"],
            &["a=1\tb"],
            &[&format!("{many},b=2")],
            &too_long,
            &[&format!("{long}x")],
        ] {
            assert_eq!(state(bad), None, "{bad:?}");
        }
    }
}
