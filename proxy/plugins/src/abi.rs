//! The functions a module may import: one table, from which the linker and the documentation are made.
//!
//! Invariant: a function either works or answers that it does not (`Unimplemented`, or WASI's `EBADF` and
//! `ENOTCAPABLE`); none does nothing and says `Ok`, but where its note says so.

mod buffers;
mod control;
mod foreign;
mod http;
pub(crate) mod log;
mod maps;
mod native;
mod properties;
mod shared;
mod time;
mod wasi;

pub(crate) use wasi::Exit;

use crate::memory::Status;
use crate::state::State;
use std::fmt;
use wasmtime::{Engine, Linker};

/// A function the host offers.
#[derive(Clone, Copy)]
pub struct HostFunction {
    /// `env`, or the module name of WASI.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Whether it works.
    pub status: Support,
    /// What is particular here.
    pub note: &'static str,
    link: Link,
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// What the ABI says.
    Works,
    /// Returns `Unimplemented` (12).
    Unimplemented,
    /// Returns an error of WASI: the sandbox has no such thing.
    Denied,
}

#[derive(Clone, Copy)]
enum Link {
    Define(fn(&mut Linker<State>, &str, &str) -> wasmtime::Result<()>),
    /// Parameters, and the code it returns.
    Refuse(&'static str, i32),
}

impl fmt::Debug for HostFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{} {:?} {}",
            self.module, self.name, self.status, self.note
        )
    }
}

/// Every function the host offers, in the order of the documentation.
#[must_use]
pub fn host_functions() -> &'static [HostFunction] {
    FUNCTIONS
}

/// A linker with all of them.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    for function in FUNCTIONS {
        match function.link {
            Link::Define(define) => define(&mut linker, function.module, function.name)?,
            Link::Refuse(parameters, code) => {
                wasi::refuse(
                    &mut linker,
                    function.module,
                    function.name,
                    parameters,
                    code,
                )?;
            }
        }
    }
    Ok(linker)
}

const ENV: &str = "env";
const WASI: &str = "wasi_snapshot_preview1";

macro_rules! works {
    ($module:expr, $name:literal, $function:path, $note:literal) => {
        HostFunction {
            module: $module,
            name: $name,
            status: Support::Works,
            note: $note,
            link: Link::Define(|linker, module, name| {
                linker.func_wrap(module, name, $function).map(|_| ())
            }),
        }
    };
}

const fn unimplemented(name: &'static str, parameters: &'static str) -> HostFunction {
    HostFunction {
        module: ENV,
        name,
        status: Support::Unimplemented,
        note: "no gRPC client; use proxy_http_call",
        link: Link::Refuse(parameters, Status::Unimplemented as i32),
    }
}

const fn denied(name: &'static str, parameters: &'static str, code: i32) -> HostFunction {
    HostFunction {
        module: WASI,
        name,
        status: Support::Denied,
        note: if code == wasi::EBADF {
            "EBADF (8)"
        } else {
            "ENOTCAPABLE (76)"
        },
        link: Link::Refuse(parameters, code),
    }
}

fn memory_grew(_: crate::memory::Call<'_>, _memory: i32) {}

static FUNCTIONS: &[HostFunction] = &[
    works!(
        ENV,
        "proxy_log",
        log::log,
        "lines of at most 4 KiB, 200 a second for a plugin; more are dropped and counted"
    ),
    works!(
        ENV,
        "proxy_get_log_level",
        log::get_log_level,
        "the level of Aegis's own log"
    ),
    works!(
        ENV,
        "proxy_get_current_time_nanoseconds",
        time::get_current_time,
        ""
    ),
    works!(
        ENV,
        "proxy_set_tick_period_milliseconds",
        time::set_tick_period,
        "ticks go to the plugin's root instance, at most one every 10 ms"
    ),
    works!(
        ENV,
        "proxy_get_buffer_bytes",
        buffers::get,
        "request body until the request's verdict, response body, body of an HTTP call's response, both configurations"
    ),
    works!(ENV, "proxy_get_buffer_status", buffers::status, ""),
    works!(
        ENV,
        "proxy_set_buffer_bytes",
        buffers::set,
        "bodies in their own callback, up to the plugin's `body_max`"
    ),
    works!(ENV, "proxy_get_header_map_size", maps::get_size, ""),
    works!(
        ENV,
        "proxy_get_header_map_pairs",
        maps::get_pairs,
        "names in the case they were received in; `:authority` and `host` are both there"
    ),
    works!(
        ENV,
        "proxy_set_header_map_pairs",
        maps::set_pairs,
        "at most 512 fields and 256 KiB; pseudo fields that are left out stay"
    ),
    works!(
        ENV,
        "proxy_get_header_map_value",
        maps::get_value,
        "in any case; repeated fields joined by `,`, cookies by `; `"
    ),
    works!(
        ENV,
        "proxy_add_header_map_value",
        maps::add,
        "request fields until the verdict, response fields in their callback"
    ),
    works!(
        ENV,
        "proxy_replace_header_map_value",
        maps::replace,
        "as proxy_add_header_map_value"
    ),
    works!(
        ENV,
        "proxy_remove_header_map_value",
        maps::remove,
        "as proxy_add_header_map_value; not pseudo fields"
    ),
    works!(
        ENV,
        "proxy_continue_stream",
        control::continue_stream,
        "HTTP streams"
    ),
    works!(
        ENV,
        "proxy_close_stream",
        control::close_stream,
        "HTTP streams"
    ),
    works!(
        ENV,
        "proxy_send_local_response",
        control::send_local_response,
        "status 200 to 599, body of at most 1 MiB; the first one counts"
    ),
    works!(
        ENV,
        "proxy_get_status",
        control::get_status,
        "always 0 and empty: it speaks of gRPC"
    ),
    works!(ENV, "proxy_done", control::done, ""),
    works!(
        ENV,
        "proxy_set_effective_context",
        control::set_effective_context,
        ""
    ),
    works!(
        ENV,
        "proxy_http_call",
        http::http_call,
        "to pools named in the plugin's `http_call`; at most 8 waiting for a context, 20 s, 1 MiB each way; BadArgument in `proxy_on_response_body`"
    ),
    works!(
        ENV,
        "proxy_get_shared_data",
        shared::get_data,
        "the site's value, else the one a root context stored"
    ),
    works!(
        ENV,
        "proxy_set_shared_data",
        shared::set_data,
        "kept by site; a null pointer removes; 256 KiB a value, 2 MiB a site, 16 MiB a plugin"
    ),
    works!(
        ENV,
        "proxy_register_shared_queue",
        shared::register_queue,
        "kept by site; 16 a site, 1,024 items and 1 MiB each"
    ),
    works!(
        ENV,
        "proxy_resolve_shared_queue",
        shared::resolve_queue,
        "the plugin's own"
    ),
    works!(
        ENV,
        "proxy_enqueue_shared_queue",
        shared::enqueue,
        "proxy_on_queue_ready goes to the root instance"
    ),
    works!(ENV, "proxy_dequeue_shared_queue", shared::dequeue, ""),
    works!(
        ENV,
        "proxy_define_metric",
        shared::define_metric,
        "at most 256; seen as aegis_plugin_metric{plugin,name}"
    ),
    works!(ENV, "proxy_record_metric", shared::record_metric, ""),
    works!(ENV, "proxy_increment_metric", shared::increment_metric, ""),
    works!(
        ENV,
        "proxy_get_metric",
        shared::get_metric,
        "counters and gauges"
    ),
    works!(
        ENV,
        "proxy_get_property",
        properties::get,
        "see the list of properties"
    ),
    works!(
        ENV,
        "proxy_set_property",
        properties::set,
        "kept with the stream, under names that are not facts"
    ),
    works!(
        ENV,
        "proxy_call_foreign_function",
        foreign::call_foreign_function,
        "`aegis_waf_event` and native operators; others NotFound (1)"
    ),
    unimplemented("proxy_grpc_call", "iiiiiiiiiiii"),
    unimplemented("proxy_grpc_stream", "iiiiiiiii"),
    unimplemented("proxy_grpc_send", "iiii"),
    unimplemented("proxy_grpc_cancel", "i"),
    unimplemented("proxy_grpc_close", "i"),
    works!(
        ENV,
        "emscripten_notify_memory_growth",
        memory_grew,
        "nothing to do: the host looks at memory anew in every call"
    ),
    works!(WASI, "args_get", wasi::no_strings, "none"),
    works!(WASI, "args_sizes_get", wasi::no_sizes, "none"),
    works!(WASI, "environ_get", wasi::no_strings, "none"),
    works!(WASI, "environ_sizes_get", wasi::no_sizes, "none"),
    works!(WASI, "clock_res_get", wasi::clock_res_get, "1 ns"),
    works!(
        WASI,
        "clock_time_get",
        wasi::clock_time_get,
        "wall clock; all others are the monotonic one"
    ),
    works!(
        WASI,
        "fd_fdstat_get",
        wasi::fd_fdstat_get,
        "0, 1, 2; others EBADF (8)"
    ),
    works!(
        WASI,
        "fd_fdstat_set_flags",
        wasi::fd_fdstat_set_flags,
        "0, 1, 2: nothing to set; others EBADF (8)"
    ),
    works!(
        WASI,
        "fd_write",
        wasi::fd_write,
        "1 and 2 are log lines; others EBADF (8)"
    ),
    works!(
        WASI,
        "poll_oneoff",
        wasi::poll_oneoff,
        "a clock rings at once; descriptors EBADF (8)"
    ),
    works!(WASI, "proc_exit", wasi::proc_exit, "ends the instance"),
    works!(
        WASI,
        "random_get",
        wasi::random_get,
        "from the operating system, at most 64 KiB a call"
    ),
    works!(WASI, "sched_yield", wasi::sched_yield, "returns at once"),
    denied("fd_advise", "iIIi", wasi::EBADF),
    denied("fd_allocate", "iII", wasi::EBADF),
    denied("fd_close", "i", wasi::EBADF),
    denied("fd_datasync", "i", wasi::EBADF),
    denied("fd_fdstat_set_rights", "iII", wasi::EBADF),
    denied("fd_filestat_get", "ii", wasi::EBADF),
    denied("fd_filestat_set_size", "iI", wasi::EBADF),
    denied("fd_filestat_set_times", "iIIi", wasi::EBADF),
    denied("fd_pread", "iiiIi", wasi::EBADF),
    denied("fd_prestat_get", "ii", wasi::EBADF),
    denied("fd_prestat_dir_name", "iii", wasi::EBADF),
    denied("fd_pwrite", "iiiIi", wasi::EBADF),
    denied("fd_read", "iiii", wasi::EBADF),
    denied("fd_readdir", "iiiIi", wasi::EBADF),
    denied("fd_renumber", "ii", wasi::EBADF),
    denied("fd_seek", "iIii", wasi::EBADF),
    denied("fd_sync", "i", wasi::EBADF),
    denied("fd_tell", "ii", wasi::EBADF),
    denied("path_create_directory", "iii", wasi::ENOTCAPABLE),
    denied("path_filestat_get", "iiiii", wasi::ENOTCAPABLE),
    denied("path_filestat_set_times", "iiiiIIi", wasi::ENOTCAPABLE),
    denied("path_link", "iiiiiii", wasi::ENOTCAPABLE),
    denied("path_open", "iiiiiIIii", wasi::ENOTCAPABLE),
    denied("path_readlink", "iiiiii", wasi::ENOTCAPABLE),
    denied("path_remove_directory", "iii", wasi::ENOTCAPABLE),
    denied("path_rename", "iiiiii", wasi::ENOTCAPABLE),
    denied("path_symlink", "iiiii", wasi::ENOTCAPABLE),
    denied("path_unlink_file", "iii", wasi::ENOTCAPABLE),
    denied("proc_raise", "i", wasi::ENOTCAPABLE),
    denied("sock_accept", "iii", wasi::EBADF),
    denied("sock_recv", "iiiiii", wasi::EBADF),
    denied("sock_send", "iiiii", wasi::EBADF),
    denied("sock_shutdown", "ii", wasi::EBADF),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_abi_is_in_the_table_once_and_can_be_linked() {
        let linker = linker(&Engine::default()).expect("links");
        let mut store = wasmtime::Store::new(
            linker.engine(),
            State::new(
                std::sync::Arc::new(crate::vm::Vm::new(&crate::testing::spec("table"))),
                0,
            ),
        );
        for function in host_functions() {
            linker
                .get(&mut store, function.module, function.name)
                .expect("defined");
            let again = host_functions()
                .iter()
                .filter(|f| (f.module, f.name) == (function.module, function.name));
            assert_eq!(again.count(), 1, "{function:?}");
        }
        let lines: Vec<_> = include_str!("abi/functions.txt").lines().collect();
        assert_eq!(lines.len(), host_functions().len());
        for line in lines {
            let (name, parameters) = line.split_once(' ').unwrap_or((line, ""));
            let function = host_functions().iter().find(|f| f.name == name);
            let function = function.unwrap_or_else(|| panic!("{name} is missing"));
            let linked = linker.get(&mut store, function.module, name);
            let linked = linked.expect("defined").into_func().expect("a function");
            let types: Vec<_> = linked.ty(&store).params().map(|t| t.to_string()).collect();
            let expected: Vec<_> = parameters
                .split(' ')
                .flat_map(wasm_types)
                .copied()
                .collect();
            assert_eq!(types, expected, "{line}");
        }
    }

    /// What a word of `functions.txt` stands for in a signature: `in` is a pointer and a length (`in48`: 48 bytes at a
    /// pointer), `outN` a pointer to N bytes the host writes, `give` two pointers to words that get the place and length
    /// of what the host hands over, `p` another pointer, `n` and `N` numbers; `-` says that nothing is returned.
    fn wasm_types(word: &str) -> &'static [&'static str] {
        match word {
            "" | "-" => &[],
            "in" | "give" => &["i32", "i32"],
            "N" => &["i64"],
            _ => &["i32"],
        }
    }
}
