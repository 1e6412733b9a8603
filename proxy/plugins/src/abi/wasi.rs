//! WASI preview 1 that denies everything: no files, no sockets, no arguments, no environment.
//!
//! What a language runtime needs to start works (clock, randomness, lines on standard output and error); everything
//! else answers `EBADF` where it takes a descriptor and `ENOTCAPABLE` where it takes a path or a right.

use super::log::{STDERR, STDOUT, gather, stdio};
use super::time::{monotonic, wall};
use crate::limits::RANDOM_MAX;
use crate::memory::{Call, Halt, index, put, put_u32, view};
use crate::state::State;
use wasmtime::{FuncType, Linker, Val, ValType};

const SUCCESS: i32 = 0;
pub(super) const EBADF: i32 = 8;
const EFAULT: i32 = 21;
const EINVAL: i32 = 28;
pub(super) const ENOTCAPABLE: i32 = 76;

/// The module ended itself.
#[derive(Debug, thiserror::Error)]
#[error("the module called proc_exit({0})")]
pub(crate) struct Exit(pub(crate) i32);

/// A number of WASI instead of one of proxy-wasm.
fn errno(result: Result<(), Halt>) -> wasmtime::Result<i32> {
    match result {
        Ok(()) => Ok(SUCCESS),
        Err(Halt::Status(_)) => Ok(EFAULT),
        Err(Halt::Trap(error)) => Err(error),
    }
}

pub(super) fn sched_yield(_: Call<'_>) -> i32 {
    SUCCESS
}

pub(super) fn proc_exit(mut call: Call<'_>, code: i32) -> wasmtime::Result<()> {
    call.data_mut().exit = Some(code);
    Err(wasmtime::Error::new(Exit(code)))
}

/// `args_sizes_get`, `environ_sizes_get`
pub(super) fn no_sizes(mut call: Call<'_>, count_at: i32, bytes_at: i32) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        let (memory, _) = view(&mut call)?;
        put_u32(memory, count_at, 0)?;
        put_u32(memory, bytes_at, 0)
    };
    errno(act())
}

/// `args_get`, `environ_get`
pub(super) fn no_strings(_: Call<'_>, _: i32, _: i32) -> i32 {
    SUCCESS
}

pub(super) fn clock_time_get(
    mut call: Call<'_>,
    clock: i32,
    _precision: i64,
    at: i32,
) -> wasmtime::Result<i32> {
    let now = match clock {
        0 => wall(),
        // CPU clocks of the process would tell about others: they get the monotonic one.
        1..=3 => monotonic(),
        _ => return Ok(EINVAL),
    };
    errno(view(&mut call).and_then(|(memory, _)| put(memory, at, &now.to_le_bytes())))
}

pub(super) fn clock_res_get(mut call: Call<'_>, clock: i32, at: i32) -> wasmtime::Result<i32> {
    if !(0..=3).contains(&clock) {
        return Ok(EINVAL);
    }
    errno(view(&mut call).and_then(|(memory, _)| put(memory, at, &1_u64.to_le_bytes())))
}

/// Bytes from the operating system.
pub(super) fn random_get(mut call: Call<'_>, ptr: i32, len: i32) -> wasmtime::Result<i32> {
    if index(len) > RANDOM_MAX {
        return Ok(EINVAL);
    }
    let (memory, _) = match view(&mut call) {
        Ok(view) => view,
        Err(halt) => return errno(Err(halt)),
    };
    let Some(mut out) = index(ptr)
        .checked_add(index(len))
        .and_then(|end| memory.get_mut(index(ptr)..end))
    else {
        return Ok(EFAULT);
    };
    while !out.is_empty() {
        // A call that a signal interrupted gives fewer bytes.
        match rustix::rand::getrandom(&mut *out, rustix::rand::GetRandomFlags::empty()) {
            Ok(got) => out = out.get_mut(got..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(wasmtime::Error::new(error)),
        }
    }
    Ok(SUCCESS)
}

pub(super) fn fd_write(
    mut call: Call<'_>,
    fd: i32,
    list: i32,
    count: i32,
    written_at: i32,
) -> wasmtime::Result<i32> {
    let level = match fd {
        1 => STDOUT,
        2 => STDERR,
        _ => return Ok(EBADF),
    };
    let mut act = || -> Result<bool, Halt> {
        let (memory, state) = view(&mut call)?;
        let Some((total, bytes)) = gather(memory, list, count) else {
            return Ok(false);
        };
        stdio(state, level, &bytes);
        put_u32(memory, written_at, total)?;
        Ok(true)
    };
    match act() {
        Ok(true) => Ok(SUCCESS),
        Ok(false) => Ok(EINVAL),
        Err(halt) => errno(Err(halt)),
    }
}

/// The three standard descriptors are character devices without rights.
pub(super) fn fd_fdstat_get(mut call: Call<'_>, fd: i32, at: i32) -> wasmtime::Result<i32> {
    const CHARACTER_DEVICE: u8 = 2;
    if !(0..=2).contains(&fd) {
        return Ok(EBADF);
    }
    let mut stat = [0_u8; 24];
    if let Some(kind) = stat.first_mut() {
        *kind = CHARACTER_DEVICE;
    }
    errno(view(&mut call).and_then(|(memory, _)| put(memory, at, &stat)))
}

pub(super) fn fd_fdstat_set_flags(_: Call<'_>, fd: i32, _flags: i32) -> i32 {
    if (0..=2).contains(&fd) {
        SUCCESS
    } else {
        EBADF
    }
}

/// Reports the first subscription at once: a clock as rung, a descriptor as bad. A module that sleeps in a loop pays
/// with its own CPU time, not with a thread that waits.
pub(super) fn poll_oneoff(
    mut call: Call<'_>,
    input: i32,
    output: i32,
    count: i32,
    events_at: i32,
) -> wasmtime::Result<i32> {
    if count <= 0 {
        return Ok(EINVAL);
    }
    let mut act = || -> Result<(), Halt> {
        const CLOCK: u8 = 0;
        let (memory, _) = view(&mut call)?;
        let subscription = crate::memory::slice(memory, input, 48)?;
        let kind = subscription.get(8).copied().unwrap_or(CLOCK);
        let mut event = [0_u8; 32];
        for (to, from) in event.iter_mut().zip(subscription.iter().take(8)) {
            *to = *from;
        }
        if kind != CLOCK {
            for (to, from) in event.iter_mut().skip(8).zip([8_u8, 0, kind]) {
                *to = from;
            }
        }
        put(memory, output, &event)?;
        put_u32(memory, events_at, 1)
    };
    errno(act())
}

/// Defines a function that only answers: `parameters` are `i` for `i32` and `I` for `i64`, the result is one `i32`.
pub(super) fn refuse(
    linker: &mut Linker<State>,
    module: &str,
    name: &str,
    parameters: &str,
    code: i32,
) -> wasmtime::Result<()> {
    let parameters = parameters.bytes().map(|letter| {
        if letter == b'I' {
            ValType::I64
        } else {
            ValType::I32
        }
    });
    let kind = FuncType::new(linker.engine(), parameters, [ValType::I32]);
    linker.func_new(module, name, kind, move |_, _, results| {
        if let Some(result) = results.first_mut() {
            *result = Val::I32(code);
        }
        Ok(())
    })?;
    Ok(())
}
