//! Foreign functions: messages of our own modules to the host, and native operators.

use super::native;
use crate::limits::{EVENTS_BYTES_MAX, NAME_MAX};
use crate::memory::{Call, Halt, Status, answer, copy, give_bytes, slice, view};
use crate::verdict::ForeignEvent;

/// Functions the host has; their argument goes into the verdict.
const EVENTS: [&str; 1] = ["aegis_waf_event"];

pub(super) fn call_foreign_function(
    mut call: Call<'_>,
    name: i32,
    name_len: i32,
    argument: i32,
    argument_len: i32,
    ptr_at: i32,
    len_at: i32,
) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, state) = view(&mut call)?;
        let name = slice(memory, name, name_len)?;
        let (argument_at, result) = ((argument, argument_len), (ptr_at, len_at));
        match name {
            native::SEARCH => return native::search(&mut call, argument_at),
            native::COMPILE_TEXT => return native::compile(&mut call, true, argument_at, result),
            native::COMPILE_BYTES => return native::compile(&mut call, false, argument_at, result),
            _ if name.len() > NAME_MAX => return Err(Status::BadArgument.into()),
            _ => {}
        }
        let name = EVENTS
            .into_iter()
            .find(|known| known.as_bytes() == name)
            .ok_or(Status::NotFound)?;
        let data = copy(memory, argument, argument_len, EVENTS_BYTES_MAX)?;
        // Nothing comes back; a caller that wants nothing passes null for both places.
        let wants = ptr_at != 0 || len_at != 0;
        if wants {
            slice(memory, ptr_at, 4)?;
            slice(memory, len_at, 4)?;
        }
        let stream = state.stream_mut().ok_or(Status::BadArgument)?;
        if !stream.add_event(ForeignEvent { name, data }) {
            return Err(Status::InternalFailure.into());
        }
        if wants {
            give_bytes(&mut call, &[], (ptr_at, len_at))?;
        }
        Ok(())
    };
    answer(act())
}
