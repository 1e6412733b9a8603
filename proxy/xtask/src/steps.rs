//! Steps of a longer task: each is announced, timed and remembered, and the table is printed at the end.

use anyhow::{Result, bail};
use std::process::Command;
use std::time::{Duration, Instant};

/// Why a step may take longer than [`LONG`]. A step that does without a line here prints that it has none.
const WHY_LONG: &[(&str, &str)] = &[
    (
        "setup",
        "installs Debian packages on a machine that has none of them",
    ),
    (
        "lint",
        "on a first run clippy type-checks some 400 dependencies; BoringSSL is configured once",
    ),
    (
        "build",
        "on a first run BoringSSL (C++), wasmtime with Cranelift and Pingora are compiled; dependencies are optimised, or compiling the WAF's module would take minutes",
    ),
    (
        "modules",
        "on a first run Go compiles its standard library for wasip1, and Rust its own for wasm32",
    ),
    (
        "unit tests",
        "linking a test program a crate; the sandbox's tests compile Wasm modules",
    ),
    (
        "e2e",
        "starts the real binary for every behaviour; the WAF's module is compiled once (32 MB of machine code) and each instance compiles the rules",
    ),
    (
        "crs suite",
        "sends 4,674 tests of the Core Rule Set one after the other, since each is judged by what is logged meanwhile",
    ),
    (
        "tour",
        "compiles the WAF's module for a folder that has never seen it, as a newcomer's machine would",
    ),
];

const LONG: Duration = Duration::from_secs(60);

/// A run of steps.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration, bool)>,
}

impl Steps {
    /// Runs one step.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("\n── {name}");
        let start = Instant::now();
        let result = work();
        self.done
            .push((name.to_owned(), start.elapsed(), result.is_ok()));
        result.map_err(|e| e.context(format!("step “{name}” failed")))
    }

    /// The table of times.
    pub(crate) fn print(&self) {
        println!("\n{:<12} {:>8}", "step", "seconds");
        for (name, took, ok) in &self.done {
            let mark = if *ok { "" } else { "  ✗ failed" };
            let why = match WHY_LONG.iter().find(|(n, _)| n == name) {
                _ if *took < LONG => String::new(),
                Some((_, why)) => format!("  {why}"),
                None => "  over a minute, and no reason is written down in xtask/src/steps.rs"
                    .to_owned(),
            };
            println!("{name:<12} {:>8.1}{mark}{why}", took.as_secs_f64());
        }
        let all: Duration = self.done.iter().map(|(_, took, _)| *took).sum();
        println!("{:<12} {:>8.1}", "all", all.as_secs_f64());
    }
}

/// Runs a command with its output shown; an error names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`{shown}` ended with {status}"),
        Err(error) => bail!("`{shown}` could not be started: {error}"),
    }
}

fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    let args = command.get_args().map(|a| a.to_string_lossy());
    std::iter::once(name)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::Steps;
    use anyhow::bail;

    #[test]
    fn a_failed_step_is_named_and_stays_in_the_table() {
        let mut steps = Steps::default();
        steps.step("first", || Ok(())).unwrap();
        let error = steps.step("second", || bail!("no")).unwrap_err();
        assert_eq!(format!("{error:#}"), "step “second” failed: no");
        assert!(!steps.done[1].2);
    }
}
