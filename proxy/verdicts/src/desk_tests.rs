use super::*;
use crate::{Author, FaultKind, VerdictError};
use std::net::IpAddr;

const WALL: Millis = 1_800_000_000_000;
const NO_WAIT: Duration = Duration::ZERO;

fn desk() -> (Desk, Instant) {
    let start = Instant::now();
    let desk = Desk::new(100, [7; 16], Clock::new(start, WALL)).unwrap();
    (desk, start)
}

fn ban(prefix: &str, scope: Scope, l7_only: bool) -> Verdict {
    Verdict {
        kind: Kind::Ban,
        prefix: prefix.parse().unwrap(),
        scope,
        author: Author::Operator("ann".into()),
        reason: "because".into(),
        request: None,
        since: WALL,
        until: None,
        l7_only,
        hits: 0,
    }
}

fn put(desk: &Desk, verdict: &Verdict) -> u64 {
    desk.put(verdict, Terms::default(), WALL).unwrap().1
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn taken(watcher: &Watcher) -> Vec<(u64, Change)> {
    std::iter::from_fn(|| watcher.next(NO_WAIT).unwrap()).collect()
}

#[test]
fn those_who_watch_are_told_every_change_in_order() {
    let (desk, _) = desk();
    let all = desk.watch(Watch::All, 10);
    let first = ban("203.0.113.9", Scope::Node, false);
    assert_eq!(put(&desk, &first), 1);
    assert_eq!(
        put(&desk, &ban("203.0.113.8", Scope::Site("shop".into()), true)),
        2
    );
    let (removed, number) = desk.remove(first.prefix, &Scope::Node).unwrap();
    assert_eq!((removed, number, desk.number()), (first.clone(), 3, 3));
    assert!(desk.remove(first.prefix, &Scope::Node).is_none());
    let told = taken(&all);
    assert_eq!(
        told.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(told[0].1, Change::Put(first.clone()));
    assert_eq!(
        told[2].1,
        Change::Removed {
            prefix: first.prefix,
            scope: Scope::Node
        }
    );
    assert!(!all.take_lost());
}

#[test]
fn the_kernels_side_is_told_only_what_may_go_lower() {
    let (desk, _) = desk();
    let lower = desk.watch(Watch::Lower, 10);
    let node = ban("203.0.113.9", Scope::Node, false);
    put(
        &desk,
        &ban("203.0.113.8", Scope::Site("shop".into()), false),
    );
    put(&desk, &ban("203.0.113.7", Scope::Node, true));
    assert!(taken(&lower).is_empty());
    put(&desk, &node);
    assert_eq!(taken(&lower), [(3, Change::Put(node.clone()))]);
    // The same address again, now known from a header only: the socket's peer is somebody else.
    put(&desk, &ban("203.0.113.9", Scope::Node, true));
    let gone = Change::Removed {
        prefix: node.prefix,
        scope: Scope::Node,
    };
    assert_eq!(taken(&lower), [(4, gone)]);
    desk.remove(node.prefix, &Scope::Node);
    assert!(taken(&lower).is_empty());
}

#[test]
fn who_does_not_keep_up_is_told_so_and_who_is_gone_is_forgotten() {
    let (desk, _) = desk();
    let (slow, gone) = (desk.watch(Watch::All, 1), desk.watch(Watch::All, 1));
    drop(gone);
    put(&desk, &ban("203.0.113.1", Scope::Node, false));
    put(&desk, &ban("203.0.113.2", Scope::Node, false));
    assert_eq!(taken(&slow).len(), 1);
    assert!(slow.take_lost());
    assert!(!slow.take_lost());
    assert_eq!(desk.told.lock().watchers.len(), 1);
    drop(desk);
    assert_eq!(slow.next(NO_WAIT), Err(DeskGone));
}

fn rule(count: u8) -> RuleSpec {
    RuleSpec {
        name: "waf".into(),
        fault: FaultKind::WafBlock,
        count,
        window: 60_000,
        ban: 600_000,
        ban_max: 600_000,
        v6_prefix: 64,
        node: None,
    }
}

fn fault(desk: &Desk, from: &str, request: &str, at: Instant) -> Option<Sentence> {
    let report = Report {
        fault: FaultKind::WafBlock,
        address: address(from),
        forwarded: false,
        site: Some("shop"),
        request,
        id: request,
    };
    desk.report(&report, at)
}

#[test]
fn a_rule_bans_ends_its_bans_and_is_told_when_it_may_not() {
    let (desk, start) = desk();
    assert!(fault(&desk, "203.0.113.9", "a", start).is_none());
    desk.set_rules(vec![rule(2)]).unwrap();
    assert!(fault(&desk, "203.0.113.9", "a", start).is_none());
    let made = fault(&desk, "203.0.113.9", "b", start).unwrap();
    assert!(made.put.is_ok());
    let asked = Asked::Request { site: "shop" };
    let at = |seconds| start + Duration::from_secs(seconds);
    assert!(desk.ban(address("203.0.113.9"), asked, at(599)).is_some());
    assert!(desk.ban(address("203.0.113.9"), asked, at(600)).is_none());
    fault(&desk, "127.0.0.1", "c", start);
    let refused = fault(&desk, "127.0.0.1", "d", start).unwrap();
    assert!(matches!(refused.put, Err(VerdictError::Protected { .. })));
}

#[test]
fn the_same_rules_again_remember_and_others_begin_anew() {
    let (desk, start) = desk();
    desk.set_rules(vec![rule(2)]).unwrap();
    fault(&desk, "203.0.113.9", "a", start);
    desk.set_rules(vec![rule(2)]).unwrap();
    assert!(fault(&desk, "203.0.113.9", "b", start).is_some());
    fault(&desk, "203.0.113.8", "c", start);
    desk.set_rules(vec![rule(3)]).unwrap();
    assert!(fault(&desk, "203.0.113.8", "d", start).is_none());
    assert!(desk.set_rules(vec![rule(1)]).is_err());
    assert!(desk.has_rules());
    desk.set_rules(Vec::new()).unwrap();
    assert!(!desk.has_rules());
}

#[test]
fn what_becomes_protected_is_freed_of_rules_bans_and_kept_under_an_operators() {
    let (desk, start) = desk();
    desk.set_rules(vec![rule(2)]).unwrap();
    fault(&desk, "203.0.113.9", "a", start);
    fault(&desk, "203.0.113.9", "b", start);
    put(&desk, &ban("203.0.113.8", Scope::Node, false));
    let proxies = || NeverBan::new([("203.0.113.0/24".parse().unwrap(), "proxy".to_owned())]);
    let lifted = desk.protect(&proxies());
    assert_eq!(lifted.len(), 1);
    assert_eq!(lifted[0].prefix, "203.0.113.9".parse().unwrap());
    assert!(desk.protect(&proxies()).is_empty());
    let left = desk.table().list(0, 10, WALL).0;
    assert_eq!(left.len(), 1);
    assert!(left[0].author.is_operator());
    assert_eq!(
        desk.table().protected("203.0.113.7".parse().unwrap()),
        Some(("203.0.113.0/24".parse().unwrap(), "proxy".to_owned()))
    );
}

#[test]
fn a_clock_that_is_set_back_or_forth_changes_no_ban() {
    // The desk's clock goes on by itself, whatever the wall clock does.
    let (desk, start) = desk();
    let until = Verdict {
        until: Some(WALL + 60_000),
        ..ban("203.0.113.9", Scope::Node, false)
    };
    put(&desk, &until);
    let holds = |seconds| {
        let at = start + Duration::from_secs(seconds);
        desk.ban(address("203.0.113.9"), Asked::Connection, at)
            .is_some()
    };
    assert!(holds(59));
    assert!(!holds(60));
}
