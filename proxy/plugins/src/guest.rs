//! One instance of a module: how it is started, what it exports, and what a failure of it is called.

use crate::abi::{self, Exit};
use crate::engine::{Running, Ticker};
use crate::limits::{CONFIGURE_MAX, COPY_GROWTH_MAX, GROWTH_MAX};
use crate::memory::AbiBreach;
use crate::native::{Operators, Pattern};
use crate::state::{Budget, ROOT, State};
use crate::stream::Stream;
use crate::verdict::FaultKind;
use crate::vm::Vm;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{
    Engine, Instance, InstancePre, Store, Trap, TypedFunc, UpdateDeadline, WasmParams, WasmResults,
};

/// The CPU time of a job is used up.
#[derive(Debug, thiserror::Error)]
#[error("it used up its CPU time")]
struct DeadlinePassed;

/// The host stops.
#[derive(Debug, thiserror::Error)]
#[error("the host stops")]
struct Stopping;

/// What ended an instance.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) detail: String,
}

/// Why an instance could not be started.
#[derive(Debug)]
pub(crate) struct StartFault {
    pub(crate) phase: &'static str,
    pub(crate) what: String,
    pub(crate) log: Vec<String>,
}

impl StartFault {
    pub(crate) fn new(phase: &'static str, what: impl Into<String>) -> Self {
        Self {
            phase,
            what: what.into(),
            log: Vec::new(),
        }
    }
}

/// All that is needed to start instances of a plugin.
pub(crate) struct Template {
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<State>,
    pub(crate) vm: Arc<Vm>,
    pub(crate) memory_max: u64,
    pub(crate) ticker: Arc<Ticker>,
    /// The module is a snapshot: its instances are configured already.
    pub(crate) image: Option<Image>,
}

/// What a snapshot has outside of its module.
pub(crate) struct Image {
    pub(crate) patterns: Arc<[Arc<Pattern>]>,
    /// The last context id that was used before it was taken.
    pub(crate) last_context: u32,
    /// Linear memory, in bytes.
    pub(crate) memory: u64,
    /// How long it took to make it.
    pub(crate) built: Duration,
}

type Callback<P, R> = Option<TypedFunc<P, R>>;

/// Callbacks, resolved once.
pub(crate) struct Exports {
    pub(crate) context_create: Callback<(i32, i32), ()>,
    pub(crate) request_headers: Callback<(i32, i32, i32), i32>,
    pub(crate) request_body: Callback<(i32, i32, i32), i32>,
    pub(crate) response_headers: Callback<(i32, i32, i32), i32>,
    pub(crate) response_body: Callback<(i32, i32, i32), i32>,
    pub(crate) done: Callback<i32, i32>,
    pub(crate) log: Callback<i32, ()>,
    pub(crate) delete: Callback<i32, ()>,
    pub(crate) tick: Callback<i32, ()>,
    pub(crate) queue_ready: Callback<(i32, i32), ()>,
    pub(crate) http_call_response: Callback<(i32, i32, i32, i32, i32), ()>,
}

/// An instance that is configured and ready for streams.
pub(crate) struct Guest {
    pub(crate) store: Store<State>,
    pub(crate) exports: Exports,
    ticker: Arc<Ticker>,
    next: u32,
    /// Streams opened here so far.
    opened: u32,
    base_memory: usize,
    growth_max: usize,
    memory_max: usize,
}

impl Template {
    /// Whether an instance is there in microseconds and without guest code that runs.
    pub(crate) fn is_snapshot(&self) -> bool {
        self.image.is_some()
    }

    /// A configured instance. Runs guest code: on a thread with [`crate::limits::THREAD_STACK`] only.
    pub(crate) fn start(&self) -> Result<Guest, StartFault> {
        match &self.image {
            Some(image) => self.copy(image),
            None => self.configured().map(|(guest, _)| guest),
        }
    }

    fn store(&self, state: State) -> Store<State> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limiter);
        let ticker = self.ticker.clone();
        store.epoch_deadline_callback(move |context| {
            if ticker.is_stopping() {
                return Err(wasmtime::Error::new(Stopping));
            }
            match context.data().budget.ticks_left() {
                Some(ticks) => Ok(UpdateDeadline::Continue(ticks)),
                None => Err(wasmtime::Error::new(DeadlinePassed)),
            }
        });
        store
    }

    /// A copy of the snapshot.
    fn copy(&self, image: &Image) -> Result<Guest, StartFault> {
        let operators = Operators::of_copy(image.patterns.clone());
        let state = State::of_copy(self.vm.clone(), self.memory_max, operators);
        let mut store = self.store(state);
        let (exports, _) = self
            .instantiate(&mut store)
            .map_err(|(phase, what)| StartFault::new(phase, what))?;
        Ok(self.guest(store, exports, image.last_context))
    }

    fn guest(&self, store: Store<State>, exports: Exports, last_context: u32) -> Guest {
        let memory = store.data().memory;
        Guest {
            base_memory: memory.map_or(0, |memory| memory.data_size(&store)),
            store,
            exports,
            ticker: self.ticker.clone(),
            next: last_context,
            opened: 0,
            growth_max: if self.is_snapshot() {
                COPY_GROWTH_MAX
            } else {
                GROWTH_MAX
            },
            memory_max: usize::try_from(self.memory_max).unwrap_or(usize::MAX),
        }
    }

    /// Starts and configures an instance by running it.
    pub(crate) fn configured(&self) -> Result<(Guest, Instance), StartFault> {
        let mut store = self.store(State::new(self.vm.clone(), self.memory_max));
        let _running = self.ticker.guest_runs();
        begin(&mut store, CONFIGURE_MAX);
        match self.configure(&mut store) {
            Ok((exports, instance)) => {
                let state = store.data_mut();
                state.starting = false;
                state.tail.clear();
                state.rest();
                Ok((self.guest(store, exports, ROOT), instance))
            }
            Err((phase, what)) => {
                abi::log::flush(store.data_mut(), abi::log::STDERR);
                Err(StartFault {
                    phase,
                    what,
                    log: store.data_mut().tail.drain(..).collect(),
                })
            }
        }
    }

    fn instantiate(
        &self,
        store: &mut Store<State>,
    ) -> Result<(Exports, Instance), (&'static str, String)> {
        let made = self.pre.instantiate(&mut *store);
        let instance = run(store, "instantiation", made)?;
        store.data_mut().memory = instance.get_memory(&mut *store, "memory");
        let allocate = function(store, &instance, "proxy_on_memory_allocate")?;
        let malloc = function(store, &instance, "malloc")?;
        store.data_mut().allocate = allocate.or(malloc);
        let exports = Exports::of(store, &instance)?;
        Ok((exports, instance))
    }

    fn configure(
        &self,
        store: &mut Store<State>,
    ) -> Result<(Exports, Instance), (&'static str, String)> {
        let (exports, instance) = self.instantiate(store)?;
        if let Some(initialize) = function::<(), ()>(store, &instance, "_initialize")? {
            let result = initialize.call(&mut *store, ());
            run(store, "_initialize", result)?;
            if let Some(main) = instance
                .get_func(&mut *store, "main")
                .and_then(|f| f.typed::<(i32, i32), i32>(&*store).ok())
            {
                let result = main.call(&mut *store, (0, 0));
                run(store, "main", result)?;
            }
        } else if let Some(start) = function::<(), ()>(store, &instance, "_start")? {
            let result = start.call(&mut *store, ());
            // A command that ends its `main` with success is ready.
            if store.data().exit != Some(0) {
                run(store, "_start", result)?;
            }
            store.data_mut().exit = None;
        }
        if let Some(create) = &exports.context_create {
            let result = create.call(&mut *store, (ROOT.cast_signed(), 0));
            run(store, "proxy_on_context_create", result)?;
        }
        let config = i32::try_from(self.vm.config.len()).unwrap_or(i32::MAX);
        for (phase, size) in [("proxy_on_vm_start", 0), ("proxy_on_configure", config)] {
            if let Some(callback) = function::<(i32, i32), i32>(store, &instance, phase)? {
                store.data_mut().context = ROOT;
                let result = callback.call(&mut *store, (ROOT.cast_signed(), size));
                if run(store, phase, result)? == 0 {
                    return Err((phase, "the module refused (returned false)".into()));
                }
            }
        }
        Ok((exports, instance))
    }
}

fn run<T>(
    store: &mut Store<State>,
    phase: &'static str,
    result: wasmtime::Result<T>,
) -> Result<T, (&'static str, String)> {
    result.map_err(|error| {
        let fault = classify(store.data(), &error);
        (phase, start_sentence(&fault, &error))
    })
}

fn function<P: WasmParams, R: WasmResults>(
    store: &mut Store<State>,
    instance: &Instance,
    name: &'static str,
) -> Result<Callback<P, R>, (&'static str, String)> {
    let Some(function) = instance.get_func(&mut *store, name) else {
        return Ok(None);
    };
    let typed = function.typed(&*store);
    typed.map(Some).map_err(|error| {
        (
            name,
            format!("the export has another type than the ABI gives it: {error:#}"),
        )
    })
}

impl Exports {
    fn of(store: &mut Store<State>, instance: &Instance) -> Result<Self, (&'static str, String)> {
        Ok(Self {
            context_create: function(store, instance, "proxy_on_context_create")?,
            request_headers: function(store, instance, "proxy_on_request_headers")?,
            request_body: function(store, instance, "proxy_on_request_body")?,
            response_headers: function(store, instance, "proxy_on_response_headers")?,
            response_body: function(store, instance, "proxy_on_response_body")?,
            done: function(store, instance, "proxy_on_done")?,
            log: function(store, instance, "proxy_on_log")?,
            delete: function(store, instance, "proxy_on_delete")?,
            tick: function(store, instance, "proxy_on_tick")?,
            queue_ready: function(store, instance, "proxy_on_queue_ready")?,
            http_call_response: function(store, instance, "proxy_on_http_call_response")?,
        })
    }
}

impl Guest {
    /// Gives the callbacks to come this much CPU time.
    pub(crate) fn begin(&mut self, cpu: Duration) {
        begin(&mut self.store, cpu);
    }

    /// Epochs pass while the guard lives.
    pub(crate) fn running(&self) -> Running {
        self.ticker.guest_runs()
    }

    pub(crate) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    pub(crate) fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        self.store.data_mut().streams.get_mut(&id)
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.store.data().streams.len()
    }

    pub(crate) fn memory_size(&self) -> usize {
        self.store
            .data()
            .memory
            .map_or(0, |memory| memory.data_size(&self.store))
    }

    /// Whether it has grown so much since it was configured that it should be replaced.
    pub(crate) fn outgrown(&self) -> bool {
        let now = self.memory_size();
        now > self.base_memory
            && (now - self.base_memory > self.growth_max || now > self.memory_max / 4 * 3)
    }

    /// Streams opened in this instance so far.
    pub(crate) fn opened(&self) -> u32 {
        self.opened
    }

    /// The last context id that was used.
    pub(crate) fn last_context(&self) -> u32 {
        self.next
    }

    /// A context id that was never used in this instance.
    pub(crate) fn next_id(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1).max(ROOT + 1);
        self.opened = self.opened.saturating_add(1);
        self.next
    }

    /// Calls into the module for a context.
    pub(crate) fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        callback: &TypedFunc<P, R>,
        context: u32,
        parameters: P,
    ) -> Result<R, Fault> {
        self.store.data_mut().context = context;
        callback.call(&mut self.store, parameters).map_err(|error| {
            abi::log::flush(self.store.data_mut(), abi::log::STDERR);
            Fault {
                kind: classify(self.store.data(), &error),
                detail: sentence(&error),
            }
        })
    }
}

fn begin(store: &mut Store<State>, cpu: Duration) {
    let state = store.data_mut();
    state.budget = Budget::start(cpu);
    state.limiter.denied = false;
    let ticks = state.budget.ticks();
    store.set_epoch_deadline(ticks);
}

/// What a failed call is called.
fn classify(state: &State, error: &wasmtime::Error) -> FaultKind {
    if error.is::<DeadlinePassed>() {
        return FaultKind::Deadline;
    }
    if error.is::<Stopping>() {
        return FaultKind::Refused;
    }
    if error.is::<AbiBreach>() {
        return FaultKind::Abi;
    }
    if error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow) {
        return FaultKind::Stack;
    }
    // A runtime that is refused memory panics: the panic is not the cause.
    if state.limiter.denied {
        return FaultKind::Memory;
    }
    if state.exit.is_some() || error.is::<Exit>() {
        return FaultKind::Exit;
    }
    FaultKind::Trap
}

/// The error in one line, without the backtrace's addresses.
fn sentence(error: &wasmtime::Error) -> String {
    error
        .root_cause()
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// What happened, for whoever wrote the settings.
fn start_sentence(kind: &FaultKind, error: &wasmtime::Error) -> String {
    let line = match kind {
        FaultKind::Deadline => format!("it did not end within {} s", CONFIGURE_MAX.as_secs()),
        FaultKind::Memory => "it asked for more memory than `memory_max` allows".to_owned(),
        FaultKind::Stack => "it used up its call stack".to_owned(),
        _ => sentence(error),
    };
    // The innermost named function of the guest says more than any trap code.
    let at = error
        .downcast_ref::<wasmtime::WasmBacktrace>()
        .and_then(|trace| {
            let mut names = trace
                .frames()
                .iter()
                .filter_map(wasmtime::FrameInfo::func_name);
            names.next().map(str::to_owned)
        });
    match at {
        Some(name) if *kind != FaultKind::Exit => format!("{line}, at `{name}`,"),
        _ => line,
    }
}
