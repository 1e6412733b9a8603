//! From a spec to a running plugin.

use super::report::Progress;
use super::{Host, Made, Report, Running, Stage, Standing};
use crate::engine::Pair;
use crate::guest::{StartFault, Template};
use crate::limits::THREAD_STACK;
use crate::module;
use crate::plugin::{Parts, Plugin, Role};
use crate::snapshot::{Failure, Maker, Snapshot};
use crate::spec::Instances;
use crate::vm::Vm;
use crate::{PluginError, PluginSpec};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::SystemTime;
use wasmtime::Engine;

/// How instances are started, and what can be told of it.
struct Ready {
    template: Template,
    made: Made,
    image: Option<u64>,
    no_image: Option<String>,
}

impl Host {
    /// Makes a plugin ready: seconds for one that was never made ready here. Blocks; call it on a thread that may.
    ///
    /// The same spec over the same module gives the plugin that is running already.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a spec is made to be handed over; its parts may be kept one day"
    )]
    pub fn prepare(&self, spec: PluginSpec) -> Result<Arc<Plugin>, PluginError> {
        let _one = self.one.lock();
        let progress = self.reports.begin(&spec.name);
        let mut id = None;
        let result = self.prepare_one(&spec, &progress, &mut id);
        match &result {
            Ok(_) => self.reports.succeeded(&spec.name),
            Err(error) => self
                .reports
                .failed(&spec.name, id.as_ref(), error.to_string()),
        }
        result
    }

    /// What is being made ready, what runs, and what failed.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let plugins = self.plugins.lock();
        let running = plugins
            .iter()
            .filter_map(|(id, plugin)| Some((*id, plugin.upgrade()?)));
        self.reports.all(running)
    }

    /// Plugins that are being made ready now.
    #[must_use]
    pub fn preparing(&self) -> Vec<(String, Stage)> {
        let preparing = |report: Report| match report.standing {
            Standing::Preparing { stage, .. } => Some((report.plugin, stage)),
            Standing::Ready(_) | Standing::Failed { .. } => None,
        };
        self.reports().into_iter().filter_map(preparing).collect()
    }

    fn prepare_one(
        &self,
        spec: &PluginSpec,
        progress: &Progress<'_>,
        known: &mut Option<[u8; 32]>,
    ) -> Result<Arc<Plugin>, PluginError> {
        let wasm = module::read(&spec.module)?;
        let id = identity(spec, &wasm);
        *known = Some(id);
        if let Some(running) = self.plugins.lock().get(&id).and_then(Weak::upgrade) {
            return Ok(running);
        }
        progress.stage(Stage::Compiling);
        let refused = |what| PluginError::Spec {
            plugin: spec.name.clone(),
            what,
        };
        let engines = self.engines.get(spec.stack_max).map_err(refused)?;
        let ready = match &spec.instances {
            Instances::Shared => self.plain(spec, &engines.serving, &wasm)?,
            Instances::Recycled { .. } => self.copied(spec, &engines, &wasm, &id, progress)?,
        };
        drop(wasm);
        let Ready {
            template,
            made,
            image,
            no_image,
        } = ready;
        if image.is_none() {
            progress.stage(Stage::Configuring);
        }
        let built = template.image.as_ref().map(|image| image.built);
        let first =
            on_big_stack(|| template.start())?.map_err(|fault| start_error(&spec.name, fault))?;
        let running = Running {
            since: SystemTime::now(),
            took: progress.took(),
            built: built.unwrap_or_else(|| progress.took()),
            made,
            image,
            no_image,
        };
        told(&spec.name, &running);
        let plugin = Plugin::new(Parts {
            core: self.core.clone(),
            template,
            deadline: spec.deadline,
            deadline_per_kib: spec.deadline_per_kib,
            deadline_max: spec.deadline_max.max(spec.deadline),
            inspect: spec.inspect,
            requests_max: spec.instances.requests(),
            running,
        });
        plugin.install(Role::Request, Box::new(first), None);
        let mut plugins = self.plugins.lock();
        plugins.retain(|_, plugin| plugin.strong_count() > 0);
        plugins.insert(id, Arc::downgrade(&plugin));
        Ok(plugin)
    }

    /// Instances that are configured one by one.
    fn plain(&self, spec: &PluginSpec, engine: &Engine, wasm: &[u8]) -> Result<Ready, PluginError> {
        let module = self.compiled.module(engine, wasm);
        let (module, made) = module.map_err(|reason| PluginError::Invalid {
            path: spec.module.clone(),
            reason,
        })?;
        let template = Template {
            engine: engine.clone(),
            pre: module::link(&spec.module, engine, &module)?,
            vm: Arc::new(Vm::new(spec)),
            memory_max: spec.memory_max,
            ticker: self.engines.ticker().clone(),
            image: None,
        };
        Ok(Ready {
            template,
            made,
            image: None,
            no_image: None,
        })
    }

    /// Instances that are copies, if the module can have any.
    fn copied(
        &self,
        spec: &PluginSpec,
        engines: &Pair,
        wasm: &[u8],
        identity: &[u8; 32],
        progress: &Progress<'_>,
    ) -> Result<Ready, PluginError> {
        let maker = Maker {
            compiled: &self.compiled,
            engines,
            spec,
            wasm,
            identity,
        };
        let ready = |snapshot: Snapshot, made| {
            let image = Some(snapshot.image.memory);
            let template = Template {
                engine: engines.serving.clone(),
                pre: snapshot.pre,
                vm: snapshot.vm,
                memory_max: spec.memory_max,
                ticker: self.engines.ticker().clone(),
                image: Some(snapshot.image),
            };
            Ready {
                template,
                made,
                image,
                no_image: None,
            }
        };
        if let Some(snapshot) = maker.cached() {
            return Ok(ready(snapshot, Made::Cached));
        }
        let ticker = self.engines.ticker();
        match on_big_stack(|| maker.make(ticker, &|stage| progress.stage(stage)))? {
            Ok(snapshot) => Ok(ready(snapshot, Made::Built)),
            Err(Failure::Start(fault)) => Err(start_error(&spec.name, fault)),
            Err(Failure::Plugin(error)) => Err(error),
            Err(Failure::Unfit(why)) => {
                progress.stage(Stage::Compiling);
                let mut plain = self.plain(spec, &engines.serving, wasm)?;
                plain.no_image = Some(why.0);
                Ok(plain)
            }
        }
    }
}

/// Says that a plugin is ready; louder if not as its settings want it.
fn told(plugin: &str, running: &Running) {
    let seconds = running.took.as_secs_f32();
    let cached = running.made == Made::Cached;
    match &running.no_image {
        Some(why) => tracing::warn!(
            plugin,
            why,
            seconds,
            "NO SNAPSHOT can be made of this plugin: each of its instances is started and configured by itself, which is slow"
        ),
        None => tracing::info!(
            plugin,
            seconds,
            cached,
            snapshot_bytes = running.image,
            "plugin is ready"
        ),
    }
}

/// Runs guest code on a thread that has the stack for it.
fn on_big_stack<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T, PluginError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("aegis-plugin-start".into())
            .stack_size(THREAD_STACK)
            .spawn_scoped(scope, act)
            .map_err(|error| PluginError::Host(error.to_string()))?;
        thread.join().map_err(|_| {
            PluginError::Host("starting an instance panicked; this is a bug of Aegis".into())
        })
    })
}

fn start_error(plugin: &str, fault: StartFault) -> PluginError {
    PluginError::Start {
        plugin: plugin.to_owned(),
        phase: fault.phase,
        what: fault.what,
        log: fault.log,
    }
}

/// What makes two plugins the same.
fn identity(spec: &PluginSpec, wasm: &[u8]) -> [u8; 32] {
    let PluginSpec {
        name,
        module: _,
        config,
        memory_max,
        deadline,
        deadline_per_kib,
        deadline_max,
        stack_max,
        http_call,
        inspect,
        body_max,
        instances,
    } = spec;
    let mut hasher = blake3::Hasher::new_derive_key("aegis plugin identity 2");
    hasher.update(blake3::hash(wasm).as_bytes());
    hasher.update(blake3::hash(config).as_bytes());
    let rest = format!(
        "{name:?} {memory_max} {deadline:?} {deadline_per_kib:?} {deadline_max:?} {stack_max} {http_call:?} {inspect:?} {body_max} {instances:?}"
    );
    hasher.update(rest.as_bytes());
    *hasher.finalize().as_bytes()
}
