//! Medians, ratios and the lines others read.

use super::Options;
use crate::workspace::{root, target_dir};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The lines of a bench, and what is written of them.
#[derive(Debug)]
pub(super) struct Results {
    bench: &'static str,
    lines: Vec<Value>,
}

impl Results {
    pub(super) const fn of(bench: &'static str) -> Self {
        Self {
            bench,
            lines: Vec::new(),
        }
    }

    /// Prints one. A bar is the most a value may be, or the least if it is negative.
    pub(super) fn add(&mut self, metric: &str, value: f64, unit: &str, bar: Option<f64>) {
        println!("RESULT {} {metric} {value:.2} {unit}", self.bench);
        self.keep(metric, value, unit, bar);
    }

    /// Takes one that somebody else has printed.
    pub(super) fn keep(&mut self, metric: &str, value: f64, unit: &str, bar: Option<f64>) {
        match bar {
            Some(bar) if bar >= 0.0 && value > bar => eprintln!(
                "  over its bar of {bar} by {:.0} %",
                (value / bar - 1.0) * 100.0
            ),
            Some(bar) if bar < 0.0 && value < -bar => eprintln!("  under its bar of {}", -bar),
            _ => {}
        }
        let bar = bar.map(f64::abs);
        self.lines
            .push(json!({ "metric": metric, "value": value, "unit": unit, "bar": bar }));
    }

    /// Writes them with versions and `details`.
    pub(super) fn write(&self, options: &Options, details: &Value) -> Result<()> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let report = json!({
            "bench": self.bench,
            "unix_time": time,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "profile": if options.quick { "dev: these figures mean nothing" } else { "release" },
            "versions": versions(),
            "results": self.lines,
            "details": details,
        });
        // A smoke run must not overwrite real figures.
        let dir = if options.quick {
            target_dir().join("bench")
        } else {
            root().join("benches/results")
        };
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("{}.json", self.bench));
        fs::write(&path, format!("{report:#}\n")).with_context(|| path.display().to_string())?;
        eprintln!("written to {}", path.display());
        Ok(())
    }
}

/// case → subject → µs of each round.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<String, BTreeMap<String, Vec<f64>>>);

/// Metric, case, peer, highest allowed ratio.
const RATIOS: &[(&str, &str, &str, Option<f64>)] = &[
    ("h1_vs_nginx", "h1", "nginx", Some(1.5)),
    ("h1_vs_bare_pingora", "h1", "bare_pingora", Some(1.25)),
    ("h2_tls_vs_nginx", "h2_tls", "nginx", Some(1.5)),
    (
        "h2_tls_vs_bare_pingora",
        "h2_tls",
        "bare_pingora",
        Some(1.25),
    ),
    ("handshake_vs_nginx", "handshake", "nginx", Some(1.3)),
    (
        "handshake_vs_bare_pingora",
        "handshake",
        "bare_pingora",
        None,
    ),
    ("memory_hit_vs_nginx", "memory_hit", "nginx", Some(1.3)),
    ("shipped_hit_vs_nginx", "shipped_hit", "nginx", Some(2.0)),
];
const IDLE_RSS_MIB_MAX: f64 = 40.0;

impl Samples {
    pub(super) fn add(&mut self, case: &str, subject: &str, value: f64) {
        self.0
            .entry(case.to_owned())
            .or_default()
            .entry(subject.to_owned())
            .or_default()
            .push(value);
    }

    fn of(&self, case: &str, subject: &str) -> &[f64] {
        self.0
            .get(case)
            .and_then(|c| c.get(subject))
            .map_or(&[], Vec::as_slice)
    }

    /// Median of the ratios of each round.
    fn ratio(&self, case: &str, peer: &str) -> f64 {
        let pairs = self.of(case, "aegis").iter().zip(self.of(case, peer));
        median(
            &pairs
                .map(|(ours, theirs)| ours / theirs)
                .collect::<Vec<_>>(),
        )
    }
}

/// Prints the table and the RESULT lines; a full run is also written to benches/results/.
pub(super) fn print(samples: &Samples, options: &Options) -> Result<()> {
    println!(
        "\n{:<14} {:<13} {:>9} {:>9} {:>9}   µs of CPU a request",
        "case", "subject", "median", "least", "most"
    );
    for (case, subjects) in samples.0.iter().filter(|(c, _)| *c != "idle_rss") {
        for (subject, values) in subjects {
            let (least, most) = values
                .iter()
                .fold((f64::MAX, f64::MIN), |(l, m), v| (l.min(*v), m.max(*v)));
            println!(
                "{case:<14} {subject:<13} {:>9.2} {least:>9.2} {most:>9.2}",
                median(values)
            );
        }
    }
    println!();
    let mut results = Results::of("proxy");
    for (metric, case, peer, bar) in RATIOS {
        results.add(metric, samples.ratio(case, peer), "ratio", *bar);
    }
    let waf = median(samples.of("waf_clean_get", "aegis"));
    results.add("waf_clean_get_us", waf, "us", None);
    let idle = median(samples.of("idle_rss", "aegis"));
    results.add("idle_rss_mib", idle, "MiB", Some(IDLE_RSS_MIB_MAX));
    results.write(options, &json!({ "cpu_us_per_request": samples.0 }))
}

fn versions() -> Value {
    let first_line = |script: &str| {
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(root())
            .output();
        let text = output
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    };
    json!({
        "aegis": first_line("git describe --always --dirty"),
        "nginx": first_line("nginx -v 2>&1"),
        "pingora": first_line("cargo tree -p bare-pingora --depth 1 --offline 2>/dev/null | grep -o 'pingora-proxy v[0-9.]*'"),
        "wrk": first_line("wrk -v 2>&1"),
        "h2load": first_line("h2load --version"),
        "rustc": first_line("rustc --version"),
        "kernel": first_line("uname -r"),
        "cpu": first_line("sed -n 's/^model name.*: //p' /proc/cpuinfo"),
        "load_average": first_line("cat /proc/loadavg"),
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (n, middle) if n % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Samples, median};

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_ratios() {
        let mut samples = Samples::default();
        for (ours, theirs) in [(10.0, 10.0), (30.0, 10.0), (15.0, 10.0)] {
            samples.add("h1", "aegis", ours);
            samples.add("h1", "nginx", theirs);
        }
        assert!((samples.ratio("h1", "nginx") - 1.5).abs() < 1e-9);
        assert!((median(&[1.0, 2.0]) - 1.5).abs() < 1e-9);
    }
}
