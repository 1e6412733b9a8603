//! Two edits of the settings: one that is refused, one that is live at once.

use super::say::Told;
use super::scene::{Scene, shown};
use aegis_testkit::{paths, wait};
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

const WAF: &str = "waf: { mode: block }";

pub(super) fn bad(scene: &mut Scene) -> Result<Told> {
    let file = scene.settings();
    let good = fs::read_to_string(&file)?;
    let rejected = |scene: &Scene| {
        scene
            .scrape()
            .map(|s| s.sum("aegis_config_rejected_total", &[]))
    };
    let before = rejected(scene)?;
    fs::write(&file, good.replace(WAF, "waf: { mode: block, paranoa: 2 }"))?;
    let counted = wait::try_within(Duration::from_secs(10), || {
        (rejected(scene).ok()? > before).then_some(())
    });
    let check = Command::new(paths::binary("aegis"))
        .args(["check", "-c", &shown(&file)])
        .env("NO_COLOR", "1")
        .output()?;
    let said = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
    let serving = scene.curl("/about").send().status;
    fs::write(&file, good)?;
    let line = |part: &str| said.lines().find(|l| l.contains(part)).map(squeeze);
    let error = line("paranoa").unwrap_or_else(|| "no error names the key".to_owned());
    let remedy = line("did you mean").unwrap_or_else(|| "no remedy".to_owned());
    Ok(Told {
        sent: "a typing error in the settings, saved".to_owned(),
        got: format!("refused: {error}: {remedy}; GET /about {serving}"),
        shows: "a bad file never replaces a good one, and serving goes on".to_owned(),
        again: format!(
            "sed -i 's/mode: block/&, paranoa: 2/' {0}; {1} check -c {0}",
            shown(&file),
            shown(&paths::binary("aegis"))
        ),
        held: counted.is_some()
            && check.status.code() == Some(78)
            && serving == 200
            && error.contains("aegis.yaml:")
            && remedy.contains("paranoia"),
    })
}

pub(super) fn good(scene: &mut Scene) -> Result<Told> {
    let file = scene.settings();
    let new = fs::read_to_string(&file)?.replace(
        WAF,
        "waf: { mode: block }\n    routes:\n      - match: { path: /hello }\n        respond: { status: 200, content_type: text/plain, body: \"hello from the settings\" }",
    );
    let start = Instant::now();
    fs::write(&file, new)?;
    let curl = scene.curl("/hello");
    let live = wait::try_within(Duration::from_secs(10), || {
        Some(curl.send()).filter(|a| a.status == 200)
    });
    let took = start.elapsed();
    let answer = live.context("the new route never answered")?;
    Ok(Told {
        sent: "a new route /hello in the settings, saved".to_owned(),
        got: format!(
            "{} “{}” after {:.2} s",
            answer.status,
            answer.text().trim(),
            took.as_secs_f64()
        ),
        shows: "a good edit is live within a second, without a restart".to_owned(),
        again: curl.typed(),
        held: took <= Duration::from_secs(1),
    })
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
