//! A plugin host with the module of `guard.wat`.

use super::settings::waf_off;
use aegis_pipeline::{Named, Plugins, waf};
use aegis_plugins::{Host, HostConfig, HttpCalls, Inspect, NoHttpCalls, Plugin, PluginSpec};
use aegis_settings::model::{self, OnError, PluginStage};
use aegis_settings::resolved::{Waf, WafMode};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A host in a temporary folder.
pub struct Guard {
    host: Arc<Host>,
    dir: TempDir,
}

impl Guard {
    pub fn new() -> Self {
        Self::calling(Arc::new(NoHttpCalls))
    }

    pub fn calling(http: Arc<dyn HttpCalls>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config = HostConfig {
            threads: 1,
            queue_max: 1024,
            // Long enough that a busy machine does not matter.
            wait_max: Duration::from_secs(60),
            cache_dir: dir.path().join("cache"),
            runtime: tokio::runtime::Handle::current(),
            http,
            late_events: None,
        };
        Self {
            host: Host::new(config).expect("a host"),
            dir,
        }
    }

    fn module(&self, name: &str, wat: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{name}.wasm"));
        std::fs::write(&path, wat::parse_str(wat).expect("WAT")).expect("writes");
        path
    }

    /// A running plugin of this name.
    pub fn plugin(&self, name: &str, wat: &str) -> Arc<Plugin> {
        let spec = PluginSpec {
            name: name.to_owned(),
            module: self.module(name, wat),
            config: Bytes::new(),
            memory_max: 64 << 20,
            deadline: Duration::from_secs(5),
            deadline_per_kib: Duration::from_millis(5),
            deadline_max: aegis_plugins::limits::JOB_CPU_MAX,
            stack_max: aegis_plugins::limits::STACK_DEFAULT,
            http_call: vec!["web".to_owned()],
            inspect: Inspect::Body,
            body_max: 16 << 20,
            instances: aegis_plugins::Instances::Shared,
        };
        // On a thread of its own: preparing blocks.
        std::thread::scope(|scope| scope.spawn(|| self.host.prepare(spec)).join())
            .expect("no panic")
            .expect("a plugin")
    }

    /// The guard module in the place of the WAF.
    pub fn as_waf(&self) -> Plugins {
        let plugin = self.plugin("waf", include_str!("guard.wat"));
        Plugins {
            waf: [(waf::Profile::of(&waf_on()), plugin)].into(),
            ..Plugins::default()
        }
    }

    /// The guard module as the plugin `guard`.
    pub fn as_plugin(&self, change: impl FnOnce(&mut model::Plugin)) -> Plugins {
        self.running(include_str!("guard.wat"), change)
    }

    /// This module as the plugin `guard`.
    pub fn running(&self, wat: &str, change: impl FnOnce(&mut model::Plugin)) -> Plugins {
        let plugin = self.plugin("guard", wat);
        let mut settings = model::Plugin {
            name: "guard".to_owned(),
            module: PathBuf::new(),
            config: String::new(),
            stage: PluginStage::BeforeOrigin,
            on_error: OnError::Deny,
            memory_max: 64 << 20,
            deadline: Duration::from_secs(5),
            deadline_per_kib: Duration::from_millis(5),
            http_call: vec![],
            inspect_response: Inspect::Body,
            body_max: 16 << 20,
            instances: model::PluginInstances::Shared,
        };
        change(&mut settings);
        let named = Named {
            plugin,
            settings: Arc::new(settings),
        };
        Plugins {
            named: [("guard".to_owned(), named)].into(),
            ..Plugins::default()
        }
    }
}

/// A WAF that blocks, and looks at responses.
pub fn waf_on() -> Waf {
    Waf {
        mode: WafMode::Block,
        inspect_response: Inspect::Body,
        ..waf_off()
    }
}
