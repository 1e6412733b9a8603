//! Host functions as they are: every status as its number. For what the SDK lacks, or turns into a panic.

#![allow(missing_docs, reason = "the names are the ABI's")]

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub fn proxy_log(level: u32, text: *const u8, len: usize) -> u32;
    pub fn proxy_get_log_level(level: *mut u32) -> u32;
    pub fn proxy_get_buffer_status(kind: u32, len: *mut u32, flags: *mut u32) -> u32;
    pub fn proxy_get_header_map_size(kind: u32, size: *mut u32) -> u32;
    pub fn proxy_get_header_map_value(
        kind: u32,
        name: *const u8,
        len: usize,
        value: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    pub fn proxy_close_stream(kind: u32) -> u32;
    pub fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc: i32,
    ) -> u32;
    pub fn proxy_grpc_call(
        service: *const u8,
        service_len: usize,
        name: *const u8,
        name_len: usize,
        method: *const u8,
        method_len: usize,
        metadata: *const u8,
        metadata_len: usize,
        message: *const u8,
        message_len: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    pub fn proxy_grpc_stream(
        service: *const u8,
        service_len: usize,
        name: *const u8,
        name_len: usize,
        method: *const u8,
        method_len: usize,
        metadata: *const u8,
        metadata_len: usize,
        token: *mut u32,
    ) -> u32;
    pub fn proxy_grpc_send(token: u32, message: *const u8, len: usize, end: u32) -> u32;
    pub fn proxy_grpc_cancel(token: u32) -> u32;
    pub fn proxy_grpc_close(token: u32) -> u32;
    pub fn proxy_define_metric(kind: u32, name: *const u8, len: usize, id: *mut u32) -> u32;
    pub fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    pub fn proxy_set_property(
        path: *const u8,
        path_len: usize,
        value: *const u8,
        len: usize,
    ) -> u32;
    pub fn proxy_call_foreign_function(
        name: *const u8,
        name_len: usize,
        argument: *const u8,
        len: usize,
        result: *mut *mut u8,
        result_len: *mut usize,
    ) -> u32;
    pub fn proxy_set_effective_context(id: u32) -> u32;
    pub fn proxy_done() -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    pub fn args_sizes_get(count: *mut u32, bytes: *mut u32) -> u32;
    pub fn environ_sizes_get(count: *mut u32, bytes: *mut u32) -> u32;
    pub fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    pub fn random_get(to: *mut u8, len: usize) -> u32;
    pub fn sched_yield() -> u32;
    pub fn fd_write(fd: u32, pieces: *const [usize; 2], count: usize, written: *mut usize) -> u32;
    pub fn fd_prestat_get(fd: u32, to: *mut u8) -> u32;
    pub fn sock_send(
        fd: u32,
        pieces: *const [usize; 2],
        count: usize,
        flags: u32,
        sent: *mut usize,
    ) -> u32;
    pub fn path_open(
        fd: u32,
        flags: u32,
        path: *const u8,
        len: usize,
        open: u32,
        rights: u64,
        inherited: u64,
        fdflags: u32,
        to: *mut u32,
    ) -> u32;
}

/// Pairs in the ABI's form: their number, the lengths of each, then the texts, each with a NUL.
pub fn pairs(of: &[(&str, &str)]) -> Vec<u8> {
    let mut out = (of.len() as u32).to_le_bytes().to_vec();
    for (name, value) in of {
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for text in of.iter().flat_map(|(name, value)| [name, value]) {
        out.extend(text.as_bytes());
        out.push(0);
    }
    out
}
