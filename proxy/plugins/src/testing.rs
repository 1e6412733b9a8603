//! What unit tests share.

use crate::plugin::Plugin;
use crate::pool::{Job, NewRequest, Task};
use crate::ticket::{self, Pending};
use crate::weight::Weight;
use crate::{
    Host, HostConfig, Inspect, Instances, NoHttpCalls, PluginSpec, Properties, RequestHead,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub(crate) fn spec(name: &str) -> PluginSpec {
    PluginSpec {
        name: name.to_owned(),
        module: "none.wasm".into(),
        config: Bytes::new(),
        memory_max: 16 << 20,
        deadline: Duration::from_millis(20),
        deadline_per_kib: Duration::from_millis(1),
        deadline_max: crate::limits::JOB_CPU_MAX,
        stack_max: crate::limits::STACK_DEFAULT,
        http_call: Vec::new(),
        inspect: Inspect::Off,
        body_max: 1 << 20,
        instances: Instances::Shared,
    }
}

/// A plugin whose host is gone: enough for jobs to belong to.
pub(crate) fn plugin(name: &str) -> Arc<Plugin> {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let host = Host::new(HostConfig {
        threads: 1,
        queue_max: 1,
        wait_max: Duration::from_secs(1),
        cache_dir: dir.path().to_owned(),
        runtime: runtime.handle().clone(),
        http: Arc::new(NoHttpCalls),
        late_events: None,
    })
    .expect("a host");
    let module = dir.path().join("module.wasm");
    let wat = r#"(module
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_0"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_context_create") (param i32 i32)))"#;
    std::fs::write(&module, wat::parse_str(wat).expect("wat")).expect("writes");
    let spec = PluginSpec {
        module,
        ..spec(name)
    };
    host.prepare(spec).expect("a plugin")
}

/// A plain request.
pub(crate) fn head() -> RequestHead {
    let address = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
    RequestHead {
        method: Bytes::from_static(b"GET"),
        target: Bytes::from_static(b"/"),
        scheme: Bytes::from_static(b"http"),
        authority: Bytes::new(),
        version: Bytes::from_static(b"HTTP/1.1"),
        headers: Vec::new(),
        source: address,
        destination: address,
        request_id: Bytes::new(),
        received: SystemTime::UNIX_EPOCH,
        tls_version: None,
        sni: None,
        ja4: None,
        client_cert: None,
    }
}

/// A request of a site with an expected cost in nanoseconds, and who waits for it.
pub(crate) fn request(plugin: &Arc<Plugin>, site: &str, cost: u64) -> (Job, Pending) {
    let (waiter, pending) = ticket::pair();
    let job = Job {
        plugin: plugin.clone(),
        site: site.into(),
        source: None,
        task: Task::Request(Box::new(NewRequest {
            head: Arc::new(head()),
            properties: Arc::new(Properties::default()),
            steps: VecDeque::new(),
            more: false,
            body_len: 0,
            weight: Weight::LIGHT,
            waiter,
        })),
        queued: Instant::now(),
        cost,
        long: false,
    };
    (job, pending)
}
