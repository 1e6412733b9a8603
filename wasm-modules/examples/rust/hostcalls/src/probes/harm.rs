//! What broken modules do. None of it comes back.

use std::hint::black_box;

/// Harm of this kind; anything else does nothing.
pub fn harm(kind: &str) {
    match kind {
        "panic" => panic!("a probe"),
        "loop" => loop {
            black_box(());
        },
        "memory" => {
            let mut all = Vec::new();
            loop {
                all.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "recursion" => drop(black_box(deep(0))),
        _ => {}
    }
}

fn deep(n: u64) -> u64 {
    let next: fn(u64) -> u64 = black_box(deep);
    next(n + 1).wrapping_mul(3) ^ n
}
