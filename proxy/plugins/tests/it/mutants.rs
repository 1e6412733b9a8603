//! Files that are nearly modules: cut off anywhere, or with bytes changed. They are refused, or run within the same bounds as
//! any module.

use crate::support::*;
use aegis_plugins::Decision;

const SMALL: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 4096))
    (data (i32.const 0) ":path")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param $n i32) (result i32)
      (global.get $heap) (global.set $heap (i32.add (global.get $heap) (local.get $n))))
    (func (export "proxy_on_context_create") (param i32 i32) (global.set $heap (i32.const 4096)))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
      (drop (call $log (i32.const 0) (i32.load (i32.const 1024)) (i32.load (i32.const 1028))))
      (i32.const 0)))"#;

async fn tried(bench: &Bench, bytes: &[u8]) -> bool {
    let spec = bench.spec("mutant", "(module)");
    std::fs::write(&spec.module, bytes).expect("writes");
    let Ok(plugin) = bench.prepare(spec) else {
        return false;
    };
    // Whatever it does, there is a verdict.
    ask(&plugin, "/").await;
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_cut_off_anywhere_or_has_bytes_changed_is_refused_or_bounded() {
    let bench = bench();
    let other = bench.plugin("other", "");
    let whole = wat::parse_str(SMALL).expect("a module");
    assert!(tried(&bench, &whole).await);
    for cut in 0..whole.len() {
        // A section may be missing at the end, as names are; nothing else may.
        let started = tried(&bench, &whole[..cut]).await;
        assert!(
            !started || cut > whole.len() / 2,
            "cut at {cut} of {}",
            whole.len()
        );
    }
    let (mut seed, mut ran) = (0x2545_f491_4f6c_dd1d_u64, 0);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let [at, value, ..] = seed.to_le_bytes().map(usize::from);
        let at = (at + (value & 1) * 256) % bytes.len();
        bytes[at] ^= u8::try_from(value | 1).expect("a byte");
        ran += usize::from(tried(&bench, &bytes).await);
    }
    assert!((5..250).contains(&ran), "{ran} of 300 were started");
    assert_eq!(ask(&other, "/").await.decision, Decision::Continue);
}
