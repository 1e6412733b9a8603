//! What the host keeps beside an instance: the data of its wasmtime store.

use crate::body::Buffer;
use crate::calls::HttpCallRequest;
use crate::fields::FieldList;
use crate::limits::{CALLS_PER_CONTEXT, CALLS_PER_INSTANCE, Limiter, VERDICT_MAX};
use crate::native::Operators;
use crate::spec::Fields;
use crate::stream::Stream;
use crate::vm::Vm;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{Memory, TypedFunc};

/// Id of the root context in every instance.
pub(crate) const ROOT: u32 = 1;
/// Log lines kept for the sentence about a failed start.
const TAIL: usize = 6;

/// Data of a store.
pub(crate) struct State {
    pub(crate) vm: Arc<Vm>,
    pub(crate) limiter: Limiter,
    pub(crate) budget: Budget,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<i32, i32>>,
    /// The context host calls act on.
    pub(crate) context: u32,
    pub(crate) streams: HashMap<u32, Stream>,
    pub(crate) calls: Calls,
    pub(crate) operators: Operators,
    /// Streams that a callback of another context resumed, answered or closed.
    pub(crate) touched: Vec<u32>,
    /// Queues that got an item.
    pub(crate) queues_ready: Vec<u32>,
    /// Set by `proc_exit`.
    pub(crate) exit: Option<i32>,
    /// Buffered standard output and error.
    pub(crate) stdio: Vec<u8>,
    pub(crate) tail: VecDeque<String>,
    /// It is not configured yet.
    pub(crate) starting: bool,
}

/// HTTP calls of an instance.
#[derive(Default)]
pub(crate) struct Calls {
    next: u32,
    /// Token → the context that asked.
    pub(crate) pending: HashMap<u32, u32>,
    /// Calls made by the callback that runs now.
    pub(crate) outbox: Vec<(u32, HttpCallRequest)>,
    /// The response a callback is being shown.
    pub(crate) response: Option<CallResponse>,
}

/// A response while the module looks at it.
pub(crate) struct CallResponse {
    pub(crate) headers: FieldList,
    pub(crate) body: Buffer,
    pub(crate) trailers: FieldList,
}

impl Calls {
    /// A token for one more call of this context, if it may have one.
    pub(crate) fn admit(&mut self, context: u32) -> Option<u32> {
        let of_context = self.pending.values().filter(|of| **of == context).count();
        if self.pending.len() >= CALLS_PER_INSTANCE || of_context >= CALLS_PER_CONTEXT {
            crate::limits::hit("plugin_http_calls");
            return None;
        }
        self.next = self.next.wrapping_add(1).max(1);
        self.pending.insert(self.next, context);
        Some(self.next)
    }
}

impl State {
    pub(crate) fn new(vm: Arc<Vm>, memory_max: u64) -> Self {
        Self {
            vm,
            limiter: Limiter::new(memory_max),
            budget: Budget::default(),
            memory: None,
            allocate: None,
            context: ROOT,
            streams: HashMap::new(),
            calls: Calls::default(),
            operators: Operators::default(),
            touched: Vec::new(),
            queues_ready: Vec::new(),
            exit: None,
            stdio: Vec::new(),
            tail: VecDeque::new(),
            starting: true,
        }
    }

    /// That of a copy of a configured instance.
    pub(crate) fn of_copy(vm: Arc<Vm>, memory_max: u64, operators: Operators) -> Self {
        Self {
            operators,
            starting: false,
            ..Self::new(vm, memory_max)
        }
    }

    /// The stream host calls act on; none in a root context.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.streams.get(&self.context)
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.context)
    }

    /// The site host calls act for; empty in a root context.
    pub(crate) fn site(&self) -> Arc<str> {
        self.stream()
            .map_or_else(|| Arc::from(""), |stream| stream.properties.site.clone())
    }

    /// Has a stream looked at after the callback that runs.
    pub(crate) fn touch(&mut self, id: u32) {
        if !self.touched.contains(&id) {
            self.touched.push(id);
        }
    }

    /// Lets others have what only a running job needs.
    pub(crate) fn rest(&mut self) {
        self.operators.rest(&self.vm.patterns);
    }

    /// Keeps a line for the case that the start fails.
    pub(crate) fn remember(&mut self, line: &str) {
        if self.starting {
            if self.tail.len() >= TAIL {
                self.tail.pop_front();
            }
            let end = line.floor_char_boundary(300);
            self.tail
                .push_back(line.get(..end).unwrap_or_default().to_owned());
        }
    }
}

/// CPU time of a job.
///
/// The epoch's millisecond ticks only say when to look: what counts is the CPU clock of the thread, so that a module is
/// not blamed for a busy machine. A wall clock bound stands behind it, for a thread that gets no CPU at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    cpu: Duration,
    used_before: Duration,
    started: Instant,
}

/// Wall time over CPU time at which a job is ended all the same.
const WALL_FACTOR: u32 = 20;
const WALL_MIN: Duration = Duration::from_secs(2);
/// … but a job of seconds has no need of minutes.
const WALL_FACTOR_LONG: u32 = 4;

impl Default for Budget {
    fn default() -> Self {
        Self::start(Duration::ZERO)
    }
}

impl Budget {
    pub(crate) fn start(cpu: Duration) -> Self {
        Self {
            cpu,
            used_before: thread_cpu(),
            started: Instant::now(),
        }
    }

    pub(crate) fn used(&self) -> Duration {
        thread_cpu().saturating_sub(self.used_before)
    }

    /// Epoch ticks until the next look, or nothing if the time is up.
    pub(crate) fn ticks_left(&self) -> Option<u64> {
        let left = self
            .cpu
            .checked_sub(self.used())
            .filter(|left| !left.is_zero())?;
        let long = self.cpu.saturating_mul(WALL_FACTOR_LONG).max(VERDICT_MAX);
        let wall_max = self.cpu.saturating_mul(WALL_FACTOR).max(WALL_MIN).min(long);
        (self.started.elapsed() < wall_max).then(|| ticks(left))
    }

    pub(crate) fn ticks(&self) -> u64 {
        ticks(self.cpu)
    }
}

/// Ticks after which a guest is looked at whatever its budget: the host may be stopping.
const LOOK_TICKS: u64 = 50;

/// Whole ticks of one millisecond, and one for the part that has gone of the current tick.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000))
        .unwrap_or(LOOK_TICKS)
        .saturating_add(1)
        .min(LOOK_TICKS)
}

fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

impl CallResponse {
    /// What a call brought; a failed one has no field at all.
    pub(crate) fn new(result: Option<crate::HttpCallResponse>) -> Self {
        let mut body = Buffer::default();
        let (headers, trailers) = match result {
            Some(response) => {
                body.push(response.body);
                let status = bytes::Bytes::from(response.status.to_string());
                let mut headers: Fields = vec![(bytes::Bytes::from_static(b":status"), status)];
                headers.extend(response.headers);
                (headers, response.trailers)
            }
            None => (Fields::new(), Fields::new()),
        };
        Self {
            headers: FieldList::new(headers),
            body,
            trailers: FieldList::new(trailers),
        }
    }
}
