//! Small proxy-wasm modules, written where they are used: each does one thing, good or bad.

/// A module in parts; what is not given does nothing and lets pass.
#[derive(Debug, Clone, Copy)]
pub struct Guest<'a> {
    /// Further imports, exports, data.
    pub more: &'a str,
    /// Body of `proxy_on_configure(root, size)`; leaves 1 (taken) or 0.
    pub configure: &'a str,
    /// Body of `proxy_on_request_headers(context, count, end)`; leaves 0 (continue) or 1 (pause).
    pub request: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Self {
            more: "",
            configure: "i32.const 1",
            request: "i32.const 0",
        }
    }
}

/// Answers 200 with the text at `$text`, `$length` bytes long.
pub const ANSWER: &str = "(drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (global.get $text) (global.get $length) (i32.const 0) (i32.const 0) (i32.const -1))) i32.const 1";

/// Keeps what it was configured with as the text.
pub const KEEP_CONFIGURATION: &str = "\
    (drop (call $buffer (i32.const 7) (i32.const 0) (local.get 1) (i32.const 0) (i32.const 4)))
    (global.set $text (i32.load (i32.const 0)))
    (global.set $length (i32.load (i32.const 4)))
    i32.const 1";

/// A loop of this many million turns, each about a nanosecond.
#[must_use]
pub fn busy(millions: u32) -> String {
    format!(
        "(global.set $turns (i32.const {}))
         (loop $again
           (global.set $turns (i32.sub (global.get $turns) (i32.const 1)))
           (br_if $again (global.get $turns)))
         i32.const 0",
        millions * 1_000_000
    )
}

/// A callback that makes the host show bodies, with this code; it leaves 0 (continue) or 1 (pause).
#[must_use]
pub fn on_body(code: &str) -> String {
    format!("(func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32) {code})")
}

impl Guest<'_> {
    /// The module's bytes.
    ///
    /// # Panics
    /// The parts are no valid text format.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        let Self {
            more,
            configure,
            request,
        } = self;
        let text = format!(
            r#"(module
              (import "env" "proxy_send_local_response" (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
              (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
              (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
              (import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
              (import "env" "proxy_set_effective_context" (func $speak_for (param i32) (result i32)))
              (memory (export "memory") 2)
              (global $heap (mut i32) (i32.const 65536))
              (global $text (mut i32) (i32.const 16))
              (global $length (mut i32) (i32.const 6))
              (global $stream (mut i32) (i32.const 0))
              (global $turns (mut i32) (i32.const 0))
              (data (i32.const 16) "plugin")
              (func (export "proxy_abi_version_0_2_1"))
              (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
                (global.get $heap)
                (global.set $heap (i32.add (global.get $heap) (local.get $size))))
              (func (export "proxy_on_context_create") (param i32 i32))
              (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
              (func (export "proxy_on_configure") (param i32 i32) (result i32) {configure})
              (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {request})
              (func (export "proxy_on_done") (param i32) (result i32) i32.const 1)
              (func (export "proxy_on_log") (param i32))
              (func (export "proxy_on_delete") (param i32))
              {more})"#
        );
        #[expect(clippy::expect_used, reason = "the text stands in the test that asks")]
        wat::parse_str(&text).expect("a module")
    }
}

/// Header fields as `proxy_http_call` takes them, as data at `offset`.
#[must_use]
pub fn fields_at(offset: u32, fields: &[(&str, &str)]) -> String {
    let word = |n: usize| (n as u32).to_le_bytes();
    let mut bytes = word(fields.len()).to_vec();
    for (name, value) in fields {
        bytes.extend(word(name.len()));
        bytes.extend(word(value.len()));
    }
    for (name, value) in fields {
        bytes.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    let escaped: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
    format!("(data (i32.const {offset}) \"{escaped}\")")
}

#[cfg(test)]
mod tests {
    use super::{ANSWER, Guest, KEEP_CONFIGURATION, busy, fields_at};

    #[test]
    fn the_parts_are_a_module() {
        let more = fields_at(100, &[(":method", "GET")]);
        let guest = Guest {
            more: &more,
            configure: KEEP_CONFIGURATION,
            request: ANSWER,
        };
        assert!(guest.build().starts_with(b"\0asm"));
        assert!(
            Guest {
                request: &busy(1),
                ..Guest::default()
            }
            .build()
            .starts_with(b"\0asm")
        );
    }
}
