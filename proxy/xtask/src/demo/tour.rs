//! The steps of the tour, in order. ARCHITECTURE.md maps each to the code behind it.

use super::attacks::{self, ATTACKS};
use super::edits;
use super::say::{self, Told};
use super::scene::{Scene, shown};
use aegis_testkit::{Curl, demo, metrics::Scrape, paths};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::process::Command;

const UPLOAD: usize = 10 * 1024 * 1024;

type Step = fn(&mut Scene) -> Result<Told>;

/// Walks through all steps and says how many did not hold.
pub(super) fn walk(scene: &mut Scene) -> Result<usize> {
    say::heading(
        "A short tour. Each step: what was sent → what came back · what it shows, and how to see it again.",
    );
    let before = scene.scrape()?;
    let mut first_byte_ms = 0.0;
    let mut told = vec![page(scene, &mut first_byte_ms).unwrap_or_else(|e| broken("GET /", &e))];
    say::step(1, &told[0]);
    tell(
        &mut told,
        again(scene, first_byte_ms).unwrap_or_else(|e| broken("GET / again", &e)),
    );
    for attack in ATTACKS {
        tell(
            &mut told,
            attacks::send(scene, attack).unwrap_or_else(|e| broken(attack.name, &e)),
        );
    }
    let rest: [(&str, Step); 3] = [
        ("an upload", upload),
        ("a bad edit", edits::bad),
        ("a good edit", edits::good),
    ];
    for (name, step) in rest {
        tell(&mut told, step(scene).unwrap_or_else(|e| broken(name, &e)));
    }
    tell(
        &mut told,
        metrics(scene, &before).unwrap_or_else(|e| broken("GET /metrics", &e)),
    );
    let failed = told.iter().filter(|t| !t.held).count();
    println!("\n{} of {} steps held", told.len() - failed, told.len());
    Ok(failed)
}

fn tell(all: &mut Vec<Told>, told: Told) {
    say::step(all.len() + 1, &told);
    all.push(told);
}

fn broken(what: &str, error: &anyhow::Error) -> Told {
    Told {
        sent: what.to_owned(),
        got: format!("{error:#}"),
        shows: "this step broke".to_owned(),
        again: "make demo".to_owned(),
        held: false,
    }
}

/// The probe links BoringSSL, as curl's TLS library may not know the key share yet.
fn page(scene: &Scene, first_byte_ms: &mut f64) -> Result<Told> {
    let url = format!("https://localhost:{}/", scene.tls.port());
    let probe = paths::binary("tls-probe");
    let output = Command::new(&probe)
        .args([&url, "--cacert"])
        .arg(scene.certificate())
        .output()?;
    let facts: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    *first_byte_ms = facts["first_byte_ms"].as_f64().unwrap_or(0.0);
    let text = |name: &str| facts[name].as_str().unwrap_or("–").to_owned();
    let cache = text("cache_status");
    Ok(Told {
        sent: "GET / over TLS, offering X25519MLKEM768".to_owned(),
        got: format!("{} in {:.1} ms, {}, {}, {cache}", facts["status"], first_byte_ms, text("version"), text("group")),
        shows: "a page by TLS 1.3 with a post-quantum key share (seen by a BoringSSL client), fetched from the shop, which takes 60 ms to make it".to_owned(),
        again: format!("{} {url} --cacert {}", shown(&probe), shown(&scene.certificate())),
        held: facts["status"] == 200 && text("version") == "TLSv1.3" && text("group") == "X25519MLKEM768" && cache.contains("fwd="),
    })
}

fn again(scene: &Scene, first_byte_ms: f64) -> Result<Told> {
    let curl = scene.curl("/").http2();
    let answer = curl.send();
    let cache = answer.header("cache-status").to_owned();
    let ms = answer.first_byte * 1000.0;
    Ok(Told {
        sent: "GET / again, HTTP/2".to_owned(),
        got: format!("{} in {ms:.1} ms, {cache}", answer.status),
        shows: format!(
            "from memory, {:.0} times as fast; the shop was not asked",
            first_byte_ms / ms.max(0.01)
        ),
        again: curl.arg(&["-sD-", "-o", "/dev/null"]).typed(),
        held: answer.status == 200
            && answer.version == "2"
            && cache.contains("hit")
            && ms < first_byte_ms,
    })
}

fn upload(scene: &mut Scene) -> Result<Told> {
    let file = scene.dir.join("holiday.bin");
    // Not random: the same bytes each time, and nothing a compressor or a rule could take for text.
    let bytes: Vec<u8> = (0..UPLOAD as u64)
        .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect();
    fs::write(&file, &bytes)?;
    let form = format!("file=@{}", shown(&file));
    let curl: Curl = scene.curl("/upload").http2().arg(&["-F", &form]);
    let answer = curl.send();
    let got = answer.json()["files"][0].clone();
    let hash = demo::sha256(&bytes);
    Ok(Told {
        sent: "an honest upload of 10 MiB, multipart".to_owned(),
        got: format!(
            "{}, the shop received {} bytes, sha256 {}…",
            answer.status,
            got["size"],
            got["sha256"]
                .as_str()
                .unwrap_or("–")
                .get(..12)
                .unwrap_or("–")
        ),
        shows: "big files pass the WAF byte by byte as they were sent".to_owned(),
        again: format!("{}; sha256sum {}", curl.typed(), shown(&file)),
        held: answer.status == 200 && got["size"] == UPLOAD && got["sha256"] == hash.as_str(),
    })
}

fn metrics(scene: &mut Scene, before: &Scrape) -> Result<Told> {
    let now = scene.scrape()?;
    let risen = |name: &str, labels: &[&str]| now.sum(name, labels) - before.sum(name, labels);
    let counts = [
        ("requests", risen("aegis_requests_total", &[])),
        (
            "blocks",
            risen("aegis_waf_verdicts_total", &["verdict=\"block\""]),
        ),
        (
            "cache hits",
            risen("aegis_cache_requests_total", &["result=\"hit\""]),
        ),
        (
            "refused settings",
            risen("aegis_config_rejected_total", &[]),
        ),
    ];
    let got: Vec<String> = counts
        .iter()
        .map(|(what, n)| format!("{what} +{n}"))
        .collect();
    let more = now.risen_since(before).len();
    Ok(Told {
        sent: "GET /metrics".to_owned(),
        got: format!("{}; {more} series rose in all", got.join(", ")),
        shows: "all of it is counted".to_owned(),
        again: format!("curl -s http://{}/metrics | grep -v '^#'", scene.metrics),
        held: counts.iter().all(|(_, n)| *n > 0.0) && scene.is_up(),
    })
}
