//! A host, and the modules that `cargo xtask modules` built.

use aegis_plugins::{
    Body, Decision, Host, HostConfig, Inspect, Instances, LocalResponse, NoHttpCalls, OpenContext,
    Plugin, PluginError, PluginSpec, Properties, RequestHead, Verdict,
};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// The examples: the same behaviour in two languages.
pub(crate) const LANGUAGES: [&str; 2] = ["rust", "go"];

/// `<target>/modules/<file>`.
pub(crate) fn module(file: &str) -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| checkout.join("target"), |dir| checkout.join(dir));
    let path = target.join("modules").join(file);
    assert!(
        path.exists(),
        "{} is missing; `cargo xtask modules` builds it",
        path.display()
    );
    path
}

pub(crate) struct Bench {
    pub(crate) host: Arc<Host>,
    _dir: TempDir,
}

/// With one thread, so one instance: what it remembers, the next request sees.
pub(crate) fn bench() -> Bench {
    bench_with(1)
}

pub(crate) fn bench_with(threads: usize) -> Bench {
    let dir = tempfile::tempdir().expect("a folder");
    let host = Host::new(HostConfig {
        threads,
        queue_max: 1024,
        wait_max: Duration::from_secs(60),
        cache_dir: cache(),
        runtime: tokio::runtime::Handle::current(),
        http: Arc::new(NoHttpCalls),
        late_events: None,
    });
    Bench {
        host: host.expect("a host"),
        _dir: dir,
    }
}

/// Compiled modules are kept between the tests of one build: compiling Go takes seconds.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-modules")
}

pub(crate) fn spec(name: &str, file: &str, config: &'static str) -> PluginSpec {
    PluginSpec {
        name: name.to_owned(),
        module: module(file),
        config: bytes(config),
        memory_max: 256 << 20,
        deadline: Duration::from_secs(5),
        deadline_per_kib: Duration::from_millis(10),
        deadline_max: aegis_plugins::limits::JOB_CPU_MAX,
        stack_max: aegis_plugins::limits::STACK_DEFAULT,
        http_call: vec![],
        inspect: Inspect::Off,
        body_max: 32 << 20,
        instances: if file == "coraza.wasm" {
            recycled(64)
        } else {
            Instances::Shared
        },
    }
}

/// As the WAF's instances live.
pub(crate) fn recycled(requests: u32) -> Instances {
    let plain = Properties {
        waf_policy: Some((u64::MAX, bytes("{}"))),
        ..Properties::default()
    };
    Instances::Recycled {
        requests,
        warm_up: Some(Arc::new(plain)),
    }
}

impl Bench {
    pub(crate) fn prepare(&self, spec: PluginSpec) -> Result<Arc<Plugin>, PluginError> {
        tokio::task::block_in_place(|| self.host.prepare(spec))
    }

    /// The example in this language.
    pub(crate) fn example(
        &self,
        language: &str,
        config: &'static str,
        inspect: Inspect,
    ) -> Arc<Plugin> {
        let mut spec = spec(
            "probe",
            &format!("examples/hostcalls-{language}.wasm"),
            config,
        );
        spec.inspect = inspect;
        self.prepare(spec).expect("the example starts")
    }
}

pub(crate) fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(crate) fn head(method: &'static str, target: &str) -> RequestHead {
    RequestHead {
        method: bytes(method),
        target: Bytes::from(target.to_owned()),
        scheme: bytes("https"),
        authority: bytes("shop.example"),
        version: bytes("HTTP/1.1"),
        headers: [
            ("Host", "shop.example"),
            ("X-Probe", "one"),
            ("x-gone", "soon"),
            ("x-probe", "two"),
        ]
        .map(|(name, value)| (bytes(name), bytes(value)))
        .to_vec(),
        source: "192.0.2.1:4711".parse().expect("an address"),
        destination: "[2001:db8::1]:443".parse().expect("an address"),
        request_id: bytes("01JD0000000000000000000000"),
        received: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001),
        tls_version: Some(bytes("TLSv1.3")),
        sni: Some(bytes("shop.example")),
        ja4: Some(bytes("t13d1516h2_8daaf6152771_e5627efa2ab1")),
        client_cert: None,
    }
}

pub(crate) fn site() -> Arc<Properties> {
    Arc::new(Properties {
        site: "shop".into(),
        waf_policy: Some((7, bytes("{\"mode\":\"block\"}"))),
        extra: vec![],
    })
}

pub(crate) async fn get(plugin: &Arc<Plugin>, target: &str) -> Verdict {
    plugin
        .request(Arc::new(head("GET", target)), Body::None, site())
        .await
}

pub(crate) fn response(verdict: Verdict) -> LocalResponse {
    match verdict.decision {
        Decision::Respond(response) => response,
        other => panic!("{other:?} instead of a response"),
    }
}

/// The text a probe answered.
pub(crate) async fn probe(plugin: &Arc<Plugin>, target: &str) -> String {
    let response = response(get(plugin, target).await);
    assert_eq!(response.status, 200);
    String::from_utf8(response.body.to_vec()).expect("text")
}

/// A field of the list a verdict wants.
pub(crate) fn edited(verdict: &Verdict, name: &str) -> Option<String> {
    let fields = verdict.edits.as_ref()?;
    let (_, value) = fields
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Shows a part of a response's body, as a thread that may block.
pub(crate) fn response_body(open: &mut OpenContext, part: &'static str, end: bool) -> Verdict {
    tokio::task::block_in_place(|| open.response_body_blocking(vec![bytes(part)], end))
}
