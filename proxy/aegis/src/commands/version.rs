//! `aegis version`: what is at work.

use crate::cli::{Output, Version};
use crate::{modules, terminal};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Versions pinned in the workspace; a test holds them to `Cargo.lock`.
const PINGORA: &str = "0.9.1";
const WASMTIME: &str = "48.0.8";

pub(super) fn run(args: &Version) -> anyhow::Result<ExitCode> {
    let module = modules::coraza_versions();
    let of = |key: &str| {
        module
            .as_ref()
            .and_then(|m| m.get(key))
            .and_then(Value::as_str)
    };
    let (coraza, crs) = (of("coraza"), of("crs"));
    let text = match args.output {
        Output::Json => {
            let answer = json!({
                "aegis": env!("CARGO_PKG_VERSION"), "pingora": PINGORA, "wasmtime": WASMTIME,
                "coraza": coraza, "crs": crs,
            });
            format!("{answer:#}\n")
        }
        Output::Text => {
            let waf = match (coraza, crs) {
                (None, None) => modules::coraza().map_or_else(
                    |error| format!("{error:#}"),
                    |path| format!("coraza of unknown version in {}", path.display()),
                ),
                (coraza, crs) => format!(
                    "coraza {}, CRS {}",
                    coraza.unwrap_or("?"),
                    crs.unwrap_or("?")
                ),
            };
            format!(
                "aegis {}\npingora {PINGORA}, wasmtime {WASMTIME}\n{waf}\n",
                env!("CARGO_PKG_VERSION")
            )
        }
    };
    terminal::answer(&text)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_told_are_those_built_in() {
        let lock = include_str!("../../../../Cargo.lock");
        for (name, version) in [("pingora-core", PINGORA), ("wasmtime", WASMTIME)] {
            assert!(
                lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")),
                "{name}"
            );
        }
    }
}
