//! The clients of `cargo xtask bench-door`: honest ones whose answers are timed, and those that attack.
//!
//! ```text
//! bench-door idle TLS COUNT               holds COUNT idle connections of HTTP/2 until a line comes; says how many answer
//! bench-door legit PLAIN TLS SECONDS      a line for each request: its kind, and milliseconds or `failed` and why
//! bench-door attack NAME PLAIN TLS SECONDS IDLE   the attack “idle” holds IDLE connections
//! bench-door attacks                      the names
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the output is what it is for")]

mod attacks;
mod h2;
mod idle;
mod legit;
mod tls;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, BufRead};
use std::net::SocketAddr;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address = |text: &str| text.parse::<SocketAddr>().context("an address");
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    match args.as_slice() {
        ["idle", to, count] => {
            let mut idle = idle::open(address(to)?, count.parse()?)?;
            println!("open");
            // Until whoever measures says that it has.
            io::stdin().lock().read_line(&mut String::new())?;
            println!("answered {}", idle.ask());
        }
        ["legit", plain, encrypted, seconds] => {
            for asked in legit::run(address(plain)?, address(encrypted)?, seconds.parse()?) {
                match asked.answered {
                    Ok(time) => println!("{} {time:.3}", asked.kind),
                    Err(error) => println!("{} failed {error:#}", asked.kind),
                }
            }
        }
        ["attack", name, plain, encrypted, seconds, idle] => {
            let under_way = || println!("under way");
            let seconds = seconds.parse()?;
            attacks::run(
                name,
                address(plain)?,
                address(encrypted)?,
                seconds,
                idle.parse()?,
                under_way,
            )?;
        }
        ["attacks"] => attacks::NAMES.iter().for_each(|name| println!("{name}")),
        _ => bail!("idle, legit, attack or attacks; see the head of this program"),
    }
    Ok(())
}
