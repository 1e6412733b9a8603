//! The plugins that settings want, and how they come to run.

mod standing;

use crate::modules;
use aegis_control::{Copies, Progress, Rejection};
use aegis_pipeline::waf::{self, Profile};
use aegis_pipeline::{Calls, Live, Named, Plugins, late_event};
use aegis_plugins::{
    Body, Decision, FaultKind, Host, HostConfig, Plugin, PluginSpec, Properties, RequestHead,
};
use aegis_settings::model;
use aegis_settings::resolved::Validated;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// How often the stage of a preparation is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Whether any route has the WAF on.
pub(crate) fn wants_waf(validated: &Validated) -> bool {
    !Profile::all(&validated.sites).is_empty()
}

/// Whether any route has a plugin, the WAF among them.
pub(crate) fn wants_any(validated: &Validated) -> bool {
    let mut routes = validated.sites.iter().flat_map(|site| &site.routes);
    wants_waf(validated) || routes.any(|route| !route.plugins.is_empty())
}

/// What a WAF profile with SecLang of its own costs a node.
#[derive(Debug, Clone)]
pub(crate) struct Price {
    /// Its files.
    pub(crate) seclang: Vec<PathBuf>,
    /// To make its rules ready after an edit, when the module is compiled already.
    pub(crate) start: Duration,
    /// Memory of an instance before it has served, in bytes.
    pub(crate) memory: u64,
}

/// One plugin to be run.
struct Wanted {
    what: What,
    spec: PluginSpec,
    key: Key,
}

enum What {
    Waf(Profile),
    Named(String, Arc<model::Plugin>),
}

/// What makes two preparations the same: the settings' values and the module's bytes.
type Key = [u8; 32];

/// The plugins of one configuration, running.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) plugins: Plugins,
    keys: BTreeSet<Key>,
}

/// The plugin host of the node; its threads start with the first plugin.
pub(crate) struct Sandbox {
    workers: Handle,
    node: model::Node,
    calls: Arc<Calls>,
    host: Mutex<Option<Arc<Host>>>,
}

impl Sandbox {
    pub(crate) fn new(workers: Handle, node: model::Node, live: &Arc<Live>) -> Self {
        Self {
            workers,
            node,
            calls: Calls::new(live),
            host: Mutex::new(None),
        }
    }

    /// Whether all that the settings want is among what runs; what cannot even be read is found out by preparing it.
    pub(crate) fn has_all(&self, validated: &Validated, running: &Prepared) -> bool {
        wanted(validated, &Copies::new(), &self.node.plugins)
            .is_ok_and(|wanted| wanted.iter().all(|one| running.keys.contains(&one.key)))
    }

    /// Makes all plugins of the settings ready. Blocks, for seconds when a module was never compiled here.
    pub(crate) fn prepare(
        &self,
        validated: &Validated,
        copies: &Copies,
        progress: &Progress,
        live: &Live,
    ) -> Result<Prepared, Rejection> {
        let wanted = wanted(validated, copies, &self.node.plugins)?;
        if wanted.is_empty() {
            return Ok(Prepared::default());
        }
        let host = self.host()?;
        let mut prepared = Prepared::default();
        let mut problems = Vec::new();
        for Wanted { what, spec, key } in wanted {
            if progress.is_superseded() {
                return Err(Rejection::new(
                    "newer settings came before these were ready",
                ));
            }
            match told(&host, progress, live, || host.prepare(spec)) {
                Ok(plugin) => {
                    prepared.keys.insert(key);
                    match what {
                        What::Waf(profile) => drop(prepared.plugins.waf.insert(profile, plugin)),
                        What::Named(name, settings) => {
                            drop(
                                prepared
                                    .plugins
                                    .named
                                    .insert(name, Named { plugin, settings }),
                            );
                        }
                    }
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        if problems.is_empty() {
            Ok(prepared)
        } else {
            Err(Rejection { problems })
        }
    }

    /// Shows every plugin a plain request: one that breaks at that would break at all of them.
    pub(crate) fn probe(&self, plugins: &Plugins) -> Result<(), Rejection> {
        let named = plugins.named.values().map(|named| &named.plugin);
        let problems: Vec<String> = plugins
            .waf
            .values()
            .chain(named)
            .filter_map(|plugin| self.probe_one(plugin))
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Rejection { problems })
        }
    }

    /// What each profile costs that has SecLang of its own.
    pub(crate) fn prices(plugins: &Plugins) -> Vec<Price> {
        let own = plugins.waf.iter();
        own.filter(|(profile, _)| profile.seclang().next().is_some())
            .map(|(profile, plugin)| Price {
                seclang: profile.seclang().cloned().collect(),
                start: plugin.running().built,
                memory: plugin.running().image.unwrap_or_else(|| plugin.memory()),
            })
            .collect()
    }

    fn probe_one(&self, plugin: &Arc<Plugin>) -> Option<String> {
        let asked = plugin.request(plain_request(), Body::None, plain_properties());
        let Decision::Fault(kind) = self.workers.block_on(asked).decision else {
            return None;
        };
        let text = format!(
            "plugin `{}` fails at a plain GET request ({kind}); its log says more",
            plugin.name()
        );
        match kind {
            FaultKind::Trap
            | FaultKind::Exit
            | FaultKind::Memory
            | FaultKind::Stack
            | FaultKind::Deadline => Some(text),
            // A full queue says nothing about the plugin, nor does a call to a pool that does not serve yet.
            FaultKind::QueueFull
            | FaultKind::QueueWait
            | FaultKind::Abi
            | FaultKind::Refused
            | FaultKind::Lost => {
                tracing::warn!("{text}");
                None
            }
        }
    }

    /// What is being made ready, for people: `compiling waf`.
    pub(crate) fn preparing(&self) -> Vec<String> {
        let host = self.host.lock().clone();
        host.map(|host| stages(&host)).unwrap_or_default()
    }

    /// How every plugin stands, for people and programs.
    pub(crate) fn standing(&self) -> Value {
        let host = self.host.lock().clone();
        host.map_or_else(|| json!([]), |host| standing::of(&host.reports()))
    }

    fn host(&self) -> Result<Arc<Host>, Rejection> {
        let mut host = self.host.lock();
        if let Some(host) = &*host {
            return Ok(Arc::clone(host));
        }
        let pool = &self.node.plugins;
        let made = Host::new(HostConfig {
            threads: pool.threads,
            queue_max: pool.queue_max,
            wait_max: pool.wait_max,
            cache_dir: self.node.state_dir.join("modules"),
            runtime: self.workers.clone(),
            http: Arc::clone(&self.calls) as _,
            late_events: Some(Arc::new(late_event)),
        });
        let made = made.map_err(|error| Rejection::new(error.to_string()))?;
        *host = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// Runs a preparation, and says every now and then where it stands.
fn told<T: Send>(
    host: &Host,
    progress: &Progress,
    live: &Live,
    act: impl FnOnce() -> T + Send,
) -> T {
    let (done, waits) = sync_channel::<()>(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            while waits.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let text = stages(host).join(", ");
                live.say(text.clone());
                progress.say(text);
            }
        });
        let result = act();
        drop(done);
        result
    })
}

fn stages(host: &Host) -> Vec<String> {
    host.preparing()
        .into_iter()
        .map(|(plugin, stage)| format!("{} plugin {plugin}", standing::word(stage)))
        .collect()
}

/// The plugins that the routes use.
fn wanted(
    validated: &Validated,
    copies: &Copies,
    node: &model::PluginPool,
) -> Result<Vec<Wanted>, Rejection> {
    let mut out = Vec::new();
    let mut problems = Vec::new();
    let profiles = Profile::all(&validated.sites);
    if !profiles.is_empty() {
        let module = match modules::coraza_copy(copies) {
            Some(copy) => {
                tracing::warn!(path = %copy.display(), "THE WAF RUNS FROM LAST KNOWN GOOD'S COPY OF ITS MODULE");
                copy.clone()
            }
            None => modules::coraza().map_err(|error| Rejection::new(format!("{error:#}")))?,
        };
        for profile in profiles {
            match profile.spec(&module, node.requests_per_instance) {
                Ok(spec) => add(&mut out, &mut problems, What::Waf(profile), spec),
                Err(error) => problems.push(error.to_string()),
            }
        }
    }
    let routes = validated.sites.iter().flat_map(|site| &site.routes);
    let used: BTreeSet<&String> = routes.flat_map(|route| &route.plugins).collect();
    for (name, plugin) in validated
        .settings
        .plugins
        .iter()
        .filter(|(name, _)| used.contains(name))
    {
        let what = What::Named(name.clone(), Arc::new(plugin.clone()));
        add(
            &mut out,
            &mut problems,
            what,
            PluginSpec::from_settings(plugin),
        );
    }
    if problems.is_empty() {
        Ok(out)
    } else {
        Err(Rejection { problems })
    }
}

fn add(out: &mut Vec<Wanted>, problems: &mut Vec<String>, what: What, spec: PluginSpec) {
    match key(&spec) {
        Ok(key) => out.push(Wanted { what, spec, key }),
        Err(error) => problems.push(format!(
            "plugin `{}`: {}: {error}",
            spec.name,
            spec.module.display()
        )),
    }
}

fn key(spec: &PluginSpec) -> std::io::Result<Key> {
    let module = hash_file(&spec.module)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(module.as_bytes());
    hasher.update(format!("{spec:?}").as_bytes());
    Ok(*hasher.finalize().as_bytes())
}

fn hash_file(path: &Path) -> std::io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(hasher.finalize())
}

/// The defaults of a site, under a number that no policy of a route has.
fn plain_properties() -> Arc<Properties> {
    Arc::new(waf::plain())
}

fn plain_request() -> Arc<RequestHead> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bytes = Bytes::from_static;
    let field = |name: &'static [u8], value: &'static [u8]| (bytes(name), bytes(value));
    Arc::new(RequestHead {
        method: bytes(b"GET"),
        target: bytes(b"/"),
        scheme: bytes(b"https"),
        authority: bytes(b"localhost"),
        version: bytes(b"HTTP/1.1"),
        headers: vec![
            field(b"Host", b"localhost"),
            field(b"User-Agent", b"aegis-probe"),
            field(b"Accept", b"*/*"),
        ],
        source: local,
        destination: local,
        request_id: bytes(b"00000000000000000000000000"),
        received: SystemTime::now(),
        tls_version: None,
        sni: None,
        ja4: None,
        client_cert: None,
    })
}
