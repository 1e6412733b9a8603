//! `aegis`, the program: reads the command line, does one command, ends with its exit code.
//!
//! Exit codes: 0 done · 1 failed · 64 the command line makes no sense · 78 the settings are wrong.
#![forbid(unsafe_code)]

mod admin_client;
mod app;
mod banner;
mod bans;
mod cli;
mod commands;
mod explain;
mod login;
mod modules;
mod organs;
mod plane;
mod rehearsal;
mod sandbox;
mod serve;
mod signals;
mod state_dir;
mod terminal;

use clap::Parser;
use clap::error::ErrorKind;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // Nobody to tell if the terminal is gone.
            drop(error.print());
            return if asked {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(cli::EX_USAGE)
            };
        }
    };
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            terminal::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
