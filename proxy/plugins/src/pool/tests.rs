use super::*;
use crate::testing;

/// The order in which jobs of these sites come out.
fn order(queue: &Queue, n: usize) -> String {
    (0..n)
        .filter_map(|_| Some(queue.pop()?.site.to_string()))
        .collect()
}

#[test]
fn sites_take_turns_whatever_their_number_of_jobs() {
    let plugin = testing::plugin("turns");
    let queue = Queue::new(100, 1, Duration::from_secs(1));
    for site in "aaaaabbc".chars() {
        queue.push(testing::request(&plugin, &site.to_string(), 0).0);
    }
    assert_eq!(order(&queue, 8), "abcabaaa");
}

#[test]
fn jobs_for_an_instance_go_before_new_requests_of_their_site() {
    let plugin = testing::plugin("bound");
    let queue = Queue::new(100, 1, Duration::from_secs(1));
    for site in ["a", "a", "b"] {
        queue.push(testing::request(&plugin, site, 0).0);
    }
    let slot = Arc::new(Slot::busy(None));
    queue.push_bound(Job::bound(&plugin, &slot, &"a".into(), Act::Tick));
    let bound = |job: Option<Job>| job.is_some_and(|job| matches!(job.task, Task::Bound(..)));
    assert!(bound(queue.pop()));
    assert_eq!(order(&queue, 3), "baa");
}

#[test]
fn a_request_that_would_wait_too_long_behind_its_own_site_is_refused_at_once() {
    let plugin = testing::plugin("cost");
    let queue = Queue::new(100, 2, Duration::from_millis(10));
    let ms = 1_000_000;
    // Two threads: 24 ms of work are a wait of 12.
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (job, pending) = testing::request(&plugin, "a", 8 * ms);
            queue.push(job);
            pending
        })
        .collect();
    let refused = waiting
        .iter()
        .filter(|pending| pending.is_decided())
        .count();
    assert_eq!(refused, 1);
    // Another site waits for its own work only.
    let (job, pending) = testing::request(&plugin, "b", 8 * ms);
    queue.push(job);
    assert!(!pending.is_decided());
}

#[test]
fn a_stopped_queue_refuses_everything() {
    let plugin = testing::plugin("stop");
    let queue = Queue::new(100, 1, Duration::from_secs(1));
    let (job, pending) = testing::request(&plugin, "a", 0);
    queue.push(job);
    queue.stop();
    assert!(pending.is_decided());
    let (job, pending) = testing::request(&plugin, "a", 0);
    queue.push(job);
    assert!(pending.is_decided());
    assert!(queue.pop().is_none());
}

/// A request of this source, whose site is its letter.
fn from(plugin: &Arc<Plugin>, site: char, address: [u8; 4]) -> Job {
    let (mut job, _) = testing::request(plugin, &site.to_string(), 0);
    job.source = Some(Source::of(address.into()));
    job
}

const ONE: [u8; 4] = [192, 0, 2, 1];
const TWO: [u8; 4] = [192, 0, 2, 2];

#[test]
fn a_source_never_holds_the_last_thread() {
    let plugin = testing::plugin("last-thread");
    let queue = Queue::new(100, 2, Duration::from_secs(1));
    for address in [ONE, ONE, ONE, TWO] {
        queue.push(from(&plugin, 'a', address));
    }
    let first = queue.pop().expect("one");
    let second = queue.pop().expect("the other's");
    assert_eq!(first.source, Some(Source::of(ONE.into())));
    assert_eq!(second.source, Some(Source::of(TWO.into())));
    assert!(queue.inner.lock().next().is_none(), "nobody has room");
    queue.done(second.source, false);
    assert!(queue.inner.lock().next().is_none(), "the last thread");
    queue.done(first.source, false);
    assert_eq!(queue.pop().and_then(|job| job.source), first.source);
}

#[test]
fn who_has_nothing_running_goes_first() {
    let plugin = testing::plugin("first-idle");
    let queue = Queue::new(100, 4, Duration::from_secs(1));
    for (site, address) in [('a', ONE), ('a', ONE), ('b', TWO), ('a', TWO)] {
        queue.push(from(&plugin, site, address));
    }
    let mut order = (0..4).map_while(|_| queue.pop()?.source);
    let (one, two) = (Source::of(ONE.into()), Source::of(TWO.into()));
    assert_eq!(order.next(), Some(one));
    assert_eq!(order.next(), Some(two));
    // Nobody else waits: threads are not left idle.
    assert_eq!(order.count(), 2);
}

/// A long request of this source and site, of a known cost.
fn long(
    plugin: &Arc<Plugin>,
    site: char,
    address: [u8; 4],
    cost: u64,
) -> (Job, crate::ticket::Pending) {
    let (mut job, waits) = testing::request(plugin, &site.to_string(), cost);
    job.source = Some(Source::of(address.into()));
    job.long = true;
    (job, waits)
}

#[test]
fn long_jobs_of_many_sources_leave_the_last_thread_to_short_ones() {
    let plugin = testing::plugin("long-lane");
    let queue = Queue::new(100, 2, Duration::from_secs(1));
    for n in 1..9 {
        queue.push(long(&plugin, 'a', [192, 0, 2, n], 0).0);
    }
    for (site, address) in [('a', ONE), ('b', TWO)] {
        queue.push(from(&plugin, site, address));
    }
    let first = queue.pop().expect("the first that came");
    assert!(first.long);
    // The same site's and another's short requests go past the long ones, one after the other.
    for _ in 0..2 {
        let short = queue.pop().expect("a short one");
        assert!(!short.long);
        queue.done(short.source, false);
    }
    assert!(queue.inner.lock().next().is_none(), "the last thread");
    queue.done(first.source, true);
    assert!(queue.pop().is_some_and(|job| job.long));
}

#[test]
fn sites_take_turns_in_the_long_lane_too() {
    let plugin = testing::plugin("long-turns");
    let queue = Queue::new(100, 2, Duration::from_secs(1));
    for site in "aaab".chars() {
        queue.push(long(&plugin, site, ONE, 0).0);
    }
    let mut order = String::new();
    for _ in 0..4 {
        let job = queue.pop().expect("one");
        order.push_str(&job.site);
        queue.done(job.source, true);
    }
    assert_eq!(order, "abaa");
}

#[test]
fn what_long_jobs_are_expected_to_take_refuses_long_jobs_only() {
    let plugin = testing::plugin("long-cost");
    let queue = Queue::new(100, 2, Duration::from_millis(10));
    let ms = 1_000_000;
    // A long one may wait for ten times as long as a short one, and has one of the two threads.
    let waiting: Vec<_> = (1..5)
        .map(|n| {
            let (job, waits) = long(&plugin, 'a', [192, 0, 2, n], 60 * ms);
            queue.push(job);
            waits
        })
        .collect();
    let refused = waiting.iter().filter(|waits| waits.is_decided()).count();
    assert_eq!(refused, 2);
    let (job, waits) = testing::request(&plugin, "a", ms);
    queue.push(job);
    assert!(!waits.is_decided());
}
