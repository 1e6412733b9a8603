//! wasmtime's engines and the thread that makes their epochs pass.
//!
//! One engine serves all plugins with the same call stack; the stack is the only bound wasmtime keeps per engine.

use crate::limits::{STACK_MAX, TABLE_MAX, TABLES_MAX};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;
use wasmtime::{
    Config, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm,
};

/// One epoch.
const TICK: Duration = Duration::from_millis(1);
/// Ticks without a guest until the ticker sleeps.
const IDLE_TICKS: u32 = 100;
/// Different call stacks at once.
const ENGINES_MAX: usize = 8;
/// Instances of one engine at a time; plugins have bounds of their own, far below it.
const INSTANCES_MAX: u32 = 1024;
/// Addresses of one instance where there are few of them: it moves if it grows past that.
const MEMORY_SCANT: u64 = 256 << 20;
const GUARD_SCANT: u64 = 64 << 10;
/// What one instance may cost us beside its memory and tables: Go's export of every function, and their types.
const INSTANCE_BYTES_MAX: usize = 16 << 20;

/// Places that instances are put into, one after the other: memory is mapped there once for a module and after that only
/// given back, page by page, which an instance has written to.
///
/// The places are addresses, 4 GiB each as a guest can name so many; memory is what is in use.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(INSTANCES_MAX)
        .total_memories(INSTANCES_MAX)
        .total_tables(INSTANCES_MAX * 2)
        .max_memory_size(1 << 32)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(TABLE_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX);
    pool
}

fn config(stack_max: usize) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(stack_max)
        // Nothing runs on such a stack; the compiler of settings wants it to be the larger one.
        .async_stack_size(2 * STACK_MAX)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(12))
        // A Go heap image is mostly zeros; past this size it would be copied instead of mapped.
        .memory_guaranteed_dense_image_size(1 << 30);
    config
}

/// For instances that serve.
fn serving(stack_max: usize, pool: PoolingAllocationConfig) -> Config {
    let mut config = config(stack_max);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// For an instance that is configured once, to be copied: what counts is that it is compiled soon.
fn passing(stack_max: usize) -> Config {
    // Code that was not made better needs more of it.
    let mut config = config(stack_max.saturating_mul(4).min(STACK_MAX));
    config
        .cranelift_opt_level(OptLevel::None)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    config
}

/// Takes addresses when an instance is there, and only a few more than it has memory. Code checks each address itself.
fn scant(mut config: Config) -> Config {
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(MEMORY_SCANT)
        .memory_reservation_for_growth(0)
        .memory_guard_size(GUARD_SCANT);
    config
}

/// The engines for one call stack.
#[derive(Clone)]
pub(crate) struct Pair {
    /// For instances that serve.
    pub(crate) serving: Engine,
    /// For instances that snapshots are made of.
    pub(crate) passing: Engine,
}

/// Engines by call stack.
pub(crate) struct Engines {
    engines: Mutex<Vec<(usize, Pair)>>,
    ticker: Arc<Ticker>,
    thread: Option<JoinHandle<()>>,
}

impl Pair {
    /// With places in advance, or without where the process may not have the addresses.
    fn new(stack_max: usize, pool: PoolingAllocationConfig) -> Result<Self, String> {
        let engine = |config: Config| Engine::new(&config).map_err(|error| format!("{error:#}"));
        let no_pool = match engine(serving(stack_max, pool)) {
            Ok(serving) => {
                let passing = engine(passing(stack_max))?;
                return Ok(Self { serving, passing });
            }
            Err(error) => error,
        };
        let pair = Self {
            serving: engine(scant(config(stack_max)))?,
            passing: engine(scant(passing(stack_max)))?,
        };
        tracing::warn!(
            error = %no_pool,
            "addresses for the instances of plugins cannot be reserved, so that each is given its own when it starts: \
             that is slower, and so is their code; allow the process more virtual memory (`ulimit -v unlimited`, \
             systemd's LimitAS=infinity)"
        );
        Ok(pair)
    }
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

    /// The engines for plugins with this call stack.
    pub(crate) fn get(&self, stack_max: usize) -> Result<Pair, String> {
        if !(64 << 10..=STACK_MAX).contains(&stack_max) {
            return Err(format!("a call stack is 64 KiB to {} MiB", STACK_MAX >> 20));
        }
        let mut engines = self.engines.lock();
        if let Some((_, pair)) = engines.iter().find(|(stack, _)| *stack == stack_max) {
            return Ok(pair.clone());
        }
        if engines.len() >= ENGINES_MAX {
            return Err(format!(
                "at most {ENGINES_MAX} different call stacks can be had at once"
            ));
        }
        let pair = Pair::new(stack_max, pool())?;
        let mut ticked = self.ticker.engines.lock();
        ticked.extend([pair.serving.weak(), pair.passing.weak()]);
        engines.push((stack_max, pair.clone()));
        Ok(pair)
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

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Instance, Module, Store};

    #[test]
    fn without_addresses_for_all_instances_each_gets_its_own() {
        let mut pool = pool();
        // 4 PiB; user space has 128 TiB, or 64 PiB where it is asked for.
        pool.total_memories(1 << 20);
        assert!(Engine::new(&serving(1 << 20, pool.clone())).is_err());
        let pair = Pair::new(1 << 20, pool).expect("engines");
        let wat = "(module (memory (export \"m\") 1 8192) (data (i32.const 0) \"x\")
            (func (export \"f\") (result i32) (i32.load8_u (i32.const 0)))
            (func (export \"far\") (result i32) (i32.load8_u (i32.const -1))))";
        let wasm = wat::parse_str(wat).expect("wat");
        for engine in [&pair.serving, &pair.passing] {
            let module = Module::new(engine, &wasm).expect("compiles");
            let mut store = Store::new(engine, ());
            store.set_epoch_deadline(1);
            let instance = Instance::new(&mut store, &module, &[]).expect("starts");
            let mut call = |name: &str| {
                let f = instance.get_typed_func::<(), i32>(&mut store, name);
                f.expect("there").call(&mut store, ())
            };
            assert_eq!(call("f").ok(), Some(i32::from(b'x')));
            assert!(call("far").is_err(), "past its memory");
            // Past what is reserved for it.
            let memory = instance.get_memory(&mut store, "m").expect("a memory");
            memory.grow(&mut store, 8191).expect("grows");
            assert_eq!(memory.data(&store).first(), Some(&b'x'));
        }
    }
}
