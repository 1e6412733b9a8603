//! What is remembered of an address, in a table that cannot grow.

use crate::{Millis, Rule};
use parking_lot::Mutex;

const PLACES: usize = 8;
/// How long after its end a ban makes the next one longer.
const REMEMBERED: Millis = 24 * 3600 * 1000;

/// Something remembered that may be forgotten.
pub(super) trait Remembered: Default {
    /// How much it says at `now`: 0 = nothing any more.
    fn worth(&self, now: Millis) -> u32;
    /// When it was last of use.
    fn last(&self) -> Millis;
}

/// A fixed number of things, by the hash of what they are about.
pub(super) struct Memory<T>(Box<[Mutex<[Place<T>; PLACES]>]>);

#[derive(Default)]
struct Place<T> {
    key: Option<(u64, u64)>,
    value: T,
}

impl<T: Remembered> Memory<T> {
    pub(super) fn new(places: usize) -> Self {
        let buckets = std::iter::repeat_with(Mutex::default);
        Self(buckets.take(places.div_ceil(PLACES)).collect())
    }

    /// Lets `act` see what is remembered under a key, and change it.
    pub(super) fn with<R>(
        &self,
        key: (u64, u64),
        now: Millis,
        act: impl FnOnce(&mut T) -> Option<R>,
    ) -> Option<R> {
        let index = (u128::from(key.0) * self.0.len() as u128) >> 64;
        let mut bucket = self.0.get(index as usize)?.lock();
        let known = bucket.iter().position(|place| place.key == Some(key));
        let place = match known {
            Some(known) => bucket.get_mut(known)?,
            None => {
                let worth = |place: &&mut Place<T>| match place.key {
                    None => (0, 0),
                    Some(_) => (place.value.worth(now), place.value.last()),
                };
                let place = bucket.iter_mut().min_by_key(worth)?;
                *place = Place {
                    key: Some(key),
                    value: T::default(),
                };
                place
            }
        };
        act(&mut place.value)
    }
}

/// The last faults of an address under a rule on a site, and the bans that came of them.
#[derive(Default)]
pub(super) struct Faults {
    /// The moments of the last faults, in a ring.
    times: [Millis; Rule::COUNT_MAX],
    used: u8,
    pub(super) bans: u8,
    pub(super) forwarded: bool,
    last_request: u64,
    window: Millis,
    banned_until: Millis,
}

impl Faults {
    /// One more fault; `Some` when that makes as many as it takes within the window.
    pub(super) fn add(&mut self, request: u64, rule: &Rule, now: Millis) -> Option<()> {
        self.forget(now);
        // A request is one fault, however many stages report it.
        if self.last_request == request {
            return None;
        }
        self.last_request = request;
        self.window = rule.spec.window;
        let (count, window) = (usize::from(rule.spec.count), rule.spec.window);
        let kept = self.times.iter().take(self.used.into()).copied();
        // Time that went back leaves moments in the future; they count as long as they are nearer than the window.
        let mut times: Vec<Millis> = kept.filter(|time| time.abs_diff(now) < window).collect();
        times.push(now);
        if times.len() >= count {
            self.used = 0;
            return Some(());
        }
        self.used = times.len() as u8;
        for (place, time) in self.times.iter_mut().zip(times) {
            *place = time;
        }
        None
    }

    pub(super) fn banned(&mut self, now: Millis, length: Millis) {
        self.bans = self.bans.saturating_add(1);
        self.banned_until = now.saturating_add(length);
    }

    fn forget(&mut self, now: Millis) {
        if now > self.banned_until.saturating_add(REMEMBERED) {
            self.bans = 0;
        }
    }
}

impl Remembered for Faults {
    fn worth(&self, now: Millis) -> u32 {
        let banned = self.bans > 0 && now <= self.banned_until.saturating_add(REMEMBERED);
        let bans = if banned { u32::from(self.bans) } else { 0 };
        let recent = self.times.iter().take(self.used.into());
        let recent = recent
            .filter(|time| time.abs_diff(now) < self.window)
            .count();
        bans * Rule::COUNT_MAX as u32 + recent as u32
    }

    fn last(&self) -> Millis {
        let newest = self.times.iter().take(self.used.into()).max();
        newest.copied().unwrap_or(0).max(self.banned_until)
    }
}

/// The sites an address was banned on under a rule, and the bans of the node that came of it.
#[derive(Default)]
pub(super) struct Sites {
    /// Hash of a site's name, and when.
    sites: [(u64, Millis); Rule::SITES_MAX],
    used: u8,
    pub(super) bans: u8,
    pub(super) forwarded: bool,
    within: Millis,
    banned_until: Millis,
}

impl Sites {
    /// A ban on a site; `Some` when that makes enough different sites.
    pub(super) fn add(&mut self, site: u64, enough: u8, within: Millis, now: Millis) -> Option<()> {
        if now > self.banned_until.saturating_add(REMEMBERED) {
            self.bans = 0;
        }
        self.within = within;
        let kept = self.sites.iter().take(self.used.into()).copied();
        let fresh = |(other, time): &(u64, Millis)| *other != site && time.abs_diff(now) < within;
        let mut sites: Vec<(u64, Millis)> = kept.filter(fresh).collect();
        sites.push((site, now));
        if sites.len() >= usize::from(enough) {
            self.used = 0;
            return Some(());
        }
        self.used = sites.len() as u8;
        for (place, site) in self.sites.iter_mut().zip(sites) {
            *place = site;
        }
        None
    }

    pub(super) fn banned(&mut self, now: Millis, length: Millis) {
        self.bans = self.bans.saturating_add(1);
        self.banned_until = now.saturating_add(length);
    }
}

impl Remembered for Sites {
    fn worth(&self, now: Millis) -> u32 {
        let banned = self.bans > 0 && now <= self.banned_until.saturating_add(REMEMBERED);
        let bans = if banned { u32::from(self.bans) } else { 0 };
        let recent = self.sites.iter().take(self.used.into());
        let recent = recent.filter(|(_, time)| time.abs_diff(now) < self.within);
        bans * Rule::SITES_MAX as u32 + recent.count() as u32
    }

    fn last(&self) -> Millis {
        let newest = self
            .sites
            .iter()
            .take(self.used.into())
            .map(|(_, time)| *time)
            .max();
        newest.unwrap_or(0).max(self.banned_until)
    }
}
