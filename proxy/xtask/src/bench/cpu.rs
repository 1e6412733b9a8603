//! What a process used: CPU time and memory.

use anyhow::{Context, Result};
use std::fs;

/// Linux shows times in 1/100 s, whatever the kernel's own tick is.
const MICROS_PER_TICK: f64 = 10_000.0;

/// CPU time of all threads of these processes, user and system, in microseconds.
pub(super) fn micros(processes: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for process in processes {
        for thread in fs::read_dir(format!("/proc/{process}/task"))
            .with_context(|| format!("process {process} is gone"))?
            .flatten()
        {
            // A thread may end between the listing and the look.
            if let Ok(stat) = fs::read_to_string(thread.path().join("stat")) {
                ticks += ticks_of(&stat).context("/proc/PID/task/TID/stat")?;
            }
        }
    }
    Ok(ticks as f64 * MICROS_PER_TICK)
}

/// `utime + stime`, fields 14 and 15; the name before them may hold spaces.
fn ticks_of(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Resident memory in MiB.
pub(super) fn rss_mib(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// The processes that serve requests of an nginx with this master; its cache loader ends after a minute.
pub(super) fn nginx_workers(master: u32) -> Vec<u32> {
    let children =
        fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
    let is_worker = |pid: &u32| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains("worker process")
    };
    children
        .split_whitespace()
        .filter_map(|c| c.parse().ok())
        .filter(is_worker)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::ticks_of;

    #[test]
    fn ticks_are_read_past_a_name_with_spaces() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 10 0 0 0 120 34 0 0 20 0 1 0";
        assert_eq!(ticks_of(stat), Some(154));
    }
}
