//! Stage 7: who is banned is refused, on connections that stand too; and what clients do wrong becomes bans.

use crate::plugins::{sized, with_plugin, with_waf};
use crate::support::guard::{Guard, waf_on};
use crate::support::origin::Origin;
use crate::support::settings::{Sites, desk, pool, route, to};
use crate::support::{Client, Node};
use aegis_settings::resolved::Action;
use aegis_verdicts::{Author, Desk, FaultKind, Kind, NeverBan, RuleSpec, Scope, Terms, Verdict};
use std::sync::Arc;
use std::time::Instant;

const CLIENT: &str = "203.0.113.9";

fn verdict(desk: &Desk, kind: Kind, prefix: &str, site: Option<&str>) -> Verdict {
    Verdict {
        kind,
        prefix: prefix.parse().expect("a prefix"),
        scope: site.map_or(Scope::Node, |site| Scope::Site(site.into())),
        author: Author::Operator("ann".into()),
        reason: "scans".into(),
        request: None,
        since: desk.clock().at(Instant::now()),
        until: None,
        l7_only: false,
        hits: 0,
    }
}

fn put(desk: &Desk, kind: Kind, prefix: &str, site: Option<&str>) {
    let verdict = verdict(desk, kind, prefix, site);
    let now = verdict.since;
    desk.put(&verdict, Terms::default(), now)
        .expect("a verdict");
}

fn rule(fault: FaultKind) -> RuleSpec {
    RuleSpec {
        name: "rule".to_owned(),
        fault,
        count: 3,
        window: 60_000,
        ban: 600_000,
        ban_max: 600_000,
        v6_prefix: 64,
        node: None,
    }
}

/// Sites whose clients come from [`CLIENT`].
fn from_outside(sites: Sites, desk: &Arc<Desk>) -> Sites {
    Sites {
        verdicts: Some(Arc::clone(desk)),
        peer: Some(CLIENT.parse().expect("an address")),
        ..sites
    }
}

async fn status(client: &mut Client, host: &str, target: &str) -> u16 {
    client
        .send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        .await;
    client.answer().await.status
}

#[tokio::test]
async fn a_ban_reaches_a_connection_that_stands_and_ends_when_it_is_taken_back() {
    let (origin, desk) = (Origin::ok("hello").await, desk());
    let node = Node::serving(from_outside(Sites::one(origin.address), &desk)).await;
    let mut client = node.connect().await;
    assert_eq!(status(&mut client, "x", "/1").await, 200);
    put(&desk, Kind::Ban, "203.0.113.0/24", None);
    client
        .send("GET /2 HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n")
        .await;
    let refused = client.answer().await;
    assert_eq!(refused.status, 403);
    let page = refused.text();
    assert!(
        page.contains("Your address may not use this site"),
        "{page}"
    );
    // Neither the reason nor the author is for strangers.
    assert!(!page.contains("scans") && !page.contains("ann"), "{page}");
    let id = refused.field("x-request-id").expect("an id");
    let event = aegis_telemetry::ring::global().find(id).expect("an event");
    assert_eq!(
        (event.action.as_str(), event.client.as_str()),
        ("ban", CLIENT)
    );
    assert_eq!(event.rules[0].message, "scans");
    desk.remove("203.0.113.0/24".parse().expect("a prefix"), &Scope::Node);
    assert_eq!(status(&mut client, "x", "/3").await, 200);
    let targets: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| seen.line().to_owned())
        .collect();
    assert_eq!(targets, ["GET /1 HTTP/1.1", "GET /3 HTTP/1.1"]);
}

#[tokio::test]
async fn a_site_s_ban_is_that_site_s_and_a_node_s_ban_is_before_redirects_and_unknown_hosts() {
    let (origin, desk) = (Origin::ok("hello").await, desk());
    let redirect = Action::Redirect {
        status: 302,
        to: "/b".to_owned(),
    };
    let sites = Sites::default()
        .pool("web", pool(&[origin.address]))
        .site(
            &["shop"],
            vec![route("/old", redirect), route("/*", to("web"))],
        )
        .site(&["blog"], vec![route("/*", to("web"))]);
    let node = Node::serving(from_outside(sites, &desk)).await;
    put(&desk, Kind::Ban, CLIENT, Some("shop"));
    assert_eq!(node.get("shop", "/").await.status, 403);
    assert_eq!(node.get("shop", "/old").await.status, 403);
    assert_eq!(node.get("blog", "/").await.status, 200);
    assert_eq!(node.get("other", "/").await.status, 404);
    put(&desk, Kind::Ban, "203.0.113.0/24", None);
    assert_eq!(node.get("blog", "/").await.status, 403);
    assert_eq!(node.get("other", "/").await.status, 403);
    put(&desk, Kind::Allow, CLIENT, Some("blog"));
    assert_eq!(node.get("blog", "/").await.status, 200);
    assert_eq!(node.get("shop", "/").await.status, 403);
}

#[tokio::test]
async fn requests_that_are_no_http_become_a_ban_of_the_node_and_one_never_does() {
    let (origin, desk) = (Origin::ok("hello").await, desk());
    desk.set_rules(vec![rule(FaultKind::BadRequest)])
        .expect("rules");
    let node = Node::serving(from_outside(Sites::one(origin.address), &desk)).await;
    for _ in 0..2 {
        assert_eq!(node.ask("GET / HTTP/1.1\r\n\r\n").await.status, 400);
        assert_eq!(node.get("x", "/").await.status, 200);
    }
    let last = node.ask("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(last.status, 400);
    banned(&desk, 1).await;
    assert_eq!(node.get("x", "/").await.status, 403);
    let ban = desk.table().on(CLIENT.parse().expect("a prefix")).remove(0);
    assert_eq!(ban.request.as_deref(), last.field("x-request-id"));
    assert_eq!(
        (&*ban.reason, ban.l7_only),
        ("3 malformed requests in 60 s", false)
    );
}

/// Refused three times for what it sent, a client is banned on that site.
async fn three_refusals(sites: Sites, fault: FaultKind, why: &str) {
    let desk = desk();
    desk.set_rules(vec![rule(fault)]).expect("rules");
    let node = Node::serving(from_outside(sites, &desk)).await;
    for _ in 0..3 {
        assert_eq!(node.get("x", "/").await.status, 200);
        assert_eq!(node.ask(sized("/", b"EVIL")).await.status, 403);
    }
    banned(&desk, 1).await;
    let refused = node.get("x", "/").await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.text().contains("Your address"),
        "{}",
        refused.text()
    );
    let ban = desk.table().on(CLIENT.parse().expect("a prefix")).remove(0);
    assert_eq!((ban.scope, &*ban.reason), (Scope::Site("*".into()), why));
}

#[tokio::test]
async fn blocks_of_the_waf_become_a_ban_of_the_site() {
    let (origin, guard) = (Origin::ok("hello").await, Guard::new());
    let sites = with_waf(origin.address, waf_on(), guard.as_waf());
    three_refusals(sites, FaultKind::WafBlock, "3 WAF blocks in 60 s").await;
}

#[tokio::test]
async fn refusals_by_a_module_become_a_ban_of_the_site() {
    let (origin, guard) = (Origin::ok("hello").await, Guard::new());
    let sites = with_plugin(origin.address, guard.as_plugin(|_| {}));
    three_refusals(
        sites,
        FaultKind::ModuleRefusal,
        "3 refusals by a module in 60 s",
    )
    .await;
}

#[tokio::test]
async fn who_may_never_be_banned_is_not_however_often_he_is_wrong() {
    let (origin, desk) = (Origin::ok("hello").await, desk());
    desk.set_rules(vec![rule(FaultKind::BadRequest)])
        .expect("rules");
    let proxies = (
        "203.0.113.0/24".parse().expect("a prefix"),
        "trusted proxy".to_owned(),
    );
    desk.protect(&NeverBan::new([proxies]));
    let node = Node::serving(from_outside(Sites::one(origin.address), &desk)).await;
    for _ in 0..10 {
        assert_eq!(node.ask("GET / HTTP/1.1\r\n\r\n").await.status, 400);
    }
    assert_eq!(node.get("x", "/").await.status, 200);
    assert_eq!(desk.table().stats().entries, 0);
}

/// Faults are told when a request has ended, which its client may see before.
async fn banned(desk: &Desk, entries: usize) {
    let until = Instant::now() + std::time::Duration::from_secs(20);
    while desk.table().stats().entries < entries {
        assert!(Instant::now() < until, "no ban was made");
        tokio::task::yield_now().await;
    }
}
