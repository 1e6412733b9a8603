//! `tls-probe URL [--cacert FILE] [--groups LIST]`: GETs the URL and prints what TLS agreed on, as JSON.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its answer goes to stdout")]

use anyhow::{Context, Result, bail};
use e2e::tls::{Offer, get};
use serde_json::json;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut url = None;
    let mut offer = Offer {
        groups: "X25519MLKEM768".to_owned(),
        ca: None,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--cacert" => offer.ca = Some(args.next().context("--cacert FILE")?.into()),
            "--groups" => offer.groups = args.next().context("--groups LIST")?,
            _ if arg.starts_with("https://") => url = Some(arg),
            _ => bail!("tls-probe https://HOST:PORT/PATH [--cacert FILE] [--groups LIST]"),
        }
    }
    let url = url.context("a URL that begins with https://")?;
    let rest = url.trim_start_matches("https://");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
    let to = (host, port.parse::<u16>().context("a port")?);
    let facts = get(to, authority, &format!("/{path}"), &offer)?;
    let answer = json!({
        "version": facts.version,
        "group": facts.group,
        "status": facts.status,
        "cache_status": facts.header("cache-status"),
        "first_byte_ms": facts.first_byte.as_secs_f64() * 1000.0,
    });
    println!("{answer}");
    Ok(())
}
