//! The only way host functions reach guest memory: every pointer and length is checked, nothing panics.

use crate::state::State;
use bytes::Bytes;
use wasmtime::{Caller, Extern, Memory};

/// A host call in progress.
pub(crate) type Call<'a> = Caller<'a, State>;

/// Status codes of the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    ParseFailure = 4,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    InternalFailure = 10,
    Unimplemented = 12,
}

/// Why a host call ends early: with a status the module sees, or with the instance.
pub(crate) enum Halt {
    Status(Status),
    Trap(wasmtime::Error),
}

impl From<Status> for Halt {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Halt {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// The module broke the ABI in a way that leaves no sane answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AbiBreach(pub(crate) &'static str);

/// What a host function returns to wasmtime.
pub(crate) fn answer(result: Result<(), Halt>) -> wasmtime::Result<i32> {
    match result {
        Ok(()) => Ok(Status::Ok as i32),
        Err(Halt::Status(status)) => Ok(status as i32),
        Err(Halt::Trap(error)) => Err(error),
    }
}

fn memory(call: &mut Call<'_>) -> Result<Memory, Halt> {
    if let Some(memory) = call.data().memory {
        return Ok(memory);
    }
    // Only while the start section runs: instantiation has not returned the instance yet.
    match call.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => Err(Status::InvalidMemoryAccess.into()),
    }
}

/// Guest memory and our state, side by side.
pub(crate) fn view<'a>(call: &'a mut Call<'_>) -> Result<(&'a mut [u8], &'a mut State), Halt> {
    let memory = memory(call)?;
    Ok(memory.data_and_store_mut(call))
}

/// Pointers and lengths are unsigned in the ABI and `i32` in Wasm.
pub(crate) fn index(value: i32) -> usize {
    usize::try_from(value.cast_unsigned()).unwrap_or(usize::MAX)
}

/// Bytes of the guest.
pub(crate) fn slice(memory: &[u8], ptr: i32, len: i32) -> Result<&[u8], Halt> {
    let start = index(ptr);
    let end = start
        .checked_add(index(len))
        .ok_or(Status::InvalidMemoryAccess)?;
    Ok(memory.get(start..end).ok_or(Status::InvalidMemoryAccess)?)
}

/// A copy of bytes of the guest, at most `max` of them.
pub(crate) fn copy(memory: &[u8], ptr: i32, len: i32, max: usize) -> Result<Bytes, Halt> {
    let bytes = slice(memory, ptr, len)?;
    if bytes.len() > max {
        return Err(Status::BadArgument.into());
    }
    Ok(Bytes::copy_from_slice(bytes))
}

fn slice_mut(memory: &mut [u8], start: usize, len: usize) -> Result<&mut [u8], Halt> {
    let end = start.checked_add(len).ok_or(Status::InvalidMemoryAccess)?;
    Ok(memory
        .get_mut(start..end)
        .ok_or(Status::InvalidMemoryAccess)?)
}

/// Writes bytes at a place the guest named.
pub(crate) fn put(memory: &mut [u8], ptr: i32, bytes: &[u8]) -> Result<(), Halt> {
    slice_mut(memory, index(ptr), bytes.len())?.copy_from_slice(bytes);
    Ok(())
}

/// Writes a word at a place the guest named.
pub(crate) fn put_u32(memory: &mut [u8], ptr: i32, value: u32) -> Result<(), Halt> {
    put(memory, ptr, &value.to_le_bytes())
}

/// Writes a length, which no value of ours exceeds.
pub(crate) fn put_len(memory: &mut [u8], ptr: i32, len: usize) -> Result<(), Halt> {
    put_u32(
        memory,
        ptr,
        u32::try_from(len).map_err(|_| Status::InternalFailure)?,
    )
}

/// Hands `len` bytes to the module: asks its allocator, lets `fill` write there, and writes pointer and length to the
/// two places it named.
///
/// The allocator is guest code: it may call the host again, grow the memory, or lie. `fill` says `false` if what it
/// wanted to write changed meanwhile.
pub(crate) fn give(
    call: &mut Call<'_>,
    len: usize,
    (ptr_at, len_at): (i32, i32),
    fill: impl FnOnce(&mut [u8], &State) -> bool,
) -> Result<(), Halt> {
    let (memory, _) = view(call)?;
    slice(memory, ptr_at, 4)?;
    slice(memory, len_at, 4)?;
    let at = if len == 0 { 0 } else { allocate(call, len)? };
    let overlaps =
        |word: i32| len > 0 && at < index(word).saturating_add(4) && index(word) < at + len;
    if overlaps(ptr_at) || overlaps(len_at) {
        return Err(wasmtime::Error::new(AbiBreach(
            "its allocator returned memory that is in use",
        ))
        .into());
    }
    let (memory, state) = view(call)?;
    if !fill(slice_mut(memory, at, len)?, state) {
        return Err(Status::InternalFailure.into());
    }
    put_len(memory, ptr_at, at)?;
    put_len(memory, len_at, len)
}

/// Hands bytes to the module.
pub(crate) fn give_bytes(call: &mut Call<'_>, bytes: &[u8], at: (i32, i32)) -> Result<(), Halt> {
    give(call, bytes.len(), at, |out, _| {
        out.copy_from_slice(bytes);
        true
    })
}

/// A place of `len > 0` bytes from the module's allocator, inside its memory.
fn allocate(call: &mut Call<'_>, len: usize) -> Result<usize, Halt> {
    let size = i32::try_from(len).map_err(|_| Status::InternalFailure)?;
    let Some(allocator) = call.data().allocate.clone() else {
        // During the start section there is none yet.
        return Err(Status::InternalFailure.into());
    };
    let at = allocator.call(&mut *call, size)?;
    if at == 0 {
        return Err(Status::InternalFailure.into());
    }
    let (memory, _) = view(call)?;
    if slice(memory, at, size).is_err() {
        return Err(wasmtime::Error::new(AbiBreach(
            "its allocator returned memory it does not have",
        ))
        .into());
    }
    Ok(index(at))
}
