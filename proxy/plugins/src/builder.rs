//! The thread that starts instances in the background: successors, replacements, more of them under load.
//!
//! Configuring a WAF takes a good part of a second; on a thread of the pool that would be a second without verdicts.

use crate::guest::StartFault;
use crate::host::{Alive, Core};
use crate::limits::THREAD_STACK;
use crate::plugin::{Plugin, Role};
use crate::pool::{NICE_COMPILE, be_nice};
use crate::slot::Slot;
use aegis_telemetry::events::PluginFault;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// First wait after an instance could not be started; doubled each time.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// An instance to start.
pub(crate) struct Order {
    plugin: Weak<Plugin>,
    role: Role,
    /// The instance that retires when this one is there.
    replaces: Option<Arc<Slot>>,
    not_before: Instant,
}

impl Order {
    pub(crate) fn new(plugin: &Arc<Plugin>, role: Role, replaces: Option<Arc<Slot>>) -> Self {
        Self {
            plugin: Arc::downgrade(plugin),
            role,
            replaces,
            not_before: Instant::now(),
        }
    }
}

/// Orders, at most a few for each plugin.
#[derive(Default)]
pub(crate) struct Builder {
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Default)]
struct Orders {
    open: Vec<Order>,
    stopped: bool,
}

impl Builder {
    pub(crate) fn order(&self, order: Order) {
        let mut orders = self.orders.lock();
        if !orders.stopped {
            orders.open.push(order);
            self.changed.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        let mut orders = self.orders.lock();
        orders.stopped = true;
        orders.open.clear();
        self.changed.notify_one();
    }

    fn is_stopped(&self) -> bool {
        self.orders.lock().stopped
    }

    fn next(&self, retiring: &dyn Fn() -> bool) -> Option<Order> {
        let mut orders = self.orders.lock();
        loop {
            if orders.stopped {
                return None;
            }
            let now = Instant::now();
            // While too many instances are on their way out, no further one is sent there.
            let wait = !retiring();
            let due = |order: &Order| order.not_before <= now && (wait || order.replaces.is_none());
            if let Some(place) = orders.open.iter().position(due) {
                return Some(orders.open.remove(place));
            }
            let next = orders
                .open
                .iter()
                .map(|order| order.not_before.max(now + RETRY_MIN))
                .min();
            match next {
                Some(at) => drop(self.changed.wait_until(&mut orders, at)),
                None => self.changed.wait(&mut orders),
            }
        }
    }
}

/// Starts the thread.
pub(crate) fn spawn(core: &Arc<Core>, alive: Alive) -> std::io::Result<Thread> {
    let core = core.clone();
    thread::Builder::new()
        .name("aegis-plugin-build".into())
        .stack_size(THREAD_STACK)
        .spawn(move || {
            let _alive = alive;
            be_nice(NICE_COMPILE);
            let full = || !core.may_retire();
            while let Some(order) = core.builder.next(&full) {
                build(&core.builder, order);
            }
        })
        .map(|handle| handle.thread().clone())
}

fn build(builder: &Builder, mut order: Order) {
    let Some(plugin) = order.plugin.upgrade() else {
        return;
    };
    match plugin.template().start() {
        Ok(guest) => {
            plugin.failures.store(0, Ordering::Relaxed);
            plugin.install(order.role, Box::new(guest), order.replaces.as_ref());
        }
        // It did not fail: it was ended.
        Err(_) if builder.is_stopped() => {}
        Err(StartFault { phase, what, log }) => {
            let failures = plugin.failures.fetch_add(1, Ordering::Relaxed);
            let wait = RETRY_MIN
                .saturating_mul(1 << failures.min(10))
                .min(RETRY_MAX);
            PluginFault {
                plugin: plugin.name(),
                kind: "start",
                detail: &format!(
                    "a further instance failed in {phase}: {what}; {}",
                    log.join(" | ")
                ),
            }
            .emit();
            order.not_before = Instant::now() + wait;
            builder.order(order);
        }
    }
}
