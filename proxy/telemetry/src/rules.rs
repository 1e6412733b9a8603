//! Which rules of the WAF fire, and what each costs: what `aegis waf top` shows.
//!
//! Bounded: [`FIRED_MAX`] pairs of site and rule, [`COSTS_MAX`] rules; past a bound new ones are not counted, and that is
//! counted. Everything is since the process began.

use crate::events::LimitHit;
use crate::ring::{Entry, Rule};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, LazyLock};

/// Pairs of a site and a rule that fired there.
pub const FIRED_MAX: usize = 16_384;
/// Rules whose cost is known.
pub const COSTS_MAX: usize = 4_096;

/// What one rule did on one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// Rule id.
    pub rule: u32,
    /// What it says of itself.
    pub message: Arc<str>,
    /// Site's name.
    pub site: Arc<str>,
    /// Requests and responses it matched.
    pub matched: u64,
    /// Those of them that were blocked, by it or by others.
    pub blocked: u64,
    /// The last time, Unix time in milliseconds.
    pub last_ms: u64,
}

/// What one rule costs, by the requests that were measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Requests it was asked in.
    pub requests: u64,
    /// Nanoseconds in all.
    pub nanos: u64,
}

/// What is known of all rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Top {
    /// Those that fired, in no order.
    pub fired: Vec<Fired>,
    /// What rules cost, by id.
    pub costs: HashMap<u32, Cost>,
    /// Requests that were measured.
    pub measured: u64,
}

#[derive(Debug, Default)]
struct Book {
    /// By site, so that one is looked up without an allocation.
    fired: HashMap<Arc<str>, HashMap<u32, Fired>>,
    pairs: usize,
    costs: HashMap<u32, Cost>,
    measured: u64,
}

static BOOK: LazyLock<Mutex<Book>> = LazyLock::new(Mutex::default);

/// Counts the rules of an event of the WAF.
pub(crate) fn fired(entry: &Entry) {
    // What is no rule of a WAF has no number.
    if entry.rules.iter().any(|rule| rule.id != 0) {
        BOOK.lock().count(entry);
    }
}

/// Takes what the rules of one measured request took, in nanoseconds.
pub fn measured(costs: &[(u32, u64)]) {
    BOOK.lock().measure(costs);
}

/// What is known now.
#[must_use]
pub fn top() -> Top {
    BOOK.lock().top()
}

impl Book {
    fn count(&mut self, entry: &Entry) {
        let blocked = u64::from(entry.action == "block");
        let site = match self.fired.get_key_value(entry.site.as_str()) {
            Some((site, _)) => Arc::clone(site),
            None => Arc::from(entry.site.as_str()),
        };
        let mut full = false;
        let here = self.fired.entry(Arc::clone(&site)).or_default();
        for rule in &entry.rules {
            let room = self.pairs < FIRED_MAX;
            let known = match here.entry(rule.id) {
                Slot::Occupied(known) => known.into_mut(),
                Slot::Vacant(slot) if room => {
                    self.pairs += 1;
                    slot.insert(Fired::first(rule, &site))
                }
                Slot::Vacant(_) => {
                    full = true;
                    continue;
                }
            };
            known.matched += 1;
            known.blocked += blocked;
            known.last_ms = entry.time_ms;
        }
        if full {
            LimitHit {
                what: "waf rules counted",
            }
            .emit();
        }
    }

    fn measure(&mut self, costs: &[(u32, u64)]) {
        self.measured += 1;
        let mut full = false;
        for (rule, nanos) in costs {
            if self.costs.len() >= COSTS_MAX && !self.costs.contains_key(rule) {
                full = true;
                continue;
            }
            let cost = self.costs.entry(*rule).or_default();
            cost.requests += 1;
            cost.nanos = cost.nanos.saturating_add(*nanos);
        }
        if full {
            LimitHit {
                what: "waf rules counted",
            }
            .emit();
        }
    }

    fn top(&self) -> Top {
        Top {
            fired: self
                .fired
                .values()
                .flat_map(HashMap::values)
                .cloned()
                .collect(),
            costs: self.costs.clone(),
            measured: self.measured,
        }
    }
}

impl Fired {
    fn first(rule: &Rule, site: &Arc<str>) -> Self {
        Self {
            rule: rule.id,
            message: rule.message.as_str().into(),
            site: Arc::clone(site),
            matched: 0,
            blocked: 0,
            last_ms: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring;

    #[test]
    fn rules_are_counted_by_site_and_blocks_apart() {
        let mut book = Book::default();
        let mut event = ring::tests::entry("a");
        book.count(&event);
        event.action = "detect".into();
        book.count(&event);
        event.site = "blog.example.com".into();
        book.count(&event);
        let mut fired = book.top().fired;
        fired.sort_by(|a, b| a.site.cmp(&b.site));
        let told: Vec<_> = fired
            .iter()
            .map(|f| (&*f.site, f.rule, f.matched, f.blocked))
            .collect();
        assert_eq!(
            told,
            [
                ("blog.example.com", 942_100, 1, 0),
                ("shop.example.com", 942_100, 2, 1)
            ]
        );
    }

    #[test]
    fn costs_add_up() {
        let mut book = Book::default();
        book.measure(&[(1, 10), (2, 5)]);
        book.measure(&[(1, 30)]);
        let top = book.top();
        assert_eq!(top.measured, 2);
        assert_eq!(
            top.costs.get(&1),
            Some(&Cost {
                requests: 2,
                nanos: 40
            })
        );
        assert_eq!(
            top.costs.get(&2),
            Some(&Cost {
                requests: 1,
                nanos: 5
            })
        );
    }

    #[test]
    fn past_its_bounds_the_book_takes_no_new_rules_and_counts_the_known_ones() {
        let mut book = Book::default();
        let mut event = ring::tests::entry("a");
        let first = event.rules[0].clone();
        for id in 0..u32::try_from(FIRED_MAX + 1).expect("fits") {
            event.rules = vec![Rule {
                id,
                ..first.clone()
            }];
            book.count(&event);
            book.measure(&[(id, 1)]);
        }
        event.rules[0].id = 0;
        book.count(&event);
        let top = book.top();
        assert_eq!((top.fired.len(), top.costs.len()), (FIRED_MAX, COSTS_MAX));
        let known = top
            .fired
            .iter()
            .find(|fired| fired.rule == 0)
            .expect("known");
        assert_eq!(known.matched, 2);
    }
}
