//! A context that stays open after the request's first verdict.

use crate::plugin::Plugin;
use crate::pool::{Act, Job, wait_of};
use crate::slot::Slot;
use crate::source::Source;
use crate::spec::ResponseHead;
use crate::stream::Step;
use crate::ticket::{self, Waiter};
use crate::verdict::Verdict;
use crate::weight::Weight;
use bytes::Bytes;
use std::sync::Arc;

/// The context of a stream in its instance. Dropping it ends the context in the module.
///
/// After a [`crate::Decision::Fault`] the context is gone: further questions get [`crate::FaultKind::Lost`].
pub struct OpenContext {
    plugin: Arc<Plugin>,
    slot: Arc<Slot>,
    site: Arc<str>,
    source: Source,
    id: u32,
}

impl std::fmt::Debug for OpenContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenContext")
            .field("plugin", &self.plugin.name())
            .field("id", &self.id)
            .finish()
    }
}

impl OpenContext {
    pub(crate) fn new(
        plugin: Arc<Plugin>,
        slot: Arc<Slot>,
        site: Arc<str>,
        source: Source,
        id: u32,
    ) -> Self {
        Self {
            plugin,
            slot,
            site,
            source,
            id,
        }
    }

    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Shows more of the request's body. `end` with nothing more is fine.
    pub async fn request_body(&mut self, more: Vec<Bytes>, end: bool) -> Verdict {
        let len = len(&more);
        self.ask(Step::RequestBody { chunks: more, end }, !end, len)
            .await
    }

    /// Shows the head of the response.
    pub async fn response_headers(&mut self, head: ResponseHead) -> Verdict {
        self.ask(Step::ResponseHeaders(head), false, 0).await
    }

    /// Shows a part of the response's body. Only on a thread that may block (under `block_in_place`): it waits for the
    /// wait budget and the job's CPU time, and the module cannot have it wait for an HTTP call.
    pub fn response_body_blocking(&mut self, more: Vec<Bytes>, end: bool) -> Verdict {
        let len = len(&more);
        let (waiter, pending) = ticket::pair_blocking();
        let step = Step::ResponseBody { chunks: more, end };
        self.push(step, false, len, waiter, false);
        let plugin = &self.plugin;
        pending.wait(plugin.name(), plugin.core.wait_max, plugin.budget(len))
    }

    async fn ask(&mut self, step: Step, more: bool, body_len: usize) -> Verdict {
        let (waiter, pending) = ticket::pair();
        let long = match &step {
            Step::RequestBody { chunks, .. } => Weight::of_body(chunks).is_long(),
            _ => false,
        };
        self.push(step, more, body_len, waiter, long);
        let wait_max = wait_of(long, self.plugin.core.wait_max);
        pending.wait(self.plugin.name(), wait_max).await
    }

    fn push(&self, step: Step, more: bool, body_len: usize, waiter: Waiter, long: bool) {
        let id = self.id;
        let act = Act::Step {
            id,
            step,
            more,
            body_len,
            waiter,
        };
        self.act(act, long);
    }

    fn act(&self, act: Act, long: bool) {
        let mut job = Job::bound(&self.plugin, &self.slot, &self.site, act);
        job.source = Some(self.source);
        job.long = long;
        self.plugin.core.queue.push_bound(job);
    }
}

impl Drop for OpenContext {
    fn drop(&mut self) {
        self.act(Act::Close { id: self.id }, false);
    }
}

fn len(chunks: &[Bytes]) -> usize {
    chunks.iter().map(Bytes::len).sum()
}
