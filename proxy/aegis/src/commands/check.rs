//! `aegis check`: everything that is wrong with a settings file, at once. What only shows when modules and SecLang are
//! started is tried last, if nothing else is wrong.

use crate::cli::{Check, EX_CONFIG, Output};
use crate::rehearsal;
use crate::sandbox::Price;
use crate::terminal::{self, line};
use aegis_certs::Times;
use aegis_control::Copies;
use aegis_settings::resolved::Validated;
use aegis_settings::{At, Problem, Severity};
use serde_json::{Value, json};
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
    let mut prices = Vec::new();
    if let (Ok(validated), false, false) = (
        &loaded.result,
        args.quick,
        problems.iter().any(Problem::is_error),
    ) {
        let rehearsed = rehearsal::run(validated)?;
        let file = args.config.display().to_string();
        problems.extend(
            rehearsed
                .problems
                .into_iter()
                .map(|message| refused(message, &file)),
        );
        prices = rehearsed.prices;
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
            let answer = json!({
                "ok": errors == 0,
                "id": id,
                "problems": problems,
                "waf_profiles": prices.iter().map(price_json).collect::<Vec<_>>(),
            });
            terminal::answer(&format!("{answer:#}\n"))?;
        }
        Output::Text => {
            let mut text = aegis_settings::render(&problems, terminal::stdout_coloured());
            if let (Ok(validated), 0) = (&loaded.result, errors) {
                text.push_str(&summary(validated));
                prices.iter().for_each(|price| price_text(price, &mut text));
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

/// What a node would say when it tried to go live with them.
fn refused(message: String, file: &str) -> Problem {
    let of_waf = message.starts_with("plugin `waf`") || message.starts_with("SecLang");
    Problem {
        severity: Severity::Error,
        key: if of_waf { "waf" } else { "plugins" }.to_owned(),
        message,
        help: None,
        at: Some(At {
            file: file.to_owned(),
            line: 0,
            column: 0,
        }),
    }
}

fn mib(price: &Price) -> u64 {
    price.memory.div_ceil(1 << 20)
}

fn price_json(price: &Price) -> Value {
    json!({ "seclang": price.seclang, "start_seconds": price.start.as_secs_f64(), "mib": mib(price) })
}

/// SecLang of its own is one more profile: each of its instances has all rules in memory.
fn price_text(price: &Price, text: &mut String) {
    let files: Vec<_> = price
        .seclang
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    line!(
        text,
        "waf profile with {}: {:.1} s to make ready after an edit, {} MiB for each of its instances (one a plugin thread; what they do not write to is there once)",
        files.join(", "),
        price.start.as_secs_f64(),
        mib(price)
    );
}
