//! `make bench-proxy`: CPU a request of Aegis, bare Pingora and nginx, in interleaved rounds of one run.
//!
//! Requests a second swing by a factor of four between identical runs on small shared machines; CPU time a
//! request stays within a tenth. So that is what is measured, as a ratio to a peer of the same round. Every
//! proxy has one worker on core 1; origin and generator share core 0.

mod cases;
mod cpu;
mod door;
mod load;
mod peers;
mod report;

use crate::needs::Target;
use crate::workspace::{cargo, modules_dir, target_dir};
use crate::{modules, setup, steps};
use anyhow::{Context, Result, bail};
use cases::Case;
use clap::Args;
use peers::Peers;
use std::path::PathBuf;

/// How long and how often.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Interleaved rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measured run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// One short round with binaries of the dev profile: shows that the bench works, measures nothing
    #[arg(long)]
    quick: bool,
}

pub(crate) use door::{DoorOptions, run as door};

/// Tries of a run that had errors before the bench gives up.
const TRIES: usize = 3;

/// Builds, checks behaviour, measures, reports.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut options = options.clone();
    if options.quick {
        (options.rounds, options.seconds) = (1, 1);
    }
    let bin = built(&options, &["aegis", "bare-pingora"])?;
    modules::build(&modules_dir())?;
    let peers = Peers::start(&bin)?;
    let cases = cases::all(&peers);
    for case in &cases {
        case.check()
            .with_context(|| format!("{}: behaviour before timing", case.name))?;
    }
    let mut samples = report::Samples::default();
    samples.add("idle_rss", "aegis", peers.idle_rss_mib);
    for round in 0..options.rounds {
        for case in &cases {
            measure(case, round, &options, &mut samples)?;
        }
    }
    report::print(&samples, &options)
}

/// Builds these programs and says where they are.
fn built(options: &Options, programs: &[&str]) -> Result<PathBuf> {
    if std::thread::available_parallelism()?.get() < 2 {
        bail!("two cores are needed: one for the proxies, one for those who use them");
    }
    setup::run(Target::Bench)?;
    let profile = if options.quick { "dev" } else { "release" };
    let mut args = vec!["build", "--profile", profile, "--bins"];
    args.extend(programs.iter().flat_map(|program| ["-p", program]));
    steps::run(&mut cargo(&args))?;
    Ok(target_dir().join(if options.quick { "debug" } else { "release" }))
}

/// One run of each subject of the case; who goes first changes with the round.
fn measure(
    case: &Case,
    round: usize,
    options: &Options,
    samples: &mut report::Samples,
) -> Result<()> {
    for i in 0..case.subjects.len() {
        let subject = &case.subjects[(i + round) % case.subjects.len()];
        let mut tries = 0;
        let micros = loop {
            tries += 1;
            match case.time(subject, options.seconds) {
                Ok(micros) => break micros,
                Err(error) if tries < TRIES => eprintln!("  run discarded: {error:#}"),
                Err(error) => return Err(error.context(format!("{} {}", case.name, subject.name))),
            }
        };
        eprintln!(
            "  round {} {:<12} {:<13} {micros:8.2} µs",
            round + 1,
            case.name,
            subject.name
        );
        samples.add(case.name, subject.name, micros);
    }
    Ok(())
}
