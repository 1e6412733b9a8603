//! Clock and ticks.

use crate::memory::{Call, answer, put, view};
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since 1970.
pub(super) fn wall() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds that never go back; counted from a second before the first call, since some runtimes take 0 for unset.
pub(super) fn monotonic() -> u64 {
    u64::try_from(START.elapsed().as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(1_000_000_000)
}

pub(super) fn get_current_time(mut call: Call<'_>, at: i32) -> wasmtime::Result<i32> {
    let now = wall();
    answer(view(&mut call).and_then(|(memory, _)| put(memory, at, &now.to_le_bytes())))
}

/// The period belongs to the plugin: ticks are for the root instance, whoever asks for them.
#[expect(
    clippy::needless_pass_by_value,
    reason = "wasmtime hands the caller over"
)]
pub(super) fn set_tick_period(call: Call<'_>, period_ms: i32) -> wasmtime::Result<i32> {
    call.data().vm.set_tick(period_ms.cast_unsigned());
    answer(Ok(()))
}
