//! Which requests ask for the same thing: scheme, host, port, path and query, hashed with a secret.
//!
//! The hash (BLAKE3, keyed, 128 bits) stands for the key everywhere; the key itself is not kept. Nobody without the
//! secret can aim for a collision, and by chance there is none. The path and the query count byte for byte: an origin
//! may tell `/%61` from `/a`, and taking them for one would let a client choose what others are shown.

use http::header::HeaderName;
use std::hash::{BuildHasher, Hasher, RandomState};

/// What a URL's answers are stored under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub(crate) u128);

impl Key {
    /// As bytes, for those who want a hash.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Of [`Key::to_bytes`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// Which of a URL's answers: the hash of the request fields named by `Vary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variance(pub [u8; 16]);

/// `http` or `https`, as the client used it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /** Plain. */
    Http,
    /** TLS. */
    Https,
}

impl Scheme {
    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Makes keys with one secret.
#[derive(Clone)]
pub struct KeyMaker {
    secret: [u8; 32],
}

impl std::fmt::Debug for KeyMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMaker")
    }
}

impl KeyMaker {
    /// With this secret.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// With a secret of this process, made from the randomness the standard library seeds its maps with.
    #[must_use]
    pub fn random() -> Self {
        let mut secret = [0; 32];
        for part in secret.chunks_exact_mut(8) {
            part.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
        }
        Self { secret }
    }

    /// The key of `scheme://authority` + `target` (path and query as received). `None` if the authority cannot be
    /// told from others: empty, with user info, or with a port that is no number.
    #[must_use]
    pub fn key(&self, scheme: Scheme, authority: &str, target: &[u8]) -> Option<Key> {
        let (host, port) = split(authority, scheme)?;
        let mut input = Input::new();
        input.push(&[scheme as u8]);
        input.push(&port.to_be_bytes());
        // The length keeps host and target apart.
        input.push(&u32::try_from(host.len()).ok()?.to_be_bytes());
        input.push_lowercase(host.as_bytes());
        input.push(target);
        Some(Key(u128::from_be_bytes(self.hash(&input))))
    }

    /// The variance of these fields; absent and empty are different.
    pub(crate) fn variance<'a>(
        &self,
        fields: impl Iterator<Item = (&'a HeaderName, Option<Vec<u8>>)>,
    ) -> Variance {
        let mut input = Input::new();
        for (name, value) in fields {
            let length =
                |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
            input.push(&length(name.as_str().as_bytes()));
            input.push(name.as_str().as_bytes());
            match value {
                Some(value) => {
                    input.push(&[1]);
                    input.push(&length(&value));
                    input.push(&value);
                }
                None => input.push(&[0]),
            }
        }
        Variance(self.hash(&input))
    }

    fn hash(&self, input: &Input) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.secret, input.bytes());
        let mut half = [0; 16];
        half.copy_from_slice(hash.as_bytes().get(..16).unwrap_or(&[0; 16]));
        half
    }
}

/// Host and port; the host without a trailing dot.
fn split(authority: &str, scheme: Scheme) -> Option<(&str, u16)> {
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority.get(after_bracket..)?.rfind(':') {
        Some(at) => {
            let (host, port) = authority.split_at_checked(after_bracket + at)?;
            let digits = port.get(1..)?;
            let port = if digits.is_empty() {
                scheme.port()
            } else {
                digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then(|| digits.parse().ok())??
            };
            (host, port)
        }
        None => (authority, scheme.port()),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty() && !host.contains('@')).then_some((host, port))
}

/// Bytes to hash; on the stack as long as they are as few as usual.
struct Input {
    few: [u8; 512],
    length: usize,
    many: Vec<u8>,
}

impl Input {
    const fn new() -> Self {
        Self {
            few: [0; 512],
            length: 0,
            many: Vec::new(),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.many.is_empty() {
            if let Some(room) = self.few.get_mut(self.length..self.length + bytes.len()) {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
                return;
            }
            self.many
                .extend_from_slice(self.few.get(..self.length).unwrap_or_default());
        }
        self.many.extend_from_slice(bytes);
    }

    fn push_lowercase(&mut self, bytes: &[u8]) {
        let before = self.bytes().len();
        self.push(bytes);
        let all = if self.many.is_empty() {
            self.few.get_mut(..self.length).unwrap_or_default()
        } else {
            &mut self.many
        };
        all.get_mut(before..)
            .unwrap_or_default()
            .make_ascii_lowercase();
    }

    fn bytes(&self) -> &[u8] {
        if self.many.is_empty() {
            self.few.get(..self.length).unwrap_or_default()
        } else {
            &self.many
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scheme: Scheme, authority: &str, target: &str) -> Option<Key> {
        KeyMaker::new([7; 32]).key(scheme, authority, target.as_bytes())
    }

    #[test]
    fn the_same_url_has_the_same_key() {
        let one = key(Scheme::Http, "example.com", "/a?b").unwrap();
        for same in [
            "EXAMPLE.com",
            "example.com:80",
            "example.com.",
            "example.com:",
        ] {
            assert_eq!(key(Scheme::Http, same, "/a?b"), Some(one), "{same}");
        }
        assert_eq!(
            key(Scheme::Http, "[::1]", "/"),
            key(Scheme::Http, "[::1]:80", "/")
        );
    }

    #[test]
    fn different_urls_have_different_keys() {
        let one = key(Scheme::Http, "example.com", "/a?b").unwrap();
        for (scheme, authority, target) in [
            (Scheme::Https, "example.com", "/a?b"),
            (Scheme::Https, "example.com:80", "/a?b"),
            (Scheme::Http, "example.com:8080", "/a?b"),
            (Scheme::Http, "example.org", "/a?b"),
            (Scheme::Http, "example.com", "/A?b"),
            (Scheme::Http, "example.com", "/a?"),
            (Scheme::Http, "example.com", "/%61?b"),
            (Scheme::Http, "example.co", "m/a?b"),
        ] {
            assert_ne!(
                key(scheme, authority, target),
                Some(one),
                "{authority}{target}"
            );
        }
        assert_ne!(
            KeyMaker::new([8; 32]).key(Scheme::Http, "example.com", b"/a?b"),
            Some(one),
            "another secret"
        );
        assert_ne!(
            KeyMaker::random().key(Scheme::Http, "a", b"/"),
            KeyMaker::random().key(Scheme::Http, "a", b"/")
        );
    }

    #[test]
    fn an_authority_that_is_not_plain_has_no_key() {
        for bad in ["", ":80", "a@b", "a:b", "a:99999", ".", "a:+1"] {
            assert_eq!(key(Scheme::Http, bad, "/"), None, "{bad}");
        }
    }

    #[test]
    fn inputs_longer_than_the_stack_buffer_count_whole() {
        let long = |last: &str| {
            key(
                Scheme::Http,
                &"h".repeat(300),
                &format!("/{}{last}", "x".repeat(900)),
            )
        };
        assert_eq!(long("a"), long("a"));
        assert_ne!(long("a"), long("b"));
        assert_eq!(
            key(Scheme::Http, &"H".repeat(600), "/"),
            key(Scheme::Http, &"h".repeat(600), "/")
        );
    }
}
