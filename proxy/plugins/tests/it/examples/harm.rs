//! Harm as real languages do it, in each callback: a panic, a loop, all memory, a recursion.

use super::*;
use aegis_plugins::FaultKind;

/// Harm, and what it is called in Rust and in Go.
const HARMS: [(&str, [FaultKind; 2]); 4] = [
    ("panic", [FaultKind::Trap, FaultKind::Trap]),
    ("loop", [FaultKind::Deadline, FaultKind::Deadline]),
    ("memory", [FaultKind::Memory, FaultKind::Memory]),
    ("recursion", [FaultKind::Stack, FaultKind::Stack]),
];

/// The last verdict of a stream with this path.
async fn last(plugin: &Arc<Plugin>, path: &str) -> Decision {
    let head = RequestHead {
        target: Bytes::copy_from_slice(path.as_bytes()),
        ..head("/")
    };
    let body = Body::Whole(vec![bytes("body")]);
    let first = plugin.request(Arc::new(head), body, site("a")).await;
    let Some(mut open) = first.open else {
        return first.decision;
    };
    let head = ResponseHead {
        status: 200,
        headers: vec![],
        end: false,
    };
    let second = open.response_headers(head).await;
    if second.decision != Decision::Continue {
        return second.decision;
    }
    response_body(&mut open, "text", true).decision
}

async fn harm_in(callback: &str) {
    for (n, language) in LANGUAGES.into_iter().enumerate() {
        let bench = bench_for(2);
        let mut spec = spec(&bench, language);
        spec.name = format!("{callback}-{language}");
        spec.deadline = Duration::from_millis(300);
        let plugin = bench
            .prepare(spec)
            .unwrap_or_else(|error| panic!("{error}"));
        let other = bench.plugin("other", "");
        for (harm, kinds) in HARMS {
            let faults = format!(
                "aegis_plugin_faults_total{{kind=\"{}\",plugin=\"{}\"}}",
                kinds[n],
                plugin.name()
            );
            let before = metric(&faults);
            let decision = last(&plugin, &format!("/x/{callback}/{harm}")).await;
            let expected = if callback == "done" {
                Decision::Continue
            } else {
                Decision::Fault(kinds[n])
            };
            assert_eq!(decision, expected, "{harm} in {callback}, {language}");
            until("it is counted", || metric(&faults) == before + 1).await;
            assert_eq!(last(&other, "/").await, Decision::Continue);
            assert_eq!(last(&plugin, "/").await, Decision::Continue, "after {harm}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_module_that_breaks_in_request_headers_breaks_alone() {
    harm_in("request_headers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_module_that_breaks_in_request_body_breaks_alone() {
    harm_in("request_body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_module_that_breaks_in_response_headers_breaks_alone() {
    harm_in("response_headers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_module_that_breaks_in_response_body_breaks_alone() {
    harm_in("response_body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_module_that_breaks_after_the_verdict_breaks_alone() {
    harm_in("done").await;
}
