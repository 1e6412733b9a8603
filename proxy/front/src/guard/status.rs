//! Whether the status 101 went out, seen from what is written.

/// `HTTP/1.1 101`
const LINE: usize = 12;

/// Follows the answers to one request up to its final status (RFC 9110 §15.2): however many informational ones come
/// before it, and however the writes are cut.
#[derive(Debug, Default)]
pub(super) struct Status {
    line: [u8; LINE],
    len: usize,
    /// How much of the empty line that ends an informational head was seen.
    ending: usize,
}

impl Status {
    /// Takes what was written. `Some(true)` once it was 101, `Some(false)` once it was another final status; after that it
    /// is not asked any more.
    pub(super) fn wrote(&mut self, bytes: &[u8]) -> Option<bool> {
        for &byte in bytes {
            if let Some(place) = self.line.get_mut(self.len) {
                *place = byte;
                self.len += 1;
                if self.len == LINE && &self.line == b"HTTP/1.1 101" {
                    return Some(true);
                }
                if self.len == LINE && self.line.get(9) != Some(&b'1') {
                    return Some(false);
                }
                continue;
            }
            self.ending = match (self.ending, byte) {
                (0 | 2, b'\r') => self.ending + 1,
                (1, b'\n') => 2,
                (3, b'\n') => {
                    *self = Self::default();
                    continue;
                }
                (_, b'\r') => 1,
                _ => 0,
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn only_a_status_line_is_believed_however_it_is_cut() {
        for (written, expected) in [
            (&b"HTTP/1.1 101 Switching Protocols\r\n\r\n"[..], Some(true)),
            (
                b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching",
                Some(false),
            ),
            (
                b"HTTP/1.1 103 Early Hints\r\nLink: HTTP/1.1 101\r\n\r\nHTTP/1.1 101 ",
                Some(true),
            ),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n",
                Some(false),
            ),
            (b"HTTP/1.1 103 Early Hints\r\nLink: HTTP/1.1 101\r\n", None),
            (b"HTTP/1.1 10", None),
        ] {
            for cut in 1..=written.len() {
                let mut status = Status::default();
                let found = written.chunks(cut).find_map(|part| status.wrote(part));
                assert_eq!(found, expected, "{}", written.escape_ascii());
            }
        }
    }
}
