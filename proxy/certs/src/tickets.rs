//! Keys of session tickets: made here, turned by time, never written anywhere.
//!
//! A key makes tickets for one rotation and opens them for one more; then it is wiped. Whoever takes the memory of a node
//! can read the TLS 1.2 sessions resumed in the last two rotations, and none before (TLS 1.3 adds a key exchange to each
//! resumption). Keys turn with the handshakes that need them, and by [`turn_tickets`] where there are none: so a key is gone
//! by its time on a node that nobody visits, too. Disks hold nothing: after a restart the first handshakes are whole ones.
//!
//! One set serves all listeners and all certificates: the library looks callbacks up in whatever context a handshake
//! has come to. What a ticket may *not* do is bound to it: the session of a site that asks for certificates of clients
//! is of no use anywhere else ([`crate::ClientAuth`]).

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new(ROTATION));

/// The settings' default.
const ROTATION: Duration = Duration::from_secs(12 * 3600);

/// How long a key makes tickets, from now on.
pub fn rotate_tickets_every(rotation: Duration) {
    KEYS.set_rotation(rotation);
}

/// Turns the keys if it is time, so that none outlives two rotations for want of a handshake. To be called about once a
/// second; until there was a first handshake there is nothing to turn.
pub fn turn_tickets() {
    KEYS.turn(Instant::now());
}

/// Calls `with` with the key that makes tickets; `None` if it fails, or there is no randomness.
pub(crate) fn sealing<T>(with: impl FnOnce(&Key) -> Option<T>) -> Option<T> {
    with(&KEYS.at(Instant::now())?.current)
}

/// Calls `with` with the key of this name, if it still opens tickets, and whether it makes them too.
pub(crate) fn opening<T>(name: &[u8; 16], with: impl FnOnce(&Key, bool) -> Option<T>) -> Option<T> {
    let ring = KEYS.at(Instant::now())?;
    let (key, is_current) = ring.find(name)?;
    with(key, is_current)
}

/// A key; wiped when it goes.
pub(crate) struct Key {
    pub(crate) name: [u8; 16],
    /// AES-256.
    pub(crate) cipher: [u8; 32],
    /// HMAC-SHA-256.
    pub(crate) mac: [u8; 32],
}

impl Key {
    fn new() -> Option<Self> {
        let mut key = Self {
            name: [0; 16],
            cipher: [0; 32],
            mac: [0; 32],
        };
        for part in [&mut key.name[..], &mut key.cipher, &mut key.mac] {
            getrandom::fill(part).ok()?;
        }
        Some(key)
    }
}

/// The keys in use.
struct Ring {
    current: Arc<Key>,
    /// Opens tickets until the next turn.
    previous: Option<Arc<Key>>,
    since: Instant,
}

impl Ring {
    fn holds(&self, now: Instant, rotation: Duration) -> bool {
        now.saturating_duration_since(self.since) < rotation
    }

    /// What follows `before` at `now`; `None` if there is no randomness.
    fn after(before: Option<&Self>, now: Instant, rotation: Duration) -> Option<Self> {
        let still_opens = before.filter(|ring| ring.holds(now, rotation * 2));
        Some(Self {
            current: Arc::new(Key::new()?),
            // In step with the clock, not with whoever happens to come: a quiet night must not lengthen a key's life.
            since: still_opens.map_or(now, |ring| ring.since + rotation),
            previous: still_opens.map(|ring| Arc::clone(&ring.current)),
        })
    }

    fn find(&self, name: &[u8; 16]) -> Option<(&Key, bool)> {
        if self.current.name == *name {
            return Some((&self.current, true));
        }
        let previous = self.previous.as_deref()?;
        (previous.name == *name).then_some((previous, false))
    }
}

struct Keys {
    ring: ArcSwapOption<Ring>,
    turning: Mutex<()>,
    rotation_ms: AtomicU64,
}

impl Keys {
    fn new(rotation: Duration) -> Self {
        let keys = Self {
            ring: ArcSwapOption::empty(),
            turning: Mutex::new(()),
            rotation_ms: AtomicU64::new(0),
        };
        keys.set_rotation(rotation);
        keys
    }

    fn set_rotation(&self, rotation: Duration) {
        let millis = u64::try_from(rotation.as_millis()).unwrap_or(u64::MAX);
        self.rotation_ms.store(millis.max(1), Ordering::Relaxed);
    }

    /// Turns the ring if it is time at `now`; without randomness it goes, with all its keys.
    fn turn(&self, now: Instant) {
        if self.ring.load().is_some() && self.at(now).is_none() {
            let _turn = self.turning.lock();
            self.ring.store(None);
        }
    }

    /// The ring at `now`, turned if it is time; `None` without randomness.
    fn at(&self, now: Instant) -> Option<Arc<Ring>> {
        let rotation = Duration::from_millis(self.rotation_ms.load(Ordering::Relaxed));
        let held = || {
            self.ring
                .load_full()
                .filter(|ring| ring.holds(now, rotation))
        };
        held().or_else(|| {
            let _turn = self.turning.lock();
            // Another handshake may have turned it meanwhile.
            held().or_else(|| {
                let before = self.ring.load_full();
                let next = Arc::new(Ring::after(before.as_deref(), now, rotation)?);
                self.ring.store(Some(Arc::clone(&next)));
                Some(next)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Keys;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_ticket_is_opened_across_one_rotation_and_not_across_two() {
        let (keys, start) = (Keys::new(HOUR), Instant::now());
        let first = keys.at(start).unwrap().current.name;
        let opens = |after: Duration| {
            keys.at(start + after)
                .unwrap()
                .find(&first)
                .map(|(_, current)| current)
        };
        assert_eq!(opens(HOUR - Duration::from_millis(1)), Some(true));
        assert_eq!(opens(HOUR), Some(false), "and is renewed");
        assert_eq!(opens(HOUR * 2 - Duration::from_millis(1)), Some(false));
        assert_eq!(opens(HOUR * 2), None);
    }

    #[test]
    fn a_quiet_night_does_not_lengthen_the_life_of_a_key() {
        let (keys, start) = (Keys::new(HOUR), Instant::now());
        let first = keys.at(start).unwrap().current.name;
        // The first to come after a long while.
        let late = start + HOUR + HOUR / 10 * 9;
        assert!(keys.at(late).unwrap().find(&first).is_some());
        assert!(keys.at(start + HOUR * 2).unwrap().find(&first).is_none());
        let second = keys.at(start + HOUR * 2).unwrap().current.name;
        assert!(keys.at(start + HOUR * 9).unwrap().find(&second).is_none());
    }

    #[test]
    fn a_key_is_gone_by_its_time_though_nobody_comes() {
        let (keys, start) = (Keys::new(HOUR), Instant::now());
        keys.turn(start);
        assert!(keys.ring.load().is_none(), "nobody has come yet");
        let first = Arc::downgrade(&keys.at(start).unwrap().current);
        let second = Duration::from_secs(1);
        keys.turn(start + HOUR * 2 - second);
        assert!(first.upgrade().is_some(), "it still opens tickets");
        keys.turn(start + HOUR * 2);
        assert!(first.upgrade().is_none(), "nothing holds it");
        // The one that followed it has made no ticket, and goes as well.
        let next = Arc::downgrade(&keys.ring.load_full().unwrap().current);
        keys.turn(start + HOUR * 5);
        assert!(next.upgrade().is_none());
    }

    #[test]
    fn a_shorter_rotation_counts_at_once() {
        let (keys, start) = (Keys::new(HOUR), Instant::now());
        let first = keys.at(start).unwrap().current.name;
        keys.set_rotation(HOUR / 10);
        assert!(keys.at(start + HOUR / 2).unwrap().find(&first).is_none());
    }

    #[test]
    fn no_two_keys_are_alike() {
        let (a, b) = (Keys::new(HOUR), Keys::new(HOUR));
        let now = Instant::now();
        let (a, b) = (a.at(now).unwrap(), b.at(now).unwrap());
        assert_ne!(a.current.name, b.current.name);
        assert_ne!(a.current.cipher, b.current.cipher);
        assert_ne!(a.current.mac, b.current.mac);
    }
}
