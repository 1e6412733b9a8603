//! The instance whose root context gets ticks and is told of queues; it is made when a module first asks for either.

use super::{Plugin, Role};
use crate::builder::Order;
use crate::pool::{Act, Job};
use crate::vm::Vm;
use std::sync::{Arc, Weak};

impl Plugin {
    /// Makes sure that there is, or will be, a root instance.
    pub(super) fn want_root(self: &Arc<Self>) {
        let mut slots = self.slots.lock();
        if slots.root.is_none() && !slots.building_root {
            slots.building_root = true;
            self.core.builder.order(Order::new(self, Role::Root, None));
        }
    }

    /// Queues got items: their root is told.
    pub(crate) fn queues_ready(self: &Arc<Self>, ids: &[u32]) {
        {
            let mut pending = self.queues_pending.lock();
            for id in ids {
                if !pending.contains(id) {
                    pending.push(*id);
                }
            }
            if pending.is_empty() {
                return;
            }
        }
        let root = self.slots.lock().root.clone();
        match root {
            Some(root) => self.core.queue.push_bound(Job::bound(
                self,
                &root,
                &Arc::from(""),
                Act::QueuesReady,
            )),
            None => self.want_root(),
        }
    }

    pub(crate) fn take_queues_ready(&self) -> Vec<u32> {
        std::mem::take(&mut self.queues_pending.lock())
    }

    fn tick_root(self: &Arc<Self>) {
        let root = self.slots.lock().root.clone();
        match root {
            Some(root) if root.claim_tick() => {
                self.core
                    .queue
                    .push_bound(Job::bound(self, &root, &Arc::from(""), Act::Tick));
            }
            // The last one still runs, or waits: one is as good as two.
            Some(_) => {}
            None => self.want_root(),
        }
    }
}

/// Sends ticks for as long as the plugin lives.
pub(super) async fn tick(plugin: Weak<Plugin>, vm: Arc<Vm>) {
    loop {
        let Some(period) = vm.tick() else {
            vm.tick_changed.notified().await;
            continue;
        };
        tokio::select! {
            () = vm.tick_changed.notified() => continue,
            () = tokio::time::sleep(period) => {}
        }
        match plugin.upgrade() {
            Some(plugin) => plugin.tick_root(),
            None => return,
        }
    }
}
