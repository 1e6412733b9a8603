//! The conventional `process_*` metrics, read from `/proc/self` when somebody asks.

use super::registered;
use parking_lot::Mutex;
use prometheus::{Counter, Gauge};
use std::fs;
use std::sync::LazyLock;

/// Clock ticks a second in `/proc`: `USER_HZ` is part of the Linux ABI and 100 on every architecture we build for.
const TICKS: f64 = 100.0;
const PAGE: f64 = 4096.0;

struct Process {
    rss: Gauge,
    cpu: Counter,
    start: Gauge,
    fds: Gauge,
    threads: Gauge,
}

static PROCESS: LazyLock<Mutex<Process>> = LazyLock::new(|| {
    let gauge = |name, help| registered(Gauge::new(name, help));
    Mutex::new(Process {
        rss: gauge("process_resident_memory_bytes", "Resident memory"),
        cpu: registered(Counter::new(
            "process_cpu_seconds_total",
            "User and system CPU time",
        )),
        start: gauge("process_start_time_seconds", "Unix time of the start"),
        fds: gauge("process_open_fds", "Open file descriptors"),
        threads: gauge("process_threads", "Threads"),
    })
});

/// What `/proc/self/stat` says.
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    start_ticks: f64,
    rss_bytes: f64,
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The command may hold spaces and parentheses; the fields start after its last one (proc(5)).
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |n: usize| fields.get(n - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu_seconds: (field(14)? + field(15)?) / TICKS,
        threads: field(20)?,
        start_ticks: field(22)?,
        rss_bytes: field(24)? * PAGE,
    })
}

fn boot_time() -> Option<f64> {
    fs::read_to_string("/proc/stat")
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// Reads the values anew; what cannot be read keeps its former value.
pub(super) fn refresh() {
    let process = PROCESS.lock();
    let stat = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|text| parse_stat(&text));
    if let Some(stat) = stat {
        process.rss.set(stat.rss_bytes);
        process.threads.set(stat.threads);
        let more = stat.cpu_seconds - process.cpu.get();
        if more > 0.0 {
            process.cpu.inc_by(more);
        }
        if process.start.get() == 0.0
            && let Some(boot) = boot_time()
        {
            process.start.set(boot + stat.start_ticks / TICKS);
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        process.fds.set(f64::from(
            u32::try_from(entries.count()).unwrap_or(u32::MAX),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_command_name_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 500 1000 25 0";
        let stat = parse_stat(text).expect("parses");
        assert!((stat.cpu_seconds - 3.0).abs() < 1e-9);
        assert!((stat.threads - 9.0).abs() < 1e-9);
        assert!((stat.rss_bytes - 25.0 * 4096.0).abs() < 1e-9);
        assert!(parse_stat("7 (a) S 1").is_none());
        assert!(parse_stat("").is_none());
    }
}
