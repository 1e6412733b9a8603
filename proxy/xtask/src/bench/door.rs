//! `make bench-door`: what the door costs, and what is left for others while it is attacked.
//!
//! Aegis, its origin and the honest clients are on core 1, whoever attacks has core 0 for himself. An honest request is
//! well served if it succeeds within twice the 99th percentile of the same requests without an attack, measured before
//! and after the attacks of the same run.

mod honest;

use super::peers::Alone;
use super::report::Results;
use super::{Options, built, cpu};
use anyhow::{Context, Result, ensure};
use clap::Args;
use honest::{Asked, by_kind, described, load, percentile, quiet};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Idle connections, and what they may add.
const IDLE: usize = 10_000;
const IDLE_QUICK: usize = 500;
const IDLE_MIB_MAX: f64 = 250.0;
/// Answers before the first measurement, so that what is made once is made.
const WARM_UP: usize = 50;
/// Honest requests that must be well served, in percent.
const LEGIT_OK_MIN: f64 = 95.0;
/// A bench that prints results of its own, and which of them have a bar.
const MICRO: &[(&str, &[(&str, f64)])] = &[
    ("bench-guard", &[("guard_us_per_request", 1.0)]),
    (
        "bench-limits",
        &[
            ("limit_check_ns_hot", 100.0),
            ("limit_check_ns_1m", 400.0),
            ("verdict_lookup_ns_1m", 200.0),
        ],
    ),
];

/// How long, and what.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoorOptions {
    #[command(flatten)]
    options: Options,
    /// Only honest requests during this attack, nothing written; `calm` is none
    #[arg(long, value_name = "ATTACK")]
    only: Option<String>,
}

/// Builds, measures, reports.
pub(crate) fn run(DoorOptions { options, only }: &DoorOptions) -> Result<()> {
    let mut options = options.clone();
    if options.quick {
        options.seconds = 1;
    }
    let bin = built(
        &options,
        &["aegis", "bench-door", "bench-guard", "bench-limits"],
    )?;
    let mut results = Results::of("door");
    if let Some(only) = only {
        attacks(&bin, &options, std::slice::from_ref(only), &mut results)?;
        return Ok(());
    }
    for (program, bars) in MICRO {
        micro(&bin.join(program), bars, &mut results)?;
    }
    idle(&bin, &options, &mut results)?;
    let names = Command::new(bin.join("bench-door"))
        .arg("attacks")
        .output()?;
    let names = String::from_utf8(names.stdout)?;
    let names: Vec<_> = names.lines().map(str::to_owned).collect();
    let details = attacks(&bin, &options, &names, &mut results)?;
    results.write(&options, &details)
}

/// Passes on the lines of a bench that measures one function.
fn micro(program: &Path, bars: &[(&str, f64)], results: &mut Results) -> Result<()> {
    let output = Command::new(program).output()?;
    ensure!(output.status.success(), "{} fails", program.display());
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    for line in text.lines().filter_map(|l| l.strip_prefix("RESULT door ")) {
        let mut words = line.split_whitespace();
        let (Some(metric), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        let bar = bars.iter().find(|(name, _)| *name == metric);
        let unit = words.next().unwrap_or_default();
        results.keep(metric, value.parse()?, unit, bar.map(|(_, bar)| *bar));
    }
    Ok(())
}

/// Memory that idle connections of HTTP/2 add, each of which answers at the end.
fn idle(bin: &Path, options: &Options, results: &mut Results) -> Result<()> {
    let count = if options.quick { IDLE_QUICK } else { IDLE };
    let alone = Alone::start(bin)?;
    let process = *alone.aegis.processes.first().context("a process")?;
    let hold = |count: usize| -> Result<Holding> {
        let args = ["idle", &alone.aegis.tls.to_string(), &count.to_string()];
        Holding::start(bin, &args.map(str::to_owned), "open")
    };
    hold(WARM_UP)?.end()?;
    let before = cpu::rss_mib(process)?;
    let holding = hold(count)?;
    let added = cpu::rss_mib(process)? - before;
    let said = holding.end()?;
    ensure!(
        said.trim() == format!("answered {count}"),
        "of {count} idle connections: {said}"
    );
    if options.quick {
        results.add("h2_idle_mib", added, "MiB", None);
    } else {
        results.add("h2_idle_10k_mib", added, "MiB", Some(IDLE_MIB_MAX));
    }
    Ok(())
}

/// Honest requests during each attack.
fn attacks(
    bin: &Path,
    options: &Options,
    names: &[String],
    results: &mut Results,
) -> Result<Value> {
    let alone = Alone::start(bin)?;
    let seconds = options.seconds.max(1);
    let idle = if options.quick { IDLE_QUICK } else { IDLE };
    let legit = |seconds| honest::ask(bin, &alone, seconds);
    legit(1)?;
    let mut calm = quiet(legit(2 * seconds)?)?;
    let mut during = Vec::new();
    for name in names.iter().filter(|name| *name != "calm") {
        let args = [
            "attack".to_owned(),
            name.clone(),
            alone.aegis.plain.to_string(),
            alone.aegis.tls.to_string(),
            // It goes on for longer than the honest clients do.
            (seconds + 2).to_string(),
            idle.to_string(),
        ];
        let attack = Holding::start(bin, &args, "under way")?;
        during.push((name, load()?, legit(seconds)?));
        attack.end()?;
    }
    calm.extend(quiet(legit(2 * seconds)?)?);
    let p99 = percentile(&calm, 99.0).context("no honest request")?;
    results.add("legit_p99_ms", p99, "ms", None);
    eprintln!("  calm: {}", described(&calm));
    let mut worst = (f64::MAX, "");
    for (name, load, asked) in &during {
        let good = |asked: &&Asked| asked.took.as_ref().is_ok_and(|ms| *ms <= 2.0 * p99);
        let ok = asked.iter().filter(good).count() as f64 / asked.len() as f64 * 100.0;
        results.add(&format!("legit_ok_percent_{name}"), ok, "percent", None);
        eprintln!(
            "  {name}: {}; load average {load}; {}",
            described(asked),
            by_kind(asked)
        );
        if ok < worst.0 {
            worst = (ok, name);
        }
    }
    if worst.1.is_empty() {
        return Ok(Value::Null);
    }
    results.add("legit_ok_percent", worst.0, "percent", Some(-LEGIT_OK_MIN));
    Ok(json!({
        "worst_attack": worst.1,
        "calm": honest::json(&calm),
        "during": during.iter().map(|(name, load, asked)| {
            json!({ "attack": name, "load_average": load, "requests": honest::json(asked) })
        }).collect::<Vec<_>>(),
    }))
}

/// A client on core 0 that has said that it is where it shall be.
struct Holding {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Holding {
    fn start(bin: &Path, args: &[String], says: &str) -> Result<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(bin.join("bench-door"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        ensure!(line.trim() == says, "{args:?} says “{line}”");
        Ok(Self { child, lines })
    }

    /// Lets it go, and gives what it says last.
    fn end(mut self) -> Result<String> {
        if let Some(mut input) = self.child.stdin.take() {
            // An attack does not listen.
            input.write_all(b"\n").ok();
        }
        let mut said = String::new();
        while self.lines.read_line(&mut said)? > 0 {}
        ensure!(self.child.wait()?.success(), "a client fails: {said}");
        Ok(said)
    }
}
