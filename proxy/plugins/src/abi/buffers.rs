//! Bodies and configurations.

use crate::body::Buffer;
use crate::memory::{Call, Halt, Status, answer, give, index, put_len, slice, view};
use crate::state::State;
use crate::stream::Phase;

const REQUEST_BODY: i32 = 0;
const RESPONSE_BODY: i32 = 1;
const CALL_RESPONSE_BODY: i32 = 4;
const VM_CONFIGURATION: i32 = 6;
const PLUGIN_CONFIGURATION: i32 = 7;

enum Source<'a> {
    Body(&'a Buffer),
    Bytes(&'a [u8]),
}

impl Source<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Body(body) => body.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    fn copy(&self, start: usize, out: &mut [u8]) -> bool {
        match self {
            Self::Body(body) => body.copy(start, out),
            Self::Bytes(bytes) => match bytes.get(start..).and_then(|rest| rest.get(..out.len())) {
                Some(from) => {
                    out.copy_from_slice(from);
                    true
                }
                None => false,
            },
        }
    }
}

fn source(state: &State, kind: i32) -> Result<Source<'_>, Halt> {
    let source = match kind {
        REQUEST_BODY => state
            .stream()
            .filter(|s| s.in_request())
            .map(|s| Source::Body(&s.request_body)),
        RESPONSE_BODY => state
            .stream()
            .filter(|s| s.phase >= Phase::ResponseHeaders)
            .map(|s| Source::Body(&s.response_body)),
        CALL_RESPONSE_BODY => state.calls.response.as_ref().map(|r| Source::Body(&r.body)),
        VM_CONFIGURATION => Some(Source::Bytes(&[])),
        PLUGIN_CONFIGURATION => Some(Source::Bytes(&state.vm.config)),
        _ => None,
    };
    Ok(source.ok_or(Status::NotFound)?)
}

pub(super) fn get(
    mut call: Call<'_>,
    kind: i32,
    start: i32,
    max: i32,
    ptr_at: i32,
    len_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let start = index(start);
        let all = source(call.data(), kind)?.len();
        let len = all.saturating_sub(start).min(index(max));
        give(&mut call, len, (ptr_at, len_at), |out, state| {
            source(state, kind).is_ok_and(|source| source.copy(start.min(all), out))
        })
    };
    answer(act())
}

pub(super) fn status(
    mut call: Call<'_>,
    kind: i32,
    len_at: i32,
    flags_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let len = source(state, kind)?.len();
        put_len(memory, len_at, len)?;
        put_len(memory, flags_at, 0)
    };
    answer(act())
}

/// Puts bytes in the place of a range: all of it replaces, an empty range at the start prepends, one at the end appends.
pub(super) fn set(
    mut call: Call<'_>,
    kind: i32,
    start: i32,
    len: i32,
    ptr: i32,
    size: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let with = slice(memory, ptr, size)?;
        let max = state.vm.body_max;
        let stream = state.stream_mut().ok_or(Status::BadArgument)?;
        let body = match (kind, stream.phase) {
            (REQUEST_BODY, Phase::RequestBody) => &mut stream.request_body,
            (RESPONSE_BODY, Phase::ResponseBody) => &mut stream.response_body,
            _ => return Err(Status::BadArgument.into()),
        };
        let old = body.len();
        let replaced = index(len).min(old - index(start).min(old));
        let new = old - replaced + with.len();
        // A body may always be replaced by a shorter one.
        if new > max && new > old {
            crate::limits::hit("plugin_body");
            return Err(Status::BadArgument.into());
        }
        body.splice(index(start), index(len), with);
        Ok(())
    };
    answer(act())
}
