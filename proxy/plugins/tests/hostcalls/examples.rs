//! What a stream sees and changes.

use crate::support::*;
use aegis_plugins::{Body, Decision, Inspect, ResponseHead};

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_read_in_order_and_case() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/fields").await,
            "size: 0 true\nfield: :method=GET\nfield: :path=/t/fields\nfield: :scheme=https\nfield: :authority=shop.example\n\
             field: Host=shop.example\nfield: X-Probe=one\nfield: x-gone=soon\nfield: x-probe=two\nx-probe: one,two\nmissing: 1\n\
             response fields in the request: 2\n",
            "{language}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_changed_one_by_one_and_all_at_once() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        let verdict = get(&plugin, "/h/edit").await;
        assert_eq!(verdict.decision, Decision::Continue, "{language}");
        assert_eq!(edited(&verdict, "x-added").as_deref(), Some("1"));
        assert_eq!(edited(&verdict, "x-probe").as_deref(), Some("replaced"));
        assert_eq!(edited(&verdict, "x-gone"), None);

        let verdict = get(&plugin, "/h/set").await;
        assert_eq!(
            edited(&verdict, ":path").as_deref(),
            Some("/h/set"),
            "{language}"
        );
        assert_eq!(edited(&verdict, "x-only").as_deref(), Some("this"));
        assert_eq!(edited(&verdict, "x-probe"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_in_pieces_and_changed() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        for (target, new) in [
            ("/b/keep", None),
            ("/b/prepend", Some("<hello world")),
            ("/b/append", Some("hello world>")),
            ("/b/replace", Some("new")),
        ] {
            let body = Body::Whole(vec![bytes("hello"), bytes(" "), bytes("world")]);
            let verdict = plugin
                .request(head("POST", target).into(), body, site())
                .await;
            assert_eq!(verdict.decision, Decision::Continue, "{language} {target}");
            assert_eq!(
                edited(&verdict, "x-body").as_deref(),
                Some("0 11 11 hello| world")
            );
            assert_eq!(
                verdict.new_body.as_deref(),
                new.map(str::as_bytes),
                "{language} {target}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_body_is_held_and_trailers_end_it() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        let body = Body::Part(vec![bytes("hello")]);
        let verdict = plugin
            .request(head("POST", "/b/keep").into(), body, site())
            .await;
        assert!(verdict.held, "{language}");
        let mut open = verdict.open.expect("more follows");
        let verdict = open
            .request_trailers(vec![(bytes("x-trailer"), bytes("end"))])
            .await;
        assert_eq!(
            edited(&verdict, "x-trailers").as_deref(),
            Some("1 end"),
            "{language}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_properties_and_own_ones_are_kept() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        assert_eq!(
            probe(&plugin, "/t/properties?a=b").await,
            "plugin_name: probe\nplugin_root_id: probe\nrequest.path: /t/properties?a=b\nrequest.url_path: /t/properties\n\
             request.query: a=b\nrequest.host: shop.example\nrequest.scheme: https\nrequest.method: GET\n\
             request.protocol: HTTP/1.1\nrequest.id: 01JD0000000000000000000000\nrequest.headers.x-probe: one,two\n\
             source.address: 192.0.2.1:4711\ndestination.address: [2001:db8::1]:443\nconnection.tls_version: TLSv1.3\n\
             connection.requested_server_name: shop.example\naegis.site: shop\naegis.waf_policy: {\"mode\":\"block\"}\n\
             no.such: (none)\nsource.port: 4711\ndestination.port: 443\nrequest.time: 1700000000000000001\n\
             aegis.waf_policy_id: 7\n",
            "{language}"
        );
        assert_eq!(
            probe(&plugin, "/t/own_property").await,
            "set: 0\nget: kept\na fact: 2\n",
            "{language}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_answers_or_closes() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Off);
        let answer = response(get(&plugin, "/t/answer").await);
        assert_eq!(
            (answer.status, answer.body),
            (418, bytes("short and stout")),
            "{language}"
        );
        assert_eq!(answer.details, "teapot");
        assert_eq!(answer.headers[1], (bytes("x-probe"), bytes("yes")));
        assert_eq!(
            get(&plugin, "/t/close").await.decision,
            Decision::Close,
            "{language}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_are_marked_in_head_body_and_trailers() {
    let bench = bench();
    for language in LANGUAGES {
        let plugin = bench.example(language, "", Inspect::Body);
        let mut open = get(&plugin, "/r/x")
            .await
            .open
            .expect("responses are inspected");
        let head = ResponseHead {
            status: 203,
            headers: vec![(bytes("Server"), bytes("origin"))],
            end: false,
        };
        let verdict = open.response_headers(head).await;
        assert_eq!(
            edited(&verdict, "x-seen").as_deref(),
            Some("203 203"),
            "{language}"
        );
        let verdict = open.response_body(vec![bytes("one ")], false).await;
        assert!(verdict.held, "{language}");
        let verdict = open.response_body(vec![bytes("two")], true).await;
        assert_eq!(
            verdict.new_body.as_deref(),
            Some(&b"<one two>"[..]),
            "{language}"
        );
        let verdict = open
            .response_trailers(vec![(bytes("x-end"), bytes("1"))])
            .await;
        assert_eq!(verdict.decision, Decision::Continue, "{language}");
        assert_eq!(edited(&verdict, "x-more"), None, "trailers are not fields");
    }
}

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
