//! Log, time, configuration, and the little of WASI there is.

use crate::lines::{Lines, text};
use crate::raw;
use proxy_wasm::hostcalls;
use proxy_wasm::types::BufferType;
use std::time::UNIX_EPOCH;

pub(super) fn log(out: &mut Lines) {
    let say = |level: u32, what: &str| unsafe { raw::proxy_log(level, what.as_ptr(), what.len()) };
    let said = (0..=5).map(|level| say(level, &format!("probe {level}")).to_string());
    out.say("said", said.collect::<Vec<_>>().join(" "));
    out.say("no such level", say(9, "probe"));
    let mut level = u32::MAX;
    let got = unsafe { raw::proxy_get_log_level(&mut level) };
    out.check("level", got, level <= 5);
}

pub(super) fn time(out: &mut Lines) {
    let now = hostcalls::get_current_time().ok();
    let since = now.and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    out.say("seconds", since.unwrap_or_default().as_secs());
}

pub(super) fn configuration(out: &mut Lines) {
    let get = |kind| text(hostcalls::get_buffer(kind, 0, 1 << 20).ok().flatten());
    out.say("plugin", get(BufferType::PluginConfiguration));
    out.say("vm", get(BufferType::VmConfiguration));
}

/// A clock, randomness and log lines; everything else is closed.
pub(super) fn wasi(out: &mut Lines) {
    let (mut a, mut b, mut n) = (9, 9, 0);
    let got = unsafe { raw::args_sizes_get(&mut a, &mut b) };
    out.check("args", got, (a, b) == (0, 0));
    (a, b) = (9, 9);
    let got = unsafe { raw::environ_sizes_get(&mut a, &mut b) };
    out.check("environ", got, (a, b) == (0, 0));
    let mut time = 0;
    let got = unsafe { raw::clock_time_get(0, 1, &mut time) };
    out.check("clock", got, time > 1_700_000_000_000_000_000);
    let mut random = [0; 16];
    let got = unsafe { raw::random_get(random.as_mut_ptr(), random.len()) };
    out.check("random", got, random != [0; 16]);
    out.say("yield", unsafe { raw::sched_yield() });
    let line = "probe\n";
    let piece = [line.as_ptr() as usize, line.len()];
    let got = unsafe { raw::fd_write(1, &piece, 1, &mut n) };
    out.check("stdout", got, n == line.len());
    out.say("file", unsafe { raw::fd_write(7, &piece, 1, &mut n) });
    out.say("preopened", unsafe {
        raw::fd_prestat_get(3, random.as_mut_ptr())
    });
    out.say("open", unsafe {
        raw::path_open(3, 0, "x".as_ptr(), 1, 0, 0, 0, 0, &mut a)
    });
    out.say("socket", unsafe { raw::sock_send(3, &piece, 1, 0, &mut n) });
}
