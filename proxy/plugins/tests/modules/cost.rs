//! What a verdict costs: CPU time of the sandbox's thread for some typical requests. Printed, never asserted.
//!
//! `cargo test -p aegis-plugins --test modules cost -- --ignored --nocapture`

use crate::support::*;
use crate::waf::{policy, request};
use aegis_plugins::{Body, Decision, Plugin, RequestHead};
use bytes::Bytes;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// English, with a number here and there so that no two fields are alike.
fn prose(bytes: usize) -> String {
    const WORDS: [&str; 24] = [
        "the", "order", "was", "sent", "on", "a", "rainy", "morning", "and", "nobody", "could",
        "select", "from", "where", "table", "into", "its", "delivery", "until", "evening", "came",
        "with", "better", "news",
    ];
    let mut seed = 7_u64;
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let word = usize::try_from(seed >> 33).unwrap_or(0);
        if word % 17 == 0 {
            write!(text, "{}+", word % 1000).expect("a string");
        } else {
            write!(text, "{}+", WORDS[word % WORDS.len()]).expect("a string");
        }
    }
    text.truncate(bytes);
    text
}

fn form(bytes: usize) -> String {
    format!("id=42&title=An+order&text={}", prose(bytes - 26))
}

async fn cost(
    plugin: &Arc<Plugin>,
    head: Arc<RequestHead>,
    body: Option<String>,
    n: u32,
) -> Duration {
    let body = body.map(Bytes::from);
    let mut all = Vec::new();
    for _ in 0..n {
        let body = body.clone().map_or(Body::None, |b| Body::Whole(vec![b]));
        let verdict = plugin.request(head.clone(), body, policy(1, "{}")).await;
        assert_eq!(verdict.decision, Decision::Continue, "{:?}", verdict.events);
        all.push(verdict.cpu);
    }
    all.sort();
    all[all.len() / 2]
}

/// A line of `/proc/self/status` or `smaps_rollup`, in KiB.
fn kib(file: &str, line: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).expect("procfs");
    let found = text
        .lines()
        .find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    let number = found.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}

/// CPU time of the pool's first thread so far, in nanoseconds, once it sleeps.
fn pool_cpu(tid: &str) -> u64 {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).expect("procfs");
        if stat.rsplit(") ").next().is_some_and(|s| s.starts_with('S')) {
            break;
        }
        std::thread::yield_now();
    }
    let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat"));
    let text = text.expect("procfs");
    text.split(' ')
        .next()
        .expect("a number")
        .parse()
        .expect("a number")
}

fn thread_named(name: &str) -> String {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let mut tids = tasks.map(|t| {
        t.expect("a task")
            .file_name()
            .into_string()
            .expect("a number")
    });
    tids.find(|tid| {
        std::fs::read_to_string(format!("/proc/self/task/{tid}/comm"))
            .is_ok_and(|c| c.trim() == name)
    })
    .expect("the thread")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn what_the_life_of_an_instance_costs() {
    let requests = std::env::var("REQUESTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(64);
    let n: usize = std::env::var("N")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(4000);
    let before = kib("status", "VmRSS");
    let bench = bench();
    let mut spec = spec("waf", "coraza.wasm", "");
    spec.instances = recycled(requests);
    let begun = Instant::now();
    let plugin = bench.prepare(spec.clone()).expect("the WAF starts");
    println!(
        "RESULT waf prepare_ms {} {:?}",
        begun.elapsed().as_millis(),
        bench.host.reports()
    );
    println!(
        "RESULT waf prepared_rss_mib {} (before {})",
        kib("status", "VmRSS") >> 10,
        before >> 10
    );
    let tid = thread_named("aegis-plugin-0");
    let mut all = Vec::with_capacity(n);
    let mut guest = Vec::with_capacity(n);
    let mut last = pool_cpu(&tid);
    for i in 0..n {
        let id = format!("01JD{i:022}");
        let mut head = (*request(
            "GET",
            "/products?page=2&sort=price",
            &[("Cookie", "theme=dark")],
        ))
        .clone();
        head.request_id = Bytes::from(id);
        let verdict = plugin
            .request(Arc::new(head), Body::None, policy(1, "{}"))
            .await;
        assert_eq!(verdict.decision, Decision::Continue);
        guest.push(verdict.cpu.as_nanos() as u64);
        let now = pool_cpu(&tid);
        all.push(now - last);
        last = now;
    }
    let first = all.first().copied().unwrap_or_default();
    for (name, mut of) in [("job", all), ("guest", guest)] {
        let mean = of.iter().sum::<u64>() / of.len() as u64;
        of.sort_unstable();
        let at = |q: usize| of[(of.len() - 1) * q / 1000] / 1000;
        println!(
            "RESULT waf {name}_cpu_us mean {} p50 {} p90 {} p99 {} p999 {} max {} first {}",
            mean / 1000,
            at(500),
            at(900),
            at(990),
            at(999),
            at(1000),
            first / 1000
        );
    }
    println!(
        "RESULT waf rss_mib {} anon {} file {}",
        kib("status", "VmRSS") >> 10,
        kib("status", "RssAnon") >> 10,
        kib("status", "RssFile") >> 10
    );
    println!(
        "RESULT waf instances {} memory_mib {}",
        plugin.instances(),
        plugin.memory() >> 20
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn what_a_verdict_costs() {
    let bench = bench();
    let mut spec = spec("waf", "coraza.wasm", "");
    spec.deadline = Duration::from_secs(60);
    spec.deadline_max = spec.deadline;
    let begun = Instant::now();
    let plugin = bench.prepare(spec).expect("the WAF starts");
    println!("RESULT waf prepare_ms {}", begun.elapsed().as_millis());
    let browser = [
        ("Accept-Language", "en-GB,en;q=0.9"),
        ("Accept-Encoding", "gzip, deflate, br"),
        (
            "Cookie",
            "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark",
        ),
        ("Referer", "https://shop.example/products"),
    ];
    let with = |kind: &'static str| {
        [
            &browser[..],
            &[("Content-Type", kind), ("Transfer-Encoding", "chunked")],
        ]
        .concat()
    };
    let form_head = || {
        request(
            "POST",
            "/orders",
            &with("application/x-www-form-urlencoded"),
        )
    };
    let json = r#"{"id":42,"items":[{"sku":"A-1","count":2},{"sku":"B-7","count":1}],"note":"please ring twice","express":false}"#;
    let rows = [
        ("get", request("GET", "/products", &browser), None, 200),
        (
            "get4",
            request(
                "GET",
                "/search?q=blue+shoes&page=2&sort=price&dir=asc",
                &browser,
            ),
            None,
            200,
        ),
        ("form1k", form_head(), Some(form(1024)), 100),
        (
            "json",
            request("POST", "/api", &with("application/json")),
            Some(json.to_owned()),
            100,
        ),
        ("form10k", form_head(), Some(form(10 << 10)), 12),
        ("form128k", form_head(), Some(form((128 << 10) - 64)), 3),
    ];
    let fields = |n: usize, value: &str| -> String {
        let fields: Vec<String> = (0..n).map(|i| format!("f{i}={value}")).collect();
        fields.join("&")
    };
    let repeated = |unit: &str| format!("q={}", unit.repeat((128 << 10) / unit.len() - 1));
    let random = |alphabet: &str| {
        let mut seed = 99_u64;
        let alphabet: Vec<&str> = alphabet.split(' ').collect();
        let mut text = String::from("q=");
        while text.len() < (127 << 10) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(alphabet[usize::try_from(seed >> 33).unwrap_or(0) % alphabet.len()]);
        }
        text
    };
    let hostile = [
        ("fields900", fields(900, &prose(130))),
        ("fields900_tiny", fields(900, "1")),
        ("fields200_tiny", fields(200, "1")),
        ("fields100", fields(100, &prose(40))),
        ("parens", repeated("(")),
        ("quotes", repeated("%27")),
        ("select", repeated("select+from+")),
        ("aaaa", repeated("a")),
        ("dots", repeated("../")),
        ("no_text", repeated("%ff%fe")),
        ("kelvin", repeated("%e2%84%aa")),
        (
            "shell",
            random("; | & $ ( ) ` cat ls id %22 %27 + \\ / * ? [ ] { } x"),
        ),
        (
            "sql",
            random("select union from where %27 %22 -- /* */ ( ) or and = 1 0x + , ; @@ char"),
        ),
        (
            "html",
            random("< > / script on = %22 %27 src img + javascript : & ; style x"),
        ),
        (
            "any",
            random(
                "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9 . - _ + %27 %22 ( ) < > / ; : = , ! $ * @ # %0a %00 %c3%a9",
            ),
        ),
    ];
    for (name, body) in hostile {
        let begun = Instant::now();
        let body = Body::Whole(vec![Bytes::from(body)]);
        let verdict = plugin
            .request(form_head(), body, policy(1, "{\"mode\":\"detect\"}"))
            .await;
        println!(
            "RESULT waf hostile_{name}_cpu_us {} {:?} {:?}",
            verdict.cpu.as_micros(),
            verdict.decision,
            begun.elapsed()
        );
    }
    for (name, head, body, n) in rows {
        let micros = cost(&plugin, head, body, n).await.as_micros();
        println!("RESULT waf {name}_cpu_us {micros}");
    }
    println!("RESULT waf instance_mib {}", plugin.memory() >> 20);
}
