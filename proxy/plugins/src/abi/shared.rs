//! Shared data, shared queues, metrics: what instances of a plugin have in common.

use crate::limits::NAME_MAX;
use crate::memory::{Call, Halt, Status, answer, copy, give_bytes, put, put_u32, slice, view};
use crate::vm::{MetricError, QueueError, SetError, SharedQueues};
use std::sync::Arc;

/// Largest item; the stores have their own bounds.
const VALUE_MAX: usize = 1 << 20;

impl From<QueueError> for Halt {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::NotFound => Status::NotFound,
            QueueError::Empty => Status::Empty,
            QueueError::Full => Status::InternalFailure,
        }
        .into()
    }
}

impl From<MetricError> for Halt {
    fn from(error: MetricError) -> Self {
        match error {
            MetricError::NotFound => Status::NotFound,
            MetricError::BadArgument => Status::BadArgument,
            MetricError::Full => Status::InternalFailure,
        }
        .into()
    }
}

pub(super) fn get_data(
    mut call: Call<'_>,
    key: i32,
    key_len: i32,
    ptr_at: i32,
    len_at: i32,
    cas_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        slice(memory, cas_at, 4)?;
        let (value, cas) = state
            .vm
            .data
            .get(&state.site(), slice(memory, key, key_len)?)
            .ok_or(Status::NotFound)?;
        give_bytes(&mut call, &value, (ptr_at, len_at))?;
        let (memory, _) = view(&mut call)?;
        put_u32(memory, cas_at, cas)
    };
    answer(act())
}

/// A null pointer removes the value.
pub(super) fn set_data(
    mut call: Call<'_>,
    key: i32,
    key_len: i32,
    value: i32,
    value_len: i32,
    cas: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let key = slice(memory, key, key_len)?;
        let removed = value == 0 && value_len == 0;
        let value = if removed {
            None
        } else {
            Some(copy(memory, value, value_len, VALUE_MAX)?)
        };
        state
            .vm
            .data
            .set(&state.site(), key, value, cas.cast_unsigned())
            .map_err(|error| match error {
                SetError::CasMismatch => Status::CasMismatch.into(),
                SetError::Full => Status::InternalFailure.into(),
            })
    };
    answer(act())
}

pub(super) fn register_queue(
    call: Call<'_>,
    name: i32,
    name_len: i32,
    id_at: i32,
) -> wasmtime::Result<i32> {
    queue_id(call, None, (name, name_len), id_at, |queues, site, name| {
        queues.register(site, name)
    })
}

/// Only this plugin's own queues can be found: the VM id is its name, or empty.
pub(super) fn resolve_queue(
    call: Call<'_>,
    vm: i32,
    vm_len: i32,
    name: i32,
    name_len: i32,
    id_at: i32,
) -> wasmtime::Result<i32> {
    let vm = Some((vm, vm_len));
    queue_id(call, vm, (name, name_len), id_at, |queues, site, name| {
        queues.resolve(site, name)
    })
}

/// Writes the id of the queue with this name.
fn queue_id(
    mut call: Call<'_>,
    vm: Option<(i32, i32)>,
    name: (i32, i32),
    id_at: i32,
    find: impl Fn(&SharedQueues, &Arc<str>, &[u8]) -> Result<u32, QueueError>,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        if let Some((at, len)) = vm {
            let vm = slice(memory, at, len)?;
            if !vm.is_empty() && vm != state.vm.name.as_bytes() {
                return Err(Status::NotFound.into());
            }
        }
        slice(memory, id_at, 4)?;
        let name = slice(memory, name.0, name.1)?;
        let id = find(&state.vm.queues, &state.site(), name)?;
        put_u32(memory, id_at, id)
    };
    answer(act())
}

pub(super) fn enqueue(
    mut call: Call<'_>,
    id: i32,
    value: i32,
    value_len: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let item = copy(memory, value, value_len, VALUE_MAX)?;
        let id = id.cast_unsigned();
        state.vm.queues.push(&state.site(), id, item)?;
        if !state.queues_ready.contains(&id) {
            state.queues_ready.push(id);
        }
        Ok(())
    };
    answer(act())
}

pub(super) fn dequeue(
    mut call: Call<'_>,
    id: i32,
    ptr_at: i32,
    len_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        slice(memory, ptr_at, 4)?;
        slice(memory, len_at, 4)?;
        let (vm, site, id) = (state.vm.clone(), state.site(), id.cast_unsigned());
        let item = vm.queues.pop(&site, id)?;
        let given = give_bytes(&mut call, &item, (ptr_at, len_at));
        if given.is_err() {
            vm.queues.put_back(&site, id, item);
        }
        given
    };
    answer(act())
}

pub(super) fn define_metric(
    mut call: Call<'_>,
    kind: i32,
    name: i32,
    name_len: i32,
    id_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        slice(memory, id_at, 4)?;
        let name = slice(memory, name, name_len)?;
        if name.len() > NAME_MAX {
            return Err(Status::BadArgument.into());
        }
        let id = state.vm.metrics.define(kind, name)?;
        put_u32(memory, id_at, id)
    };
    answer(act())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "wasmtime hands the caller over"
)]
pub(super) fn record_metric(call: Call<'_>, id: i32, value: i64) -> wasmtime::Result<i32> {
    let done = call
        .data()
        .vm
        .metrics
        .record(id.cast_unsigned(), value.cast_unsigned());
    answer(done.map_err(Halt::from))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "wasmtime hands the caller over"
)]
pub(super) fn increment_metric(call: Call<'_>, id: i32, offset: i64) -> wasmtime::Result<i32> {
    let done = call.data().vm.metrics.increment(id.cast_unsigned(), offset);
    answer(done.map_err(Halt::from))
}

pub(super) fn get_metric(mut call: Call<'_>, id: i32, at: i32) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let value = call.data().vm.metrics.get(id.cast_unsigned())?;
        let (memory, _) = view(&mut call)?;
        put(memory, at, &value.to_le_bytes())
    };
    answer(act())
}
