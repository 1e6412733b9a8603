//! `cargo xtask`: what `make` calls. Build, test, demo and bench are programs, not shell scripts.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    reason = "a developer's tool: its answers go to stdout"
)]

#[cfg(test)]
mod architecture;
mod bench;
mod demo;
mod dist;
mod ftw;
mod modules;
mod needs;
mod setup;
mod steps;
mod verify;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use needs::Target;
use std::process::ExitCode;

/// Aegis for developers. `make help` lists the usual ways in.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Look for what is needed and install what is missing
    Setup {
        /// What it is for
        #[arg(value_enum, default_value_t = Target::Test)]
        target: Target,
    },
    /// Setup, format, lints, build, modules, unit tests, e2e, tour; with a table of times
    Test,
    /// rustfmt and clippy, warnings are errors
    Lint,
    /// Build the Wasm modules into target/modules
    Modules,
    /// Put Aegis before a demo site and show what it does
    Demo(demo::Options),
    /// Build dist/ (release)
    Build,
    /// CPU a request, against nginx and bare Pingora in interleaved rounds
    BenchProxy(bench::Options),
    /// What the door costs, its memory for idle clients, and who is served while it is attacked
    BenchDoor(bench::DoorOptions),
    /// The Core Rule Set's own regression suite, as clients send it, and the module against native Coraza
    Ftw(ftw::Options),
}

fn main() -> ExitCode {
    let result = run(Cli::parse().task);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup { target } => setup::run(target),
        Task::Test => verify::test(),
        Task::Lint => verify::lint(),
        Task::Modules => {
            setup::run(Target::Demo)?;
            modules::build(&workspace::modules_dir())?;
            modules::build_examples(&workspace::modules_dir())?;
            modules::build_cases(&workspace::modules_dir())
        }
        Task::Demo(options) => demo::run(&options),
        Task::Build => dist::build(),
        Task::BenchProxy(options) => bench::run(&options),
        Task::BenchDoor(options) => bench::door(&options),
        Task::Ftw(options) => ftw::run(&options),
    }
}
