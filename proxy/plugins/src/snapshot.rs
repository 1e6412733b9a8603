//! Snapshots: an instance is configured and warmed up once, and every further one is a copy of it.
//!
//! What is copied is memory and globals, as the data of a new module (by Wizer) whose machine code and image lie in one
//! file ([`crate::compiled`]). wasmtime maps that image copy-on-write: an instance costs microseconds and, of memory, what
//! it writes to.
//!
//! Not every module can have one; it then runs as it is, and the plugin says why ([`Unfit`]).
//!
//! All copies begin equal: with the same hash seeds and the same state of every random number generator inside. What must
//! differ comes from the host, live: request ids, clocks, and random bytes (`random_get`).

mod kept;
mod segments;
mod warm;

pub(crate) use kept::{Datum, Kept, Metric};

use crate::PluginError;
use crate::compiled::{Compiled, Entry, in_parallel};
use crate::engine::{Pair, Ticker};
use crate::guest::{Guest, Image, StartFault, Template};
use crate::module;
use crate::spec::{Instances, PluginSpec};
use crate::vm::Vm;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use wasmtime::{Instance, InstancePre, Module, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

/// Raised whenever a module would find something else while it is configured, or a file holds something else.
const FORMAT: &str = "aegis snapshot 1";
/// Called last before the snapshot is taken: a module tidies up, and may do what is only right for a short life.
const SETTLE: &str = "aegis_before_snapshot";

/// The module cannot have a snapshot.
#[derive(Debug)]
pub(crate) struct Unfit(pub(crate) String);

/// Why there is no snapshot.
pub(crate) enum Failure {
    /// The plugin runs without.
    Unfit(Unfit),
    /// The plugin does not run at all.
    Start(StartFault),
    Plugin(PluginError),
}

impl From<StartFault> for Failure {
    fn from(fault: StartFault) -> Self {
        Self::Start(fault)
    }
}

fn unfit(why: impl Into<String>) -> Failure {
    Failure::Unfit(Unfit(why.into()))
}

/// Makes and keeps snapshots.
pub(crate) struct Maker<'a> {
    pub(crate) compiled: &'a Compiled,
    pub(crate) engines: &'a Pair,
    pub(crate) spec: &'a PluginSpec,
    pub(crate) wasm: &'a [u8],
    /// What the plugin is, as [`crate::Host`] tells two of them apart.
    pub(crate) identity: &'a [u8; 32],
}

/// A snapshot that can be copied.
pub(crate) struct Snapshot {
    pub(crate) vm: Arc<Vm>,
    pub(crate) pre: InstancePre<crate::state::State>,
    pub(crate) image: Image,
}

impl Maker<'_> {
    fn entry(&self) -> Entry {
        let mut hasher = blake3::Hasher::new();
        let warm = match &self.spec.instances {
            Instances::Recycled { warm_up, .. } => warm_up.is_some(),
            Instances::Shared => false,
        };
        hasher
            .update(self.identity)
            .update(env!("CARGO_PKG_VERSION").as_bytes())
            .update(&[u8::from(warm)]);
        for function in crate::host_functions() {
            hasher.update(function.name.as_bytes());
        }
        Entry::new(&self.engines.serving, FORMAT, hasher.finalize().as_bytes())
    }

    /// The snapshot that an earlier process made, if it is there and whole.
    pub(crate) fn cached(&self) -> Option<Snapshot> {
        let (module, note) = self.compiled.load(&self.engines.serving, self.entry())?;
        let kept: Kept = serde_json::from_slice(&note).ok()?;
        let vm = Arc::new(Vm::new(self.spec));
        if !in_parallel(|| kept.restore(&vm)).is_ok_and(|whole| whole) {
            tracing::warn!(plugin = %vm.name, "a snapshot's patterns or metrics cannot be made again: making it anew");
            return None;
        }
        self.ready(&module, vm, &kept).ok()
    }

    /// Configures an instance and makes a snapshot of it. Runs guest code: on a thread with the stack for it only.
    ///
    /// `stage` is told when the configuring begins, and when it is over.
    pub(crate) fn make(
        &self,
        ticker: &Arc<Ticker>,
        stage: &dyn Fn(crate::Stage),
    ) -> Result<Snapshot, Failure> {
        let merged = segments::merge(self.wasm).map_err(unfit)?;
        let wizer = Wizer::new();
        let (context, instrumented) = quietly(|| wizer.instrument(&merged))?;
        let (module, _) = self
            .compiled
            .module(&self.engines.passing, &instrumented)
            .map_err(unfit)?;
        drop(instrumented);
        let began = Instant::now();
        let engine = &self.engines.passing;
        let pre = module::link(&self.spec.module, engine, &module).map_err(Failure::Plugin)?;
        stage(crate::Stage::Configuring);
        let template = Template {
            engine: engine.clone(),
            pre,
            vm: Arc::new(Vm::new(self.spec)),
            memory_max: self.spec.memory_max,
            ticker: ticker.clone(),
            image: None,
        };
        let (mut guest, instance) = template.configured()?;
        self.settle(&mut guest, &instance)?;
        stage(crate::Stage::Packing);
        let memory = u64::try_from(guest.memory_size()).unwrap_or(u64::MAX);
        let mut kept = Kept::of(&template.vm, guest.last_context(), memory).map_err(unfit)?;
        let wasm = quietly(|| {
            let mut state = Live {
                guest: &mut guest,
                instance,
                broken: false,
            };
            let snapshot = at_once(wizer.snapshot(&context, &mut state));
            if state.broken {
                wasmtime::bail!("its globals or memory cannot be read");
            }
            snapshot.unwrap_or_else(|| Err(wasmtime::Error::msg("it waits for something")))
        })?;
        drop((guest, context));
        drop(merged);
        let wasm = segments::merge(&wasm).map_err(unfit)?;
        let note = || {
            kept.built_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            // Only numbers, texts and lists: there is nothing in it that JSON cannot say.
            serde_json::to_vec(&kept).unwrap_or_default()
        };
        let module = self
            .compiled
            .compile(&self.engines.serving, self.entry(), &wasm, note)
            .map_err(unfit)?;
        drop(wasm);
        let snapshot = self.ready(&module, template.vm, &kept)?;
        // As a restart would have it: patterns that were made among all that compiling needed keep its pages in use.
        Ok(self.cached().unwrap_or(snapshot))
    }

    /// Warms an instance up and has it tidy up.
    fn settle(&self, guest: &mut Guest, instance: &Instance) -> Result<(), Failure> {
        let state = guest.state();
        if !state.calls.outbox.is_empty() {
            return Err(unfit("it makes HTTP calls while it is configured"));
        }
        if !state.queues_ready.is_empty() {
            return Err(unfit("it put items into a queue while it was configured"));
        }
        let warm_up = match &self.spec.instances {
            Instances::Recycled { warm_up, .. } => warm_up.as_ref(),
            Instances::Shared => None,
        };
        if let Some(properties) = warm_up {
            warm::everything(guest, properties)?;
        }
        let settle = instance.get_typed_func::<(), ()>(&mut guest.store, SETTLE);
        if let Ok(settle) = settle {
            guest.begin(crate::limits::CONFIGURE_MAX);
            guest
                .call(&settle, crate::state::ROOT, ())
                .map_err(|fault| StartFault::new(SETTLE, fault.detail))?;
            // What collecting took away, pools of buffers for one, should be there again.
            if let Some(properties) = warm_up {
                warm::once_more(guest, properties)?;
            }
        }
        let state = guest.state();
        state.rest();
        if !state.streams.is_empty() {
            return Err(unfit("it keeps contexts open after their requests"));
        }
        Ok(())
    }

    fn ready(&self, module: &Module, vm: Arc<Vm>, kept: &Kept) -> Result<Snapshot, Failure> {
        let pre = module::link(&self.spec.module, &self.engines.serving, module)
            .map_err(|error| unfit(error.to_string()))?;
        let image = Image {
            patterns: vm.patterns.all(),
            last_context: kept.last_context,
            memory: kept.memory,
            built: Duration::from_millis(kept.built_ms),
        };
        Ok(Snapshot { vm, pre, image })
    }
}

/// Wizer is not made for modules somebody wrote to break it: what it panics at has no snapshot.
fn quietly<T>(act: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(unfit(format!("{error:#}"))),
        Err(_panic) => Err(unfit("Wizer cannot handle it")),
    }
}

/// The result of a future that never waits.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// The instance as Wizer reads it.
struct Live<'a> {
    guest: &'a mut Guest,
    instance: Instance,
    broken: bool,
}

impl InstanceState for Live<'_> {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let store = &mut self.guest.store;
        let global = self.instance.get_global(&mut *store, name);
        match global.map(|global| global.get(&mut *store)) {
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(value)) => SnapshotVal::F32(value),
            Some(Val::F64(value)) => SnapshotVal::F64(value),
            Some(Val::V128(value)) => SnapshotVal::V128(value.as_u128()),
            _ => {
                self.broken = true;
                SnapshotVal::I32(0)
            }
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&mut self.guest.store, name);
        match memory {
            Some(memory) => contents(memory.data(&self.guest.store)),
            None => self.broken = true,
        }
    }
}
