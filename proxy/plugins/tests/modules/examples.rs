//! What the examples show beyond `it/examples.rs`.

use crate::support::*;
use aegis_plugins::{Inspect, ResponseHead};

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_useful_example_adds_its_header_and_refuses_what_is_none() {
    let bench = bench();
    for language in LANGUAGES {
        let file = format!("examples/add-header-{language}.wasm");
        let mut good = spec("header", &file, "X-Team: edge");
        good.inspect = Inspect::Headers;
        let plugin = bench.prepare(good).expect("starts");
        let mut open = get(&plugin, "/")
            .await
            .open
            .expect("responses are inspected");
        let head = ResponseHead {
            status: 200,
            headers: vec![],
            end: true,
        };
        let verdict = open.response_headers(head).await;
        assert_eq!(
            edited(&verdict, "x-team").as_deref(),
            Some("edge"),
            "{language}"
        );

        let refused = bench.prepare(spec("header", &file, "nonsense"));
        let text = refused.expect_err("no header").to_string();
        assert!(
            text.contains("`nonsense` is no header"),
            "{language}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_acts_for_another_and_lets_go_of_one_that_lingers() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/context").await,
            "root: 0\nits request: 2\nown: 0\nown request: 0\nno such context: 2\n",
            "{language}"
        );
    }
}
