//! wasmtime's engines and the thread that makes their epochs pass.
//!
//! One engine serves all plugins with the same call stack; the stack is the only bound wasmtime keeps per engine.

use crate::limits::STACK_MAX;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;
use wasmtime::{Config, Engine, EngineWeak};

/// One epoch.
const TICK: Duration = Duration::from_millis(1);
/// Ticks without a guest until the ticker sleeps.
const IDLE_TICKS: u32 = 100;
/// Different call stacks at once.
const ENGINES_MAX: usize = 8;

fn config(stack_max: usize) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(stack_max)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(12))
        // A Go heap image is mostly zeros; past this size it would be copied instead of mapped.
        .memory_guaranteed_dense_image_size(1 << 30);
    config
}

/// Engines by call stack.
pub(crate) struct Engines {
    engines: Mutex<Vec<(usize, Engine)>>,
    ticker: Arc<Ticker>,
    thread: Option<JoinHandle<()>>,
}

impl Engines {
    pub(crate) fn start() -> std::io::Result<Self> {
        let ticker = Arc::new(Ticker::default());
        let of_thread = ticker.clone();
        let thread = thread::Builder::new()
            .name("aegis-epoch".into())
            .spawn(move || of_thread.run())?;
        *ticker.thread.lock() = Some(thread.thread().clone());
        Ok(Self {
            engines: Mutex::default(),
            ticker,
            thread: Some(thread),
        })
    }

    pub(crate) fn ticker(&self) -> &Arc<Ticker> {
        &self.ticker
    }

    /// The engine for plugins with this call stack.
    pub(crate) fn get(&self, stack_max: usize) -> Result<Engine, String> {
        if !(64 << 10..=STACK_MAX).contains(&stack_max) {
            return Err(format!("a call stack is 64 KiB to {} MiB", STACK_MAX >> 20));
        }
        let mut engines = self.engines.lock();
        if let Some((_, engine)) = engines.iter().find(|(stack, _)| *stack == stack_max) {
            return Ok(engine.clone());
        }
        if engines.len() >= ENGINES_MAX {
            return Err(format!(
                "at most {ENGINES_MAX} different call stacks can be had at once"
            ));
        }
        let engine = Engine::new(&config(stack_max)).map_err(|error| format!("{error:#}"))?;
        self.ticker.engines.lock().push(engine.weak());
        engines.push((stack_max, engine.clone()));
        Ok(engine)
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        self.ticker.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It goes on for guests that still run: their deadlines must pass, whoever waits for them or does not.
            thread.thread().unpark();
        }
    }
}

/// Increments the epochs once a millisecond while a guest runs, and sleeps when none does.
#[derive(Default)]
pub(crate) struct Ticker {
    engines: Mutex<Vec<EngineWeak>>,
    thread: Mutex<Option<Thread>>,
    running: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
    /// The host is going: guests are to end at once.
    stopping: AtomicBool,
}

impl Ticker {
    /// Epochs pass while the guard lives.
    pub(crate) fn guest_runs(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst)
            && let Some(thread) = &*self.thread.lock()
        {
            thread.unpark();
        }
        Running(self.clone())
    }

    /// Ends every guest at its next look at the clock, and those that begin later at their first.
    pub(crate) fn end_guests(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether guests are to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn run(&self) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) || self.running.load(Ordering::SeqCst) > 0 {
            idle = if self.running.load(Ordering::SeqCst) > 0 {
                0
            } else {
                idle + 1
            };
            if idle > IDLE_TICKS {
                self.parked.store(true, Ordering::SeqCst);
                // Both sides write first and read then: one of them sees the other.
                if self.running.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.parked.store(false, Ordering::SeqCst);
                idle = 0;
            }
            thread::sleep(TICK);
            for engine in self.engines.lock().iter().filter_map(EngineWeak::upgrade) {
                engine.increment_epoch();
            }
        }
    }
}

/// A guest that runs.
pub(crate) struct Running(Arc<Ticker>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
