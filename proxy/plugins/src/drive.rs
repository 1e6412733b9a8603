//! Driving streams through a module's callbacks.

use crate::guest::{Fault, Guest};
use crate::limits::LINGERING_MAX;
use crate::state::{CallResponse, ROOT};
use crate::stream::{Phase, Step, Stream};
use crate::ticket::Waiter;
use crate::verdict::{Decision, FaultKind, Verdict};
use bytes::Bytes;
use std::time::Duration;

/// Calls of `proxy_on_queue_ready` in one job.
const QUEUE_CALLS_MAX: usize = 64;

/// Where a stream stands after its callbacks ran.
pub(crate) enum Progress {
    /// Nothing more to call for now.
    Settled {
        decision: Decision,
        /// The module wants more body before it lets go of what it has seen.
        held: bool,
    },
    /// It waits for an HTTP call.
    Waiting,
}

impl Progress {
    fn settled(decision: Decision) -> Self {
        Self::Settled {
            decision,
            held: false,
        }
    }
}

enum Action {
    Continue,
    Pause,
}

/// Pointers, sizes and ids are `i32` in Wasm.
fn count(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}

impl Guest {
    /// Takes the stream in and creates its context.
    pub(crate) fn open(&mut self, stream: Stream) -> Result<u32, (u32, Fault)> {
        let id = self.next_id();
        self.state().streams.insert(id, stream);
        if let Some(create) = self.exports.context_create.clone() {
            self.call(&create, id, (id.cast_signed(), ROOT.cast_signed()))
                .map_err(|fault| (id, fault))?;
        }
        Ok(id)
    }

    /// Runs the callbacks that are due.
    pub(crate) fn advance(&mut self, id: u32) -> Result<Progress, Fault> {
        loop {
            let pending = self.has_calls();
            let Some(stream) = self.stream(id) else {
                return Ok(Progress::settled(Decision::Fault(FaultKind::Lost)));
            };
            if let Some(response) = stream.local.take() {
                stream.steps.clear();
                return Ok(Progress::settled(Decision::Respond(response)));
            }
            if stream.closed {
                stream.steps.clear();
                return Ok(Progress::settled(Decision::Close));
            }
            if stream.paused {
                let blocks = stream.waiter.as_ref().is_some_and(Waiter::is_blocking);
                if pending && !blocks {
                    return Ok(Progress::Waiting);
                }
                if stream.steps.is_empty() {
                    let body_comes = stream.more && stream.phase == Phase::RequestHeaders;
                    if stream.partial || body_comes {
                        return Ok(Progress::Settled {
                            decision: Decision::Continue,
                            held: true,
                        });
                    }
                    return Ok(Progress::settled(Decision::Fault(FaultKind::Abi)));
                }
                // Nothing but the body can resume it: it wants to see that before its header fields go on.
                stream.paused = false;
            }
            let Some(step) = stream.steps.pop_front() else {
                return Ok(Progress::settled(Decision::Continue));
            };
            let action = self.step(id, step)?;
            if let Some(stream) = self.stream(id) {
                stream.paused = matches!(action, Action::Pause) && !stream.resumed;
            }
        }
    }

    /// One callback.
    fn step(&mut self, id: u32, step: Step) -> Result<Action, Fault> {
        let guest_id = id.cast_signed();
        let Some(stream) = self.store.data_mut().streams.get_mut(&id) else {
            return Ok(Action::Continue);
        };
        stream.resumed = false;
        stream.partial = false;
        let action = match step {
            Step::RequestHeaders { end } => {
                stream.phase = Phase::RequestHeaders;
                let fields = count(stream.request.items().len());
                match self.exports.request_headers.clone() {
                    Some(f) => self.call(&f, id, (guest_id, fields, end.into()))?,
                    None => 0,
                }
            }
            Step::RequestBody { chunks, end } => {
                stream.phase = Phase::RequestBody;
                stream.partial = !end;
                chunks
                    .into_iter()
                    .for_each(|chunk| stream.request_body.push(chunk));
                let len = count(stream.request_body.len());
                match self.exports.request_body.clone() {
                    Some(f) => self.call(&f, id, (guest_id, len, end.into()))?,
                    None => 0,
                }
            }
            Step::ResponseHeaders(head) => {
                stream.phase = Phase::ResponseHeaders;
                stream.status = head.status;
                let status = (
                    Bytes::from_static(b":status"),
                    Bytes::from(head.status.to_string()),
                );
                let fields = std::iter::once(status).chain(head.headers).collect();
                stream.response = crate::fields::FieldList::new(fields);
                let n = count(stream.response.items().len());
                match self.exports.response_headers.clone() {
                    Some(f) => self.call(&f, id, (guest_id, n, head.end.into()))?,
                    None => 0,
                }
            }
            Step::ResponseBody { chunks, end } => {
                stream.phase = Phase::ResponseBody;
                stream.partial = !end;
                chunks
                    .into_iter()
                    .for_each(|chunk| stream.response_body.push(chunk));
                let len = count(stream.response_body.len());
                match self.exports.response_body.clone() {
                    Some(f) => self.call(&f, id, (guest_id, len, end.into()))?,
                    None => 0,
                }
            }
        };
        // Envoy's finer values: 2 is "continue and end", all others stop in some way.
        Ok(if action == 0 || (action == 2 && self.in_headers(id)) {
            Action::Continue
        } else {
            Action::Pause
        })
    }

    /// Whether an HTTP call is out, which may resume or end any stream.
    fn has_calls(&self) -> bool {
        !self.store.data().calls.pending.is_empty()
    }

    /// Contexts that asked for more time after their stream's end.
    fn lingering(&self) -> usize {
        let streams = self.store.data().streams.values();
        streams.filter(|stream| stream.lingering).count()
    }

    fn in_headers(&mut self, id: u32) -> bool {
        self.stream(id)
            .is_some_and(|s| matches!(s.phase, Phase::RequestHeaders | Phase::ResponseHeaders))
    }

    /// What the stream has to say now, apart from whether it stays open.
    pub(crate) fn verdict(
        &mut self,
        id: u32,
        decision: Decision,
        held: bool,
        request_ends: bool,
    ) -> Verdict {
        let used = self.store.data().budget.used();
        let Some(stream) = self.stream(id) else {
            return Verdict::fault(FaultKind::Lost);
        };
        let in_request = stream.in_request();
        let (list, body) = if in_request {
            (&mut stream.request, &mut stream.request_body)
        } else {
            (&mut stream.response, &mut stream.response_body)
        };
        let verdict = Verdict {
            decision,
            held,
            edits: list.take_changes(),
            new_body: if held { None } else { body.release() },
            events: stream.take_events(),
            open: None,
            cpu: std::mem::take(&mut stream.cpu) + used,
        };
        if in_request && request_ends {
            stream.phase = Phase::Between;
        }
        verdict
    }

    /// Ends the context, unless the module asks for more time for it
    /// (`proxy_on_done` returned false); the stream, when it is over.
    pub(crate) fn finish(&mut self, id: u32) -> Result<Option<Stream>, Fault> {
        let Some(stream) = self.stream(id) else {
            return Ok(None);
        };
        if stream.phase != Phase::Done {
            stream.phase = Phase::Done;
            stream.steps.clear();
            if let Some(done) = self.exports.done.clone()
                && self.call(&done, id, id.cast_signed())? == 0
                && self.lingering() < LINGERING_MAX
            {
                if let Some(stream) = self.stream(id) {
                    stream.lingering = true;
                }
                return Ok(None);
            }
        } else if stream.lingering {
            return Ok(None);
        }
        if let Some(log) = self.exports.log.clone() {
            self.call(&log, id, id.cast_signed())?;
        }
        if let Some(delete) = self.exports.delete.clone() {
            self.call(&delete, id, id.cast_signed())?;
        }
        Ok(self.state().streams.remove(&id))
    }

    /// Shows the module what an HTTP call brought. As in Envoy, the callback is the root context's.
    pub(crate) fn http_response(
        &mut self,
        token: u32,
        response: CallResponse,
    ) -> Result<(), Fault> {
        let state = self.state();
        if state.calls.pending.remove(&token).is_none() {
            return Ok(());
        }
        let sizes = (
            count(response.headers.items().len()),
            count(response.body.len()),
            count(response.trailers.items().len()),
        );
        state.calls.response = Some(response);
        let result = match self.exports.http_call_response.clone() {
            Some(f) => self.call(
                &f,
                ROOT,
                (
                    ROOT.cast_signed(),
                    token.cast_signed(),
                    sizes.0,
                    sizes.1,
                    sizes.2,
                ),
            ),
            None => Ok(()),
        };
        self.state().calls.response = None;
        result
    }

    pub(crate) fn tick(&mut self) -> Result<(), Fault> {
        match self.exports.tick.clone() {
            Some(tick) => self.call(&tick, ROOT, ROOT.cast_signed()),
            None => Ok(()),
        }
    }

    /// Calls the module once for each item, as long as it takes items out; whether some are left.
    pub(crate) fn queue_ready(&mut self, id: u32) -> Result<bool, Fault> {
        let Some(ready) = self.exports.queue_ready.clone() else {
            return Ok(false);
        };
        for _ in 0..QUEUE_CALLS_MAX {
            let before = self.store.data().vm.queues.len(id);
            if before == 0 {
                return Ok(false);
            }
            self.call(&ready, ROOT, (ROOT.cast_signed(), id.cast_signed()))?;
            if self.store.data().vm.queues.len(id) >= before {
                return Ok(false);
            }
        }
        Ok(self.store.data().vm.queues.len(id) > 0)
    }

    /// Says good-bye to the root context of an instance that is let go.
    pub(crate) fn shut_down(&mut self, cpu: Duration) -> Result<(), Fault> {
        self.begin(cpu);
        if let Some(done) = self.exports.done.clone() {
            self.call(&done, ROOT, ROOT.cast_signed())?;
        }
        if let Some(log) = self.exports.log.clone() {
            self.call(&log, ROOT, ROOT.cast_signed())?;
        }
        if let Some(delete) = self.exports.delete.clone() {
            self.call(&delete, ROOT, ROOT.cast_signed())?;
        }
        Ok(())
    }
}
