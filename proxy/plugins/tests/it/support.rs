//! A host in a temporary folder, and modules from WAT.

use aegis_plugins::{
    Body, Decision, Host, HostConfig, HttpCalls, Inspect, Instances, LateEvent, LocalResponse,
    NoHttpCalls, OpenContext, Plugin, PluginError, PluginSpec, Properties, RequestHead, Verdict,
};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Imports, memory, allocator and helpers; `{}` is the module's own part.
///
/// Bytes 0 to 1023 are for the data of a test, 1024 to 1055 for words the host writes, the heap begins at 65536 and starts
/// again with every context.
const PRELUDE: &str = include_str!("prelude.wat");

pub(crate) struct Bench {
    pub(crate) host: Arc<Host>,
    pub(crate) dir: TempDir,
}

pub(crate) struct Options {
    pub(crate) threads: usize,
    pub(crate) queue_max: usize,
    pub(crate) wait_max: Duration,
    pub(crate) http: Arc<dyn HttpCalls>,
    pub(crate) late: Option<Arc<dyn Fn(LateEvent) + Send + Sync>>,
    /// A folder of compiled modules that lives longer than the test.
    pub(crate) cache: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 2,
            queue_max: 1024,
            // Long enough that a busy machine does not matter.
            wait_max: Duration::from_secs(60),
            http: Arc::new(NoHttpCalls),
            late: None,
            cache: None,
        }
    }
}

pub(crate) fn bench() -> Bench {
    bench_with(Options::default())
}

pub(crate) fn bench_with(options: Options) -> Bench {
    if std::env::var_os("AEGIS_TEST_LOG").is_some() {
        aegis_telemetry::log::init(aegis_telemetry::log::Level::Debug, false);
    }
    let dir = tempfile::tempdir().expect("a folder");
    let host = Host::new(HostConfig {
        threads: options.threads,
        queue_max: options.queue_max,
        wait_max: options.wait_max,
        cache_dir: options.cache.unwrap_or_else(|| dir.path().join("cache")),
        runtime: tokio::runtime::Handle::current(),
        http: options.http,
        late_events: options.late,
    });
    Bench {
        host: host.expect("a host"),
        dir,
    }
}

/// The module with this part of its own.
pub(crate) fn wat(own: &str) -> String {
    wat_with("(call $bump (local.get $n))", own)
}

/// The module with this allocator (`$n` bytes) and this part of its own.
pub(crate) fn wat_with(allocate: &str, own: &str) -> String {
    PRELUDE
        .replace("{allocate}", allocate)
        .replace("{own}", own)
}

impl Bench {
    pub(crate) fn spec(&self, name: &str, wat: &str) -> PluginSpec {
        let module = self.dir.path().join(format!("{name}.wasm"));
        let bytes = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
        std::fs::write(&module, bytes).expect("writes");
        PluginSpec {
            name: name.to_owned(),
            module,
            config: Bytes::from_static(b"config of the plugin"),
            memory_max: 16 << 20,
            deadline: Duration::from_millis(50),
            deadline_per_kib: Duration::from_millis(1),
            deadline_max: aegis_plugins::limits::JOB_CPU_MAX,
            stack_max: aegis_plugins::limits::STACK_DEFAULT,
            http_call: vec!["allowed".into()],
            inspect: Inspect::Off,
            body_max: 1 << 20,
            instances: Instances::Shared,
        }
    }

    pub(crate) fn prepare(&self, spec: PluginSpec) -> Result<Arc<Plugin>, PluginError> {
        tokio::task::block_in_place(|| self.host.prepare(spec))
    }

    pub(crate) fn plugin(&self, name: &str, own: &str) -> Arc<Plugin> {
        self.prepare(self.spec(name, &wat(own))).expect("a plugin")
    }

    pub(crate) fn inspecting(&self, name: &str, own: &str) -> Arc<Plugin> {
        let mut spec = self.spec(name, &wat(own));
        spec.inspect = Inspect::Body;
        self.prepare(spec).expect("a plugin")
    }
}

impl Bench {
    /// Copies of a snapshot that serve so many requests each.
    pub(crate) fn copies(&self, name: &str, own: &str, requests: u32) -> Arc<Plugin> {
        self.prepare(self.copied(name, own, requests))
            .expect("a plugin")
    }

    pub(crate) fn copied(&self, name: &str, own: &str, requests: u32) -> PluginSpec {
        let mut spec = self.spec(name, &wat(own));
        spec.instances = Instances::Recycled {
            requests,
            warm_up: None,
        };
        spec
    }
}

pub(crate) fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(crate) fn head(target: &'static str) -> RequestHead {
    RequestHead {
        method: bytes("GET"),
        target: bytes(target),
        scheme: bytes("https"),
        authority: bytes("shop.example"),
        version: bytes("HTTP/1.1"),
        headers: [
            ("Host", "shop.example"),
            ("X-One", "1"),
            ("Cookie", "a=1"),
            ("x-one", "2"),
            ("cookie", "b=2"),
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
        client_cert: Some(aegis_plugins::ClientCert {
            subject: bytes("CN=anna,O=Example"),
            sha256: bytes("00ff"),
        }),
    }
}

pub(crate) fn site(name: &str) -> Arc<Properties> {
    Arc::new(Properties {
        site: name.into(),
        waf_policy: Some((7, bytes("{\"mode\":\"block\"}"))),
        extra: vec![("aegis.route".into(), bytes("sites[0]"))],
    })
}

pub(crate) async fn ask(plugin: &Arc<Plugin>, target: &'static str) -> Verdict {
    ask_for(plugin, target, "a").await
}

pub(crate) async fn ask_for(plugin: &Arc<Plugin>, target: &'static str, of: &str) -> Verdict {
    plugin
        .request(Arc::new(head(target)), Body::None, site(of))
        .await
}

/// [`ask`] by another client.
pub(crate) async fn ask_from(
    plugin: &Arc<Plugin>,
    target: &'static str,
    address: [u8; 4],
) -> Verdict {
    let head = RequestHead {
        source: (address, 4711).into(),
        ..head(target)
    };
    plugin.request(Arc::new(head), Body::None, site("a")).await
}

pub(crate) async fn ask_with_body(plugin: &Arc<Plugin>, body: Body) -> Verdict {
    plugin.request(Arc::new(head("/")), body, site("a")).await
}

/// Shows a part of a response's body, as a thread that may block.
pub(crate) fn response_body(open: &mut OpenContext, part: &'static str, end: bool) -> Verdict {
    tokio::task::block_in_place(|| open.response_body_blocking(vec![bytes(part)], end))
}

pub(crate) fn response(verdict: Verdict) -> LocalResponse {
    match verdict.decision {
        Decision::Respond(response) => response,
        other => panic!("{other:?} instead of a response"),
    }
}

/// Status and body of the module's answer.
pub(crate) fn said(verdict: Verdict) -> (u16, String) {
    let response = response(verdict);
    (
        response.status,
        String::from_utf8_lossy(&response.body).into_owned(),
    )
}

/// The value of a series, 0 if there is none.
pub(crate) fn metric(series: &str) -> u64 {
    let text = aegis_telemetry::metrics::render();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a number"))
}

/// Waits until it is so; the runner's own time limit ends a wait for ever.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never so: {what}");
}
