//! What the store does with requests that a plugin has changed before it was asked.

use crate::support::Node;
use crate::support::guard::Guard;
use crate::support::origin::{Origin, Reply, Seen};
use crate::support::settings::{Sites, pool, route, to};
use aegis_settings::model::{Inspect, PluginStage};
use aegis_settings::resolved::Route;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_or_answered_under_what_the_client_asked() {
    let echo = |seen: &Seen, _| {
        let body = format!("{} {:?}", seen.line(), seen.field("x-edit"));
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nVary: X-Edit\r\n";
        Reply::Bytes(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    };
    let (origin, guard) = (Origin::start(echo).await, Guard::new());
    let plugins = guard.as_plugin(|settings| {
        settings.stage = PluginStage::BeforeCache;
        settings.inspect_response = Inspect::Off;
    });
    let mut cached = Route {
        plugins: vec!["guard".to_owned()],
        ..route("/*", to("web"))
    };
    cached.cache.enabled = true;
    let sites = Sites {
        plugins,
        ..Sites::default()
            .pool("web", pool(&[origin.address]))
            .site(&["*"], vec![cached])
    };
    let node = Node::serving(sites).await;
    for (target, first) in [("/r", "GET /rewritten?x"), ("/e", "GET /e")] {
        for _visitor in 0..2 {
            let answer = node.get("x", target).await;
            assert!(answer.text().starts_with(first), "{answer:?}");
            let status = answer.field("cache-status").expect("a status");
            assert_eq!(status, "aegis; fwd=bypass; detail=edited");
        }
    }
    let plain = node.get("x", "/").await;
    let status = plain.field("cache-status").expect("a status");
    assert!(status.contains("uri-miss; stored"), "{status}");
    assert_eq!(origin.seen().len(), 5);
}
