//! The clients of `cargo xtask bench-door`: honest ones whose answers are timed, and those that attack.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the output is what it is for")]

mod h2;
mod idle;
mod tls;

use anyhow::{Context, Result, bail};
use std::io::{self, BufRead};
use std::net::SocketAddr;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, to, rest @ ..] = args.as_slice() else {
        bail!("what and where to");
    };
    let to: SocketAddr = to.parse().context("an address")?;
    let number = |at: usize| -> Result<usize> { Ok(rest.get(at).context("a number")?.parse()?) };
    match what.as_str() {
        "idle" => {
            let mut idle = idle::open(to, number(0)?)?;
            println!("open");
            // Until whoever measures says that it has.
            io::stdin().lock().read_line(&mut String::new())?;
            println!("answered {}", idle.ask());
            Ok(())
        }
        other => bail!("{other} is unknown"),
    }
}
