//! `aegis check`: everything that is wrong with a settings file, at once.

use crate::cli::{Check, EX_CONFIG, Output};
use crate::terminal;
use aegis_certs::Times;
use aegis_control::Copies;
use aegis_settings::resolved::Validated;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(args: &Check) -> anyhow::Result<ExitCode> {
    let loaded = aegis_settings::load(&args.config);
    let mut problems = loaded.problems;
    if let Ok(validated) = &loaded.result {
        problems.extend(crate::organs::check(
            validated,
            &Copies::new(),
            &args.config.display().to_string(),
            Times::Refuse,
        ));
    }
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let id = loaded
        .result
        .as_ref()
        .ok()
        .filter(|_| errors == 0)
        .map(|validated| validated.id.clone());
    match args.output {
        Output::Json => {
            let answer = json!({ "ok": errors == 0, "id": id, "problems": problems });
            terminal::answer(&format!("{answer:#}\n"))?;
        }
        Output::Text => {
            let mut text = aegis_settings::render(&problems, terminal::stdout_coloured());
            if let (Ok(validated), 0) = (&loaded.result, errors) {
                text.push_str(&summary(validated));
            }
            terminal::answer(&text)?;
        }
    }
    Ok(if errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EX_CONFIG)
    })
}

fn summary(validated: &Validated) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "ok: config {}, {}, {}, {}\n",
        validated.id,
        count(validated.settings.listeners.len(), "listener"),
        count(validated.sites.len(), "site"),
        count(validated.pools.len(), "pool"),
    )
}
