//! Going on, stopping, answering, and the life of contexts.

use super::maps::list;
use crate::fields::{is_token, is_value};
use crate::limits::{LOCAL_BODY_MAX, NAME_MAX};
use crate::memory::{Call, Halt, Status, answer, copy, give_bytes, put_u32, slice, view};
use crate::state::{ROOT, State};
use crate::stream::{Phase, Stream};
use crate::verdict::LocalResponse;

const HTTP_REQUEST: i32 = 0;
const HTTP_RESPONSE: i32 = 1;

/// Acts on the stream of the effective context, and has it looked at again if its own callback is not the one that runs.
fn on_stream(
    state: &mut State,
    act: impl FnOnce(&mut Stream) -> Result<(), Halt>,
) -> Result<(), Halt> {
    let context = state.context;
    act(state.stream_mut().ok_or(Status::BadArgument)?)?;
    state.touch(context);
    Ok(())
}

/// A stream of this direction, in the half it is in.
fn of_direction(stream: &Stream, direction: i32) -> Result<(), Halt> {
    match direction {
        HTTP_REQUEST if stream.in_request() => Ok(()),
        HTTP_RESPONSE if stream.phase >= Phase::ResponseHeaders => Ok(()),
        // Going on where nothing waits changes nothing.
        HTTP_REQUEST | HTTP_RESPONSE => Err(Status::Ok.into()),
        _ => Err(Status::BadArgument.into()),
    }
}

pub(super) fn continue_stream(mut call: Call<'_>, direction: i32) -> wasmtime::Result<i32> {
    answer(on_stream(call.data_mut(), |stream| {
        of_direction(stream, direction)?;
        stream.paused = false;
        stream.resumed = true;
        Ok(())
    }))
}

pub(super) fn close_stream(mut call: Call<'_>, direction: i32) -> wasmtime::Result<i32> {
    answer(on_stream(call.data_mut(), |stream| {
        of_direction(stream, direction)?;
        stream.closed = true;
        Ok(())
    }))
}

/// The status of the last gRPC call; there is none.
pub(super) fn get_status(
    mut call: Call<'_>,
    code_at: i32,
    ptr_at: i32,
    len_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, _) = view(&mut call)?;
        put_u32(memory, code_at, 0)?;
        give_bytes(&mut call, &[], (ptr_at, len_at))
    };
    answer(act())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn send_local_response(
    mut call: Call<'_>,
    status: i32,
    details: i32,
    details_len: i32,
    body: i32,
    body_len: i32,
    headers: i32,
    headers_len: i32,
    _grpc_status: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let status = u16::try_from(status)
            .ok()
            .filter(|s| (200..600).contains(s))
            .ok_or(Status::BadArgument)?;
        let headers = list(memory, headers, headers_len)?;
        if !headers
            .iter()
            .all(|(name, value)| is_token(name) && is_value(value))
        {
            return Err(Status::BadArgument.into());
        }
        let details = slice(memory, details, details_len)?;
        let response = LocalResponse {
            status,
            headers,
            body: copy(memory, body, body_len, LOCAL_BODY_MAX)?,
            details: String::from_utf8_lossy(details.get(..NAME_MAX).unwrap_or(details))
                .into_owned(),
        };
        on_stream(state, |stream| {
            if matches!(stream.phase, Phase::Between | Phase::Done) {
                return Err(Status::BadArgument.into());
            }
            // The first answer stands.
            stream.local.get_or_insert(response);
            Ok(())
        })
    };
    answer(act())
}

/// Ends a context whose `proxy_on_done` asked for time.
pub(super) fn done(mut call: Call<'_>) -> wasmtime::Result<i32> {
    answer(on_stream(call.data_mut(), |stream| {
        if !stream.lingering {
            return Err(Status::NotFound.into());
        }
        stream.lingering = false;
        Ok(())
    }))
}

pub(super) fn set_effective_context(mut call: Call<'_>, context: i32) -> wasmtime::Result<i32> {
    let context = context.cast_unsigned();
    let state = call.data_mut();
    if context != ROOT && !state.streams.contains_key(&context) {
        return answer(Err(Status::BadArgument.into()));
    }
    state.context = context;
    answer(Ok(()))
}
