//! What one check of a limit and one look-up of a verdict cost: `RESULT door <metric> <value> ns`.
//!
//! Two threads at once on one table. A check is all a request pays: hashing its key, finding the count, deciding. Each
//! round's figure is the mean of the slower thread; of the rounds the median is reported and the best shown beside it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the output is what it is for")]

mod limits;
mod rounds;
mod verdicts;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    floor();
    rounds::round_trip();
    limits::run()?;
    verdicts::run()
}

/// What one read of memory that is in no cache costs here and now: most of any look-up among a million, and several times
/// more when others use the machine too.
fn floor() {
    let memory: Vec<u64> = (0..1 << 24).collect();
    rounds::measure("memory_read_ns_128m", 2_000_000, |_, operations| {
        (0..operations).fold(1, |at, n| {
            let next = (at ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            memory.get(next as usize).copied().unwrap_or_default()
        })
    });
}
