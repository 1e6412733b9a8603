//! The honest requests of a run, and what is said of them.

use super::super::peers::Alone;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// An honest request that takes so long without an attack is no measure for those during one: somebody stands still.
const CALM_MS_MAX: f64 = 1_000.0;

/// An honest request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) kind: String,
    /// How long it took, or why it failed.
    pub(super) took: Result<f64, String>,
}

/// Asks for so long; the clients share a core with the proxy.
pub(super) fn ask(bin: &Path, alone: &Alone, seconds: u64) -> Result<Vec<Asked>> {
    let output = Command::new("taskset")
        .args(["-c", "1"])
        .arg(bin.join("bench-door"))
        .arg("legit")
        .args([alone.aegis.plain, alone.aegis.tls].map(|a| a.to_string()))
        .arg(seconds.to_string())
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    let asked: Option<Vec<Asked>> = text.lines().map(asked).collect();
    let asked = asked.with_context(|| text.clone())?;
    ensure!(!asked.is_empty(), "no honest request");
    Ok(asked)
}

/// A line of the honest clients'.
fn asked(line: &str) -> Option<Asked> {
    let (kind, took) = line.split_once(' ')?;
    Some(Asked {
        kind: kind.to_owned(),
        took: match took.strip_prefix("failed ") {
            Some(why) => Err(why.to_owned()),
            None => Ok(took.parse().ok()?),
        },
    })
}

/// That these can be a measure for others.
pub(super) fn quiet(calm: Vec<Asked>) -> Result<Vec<Asked>> {
    for (n, Asked { kind, took }) in calm.iter().enumerate() {
        match took {
            Err(why) => bail!(
                "an honest request ({kind}, number {n}) fails without any attack, so nothing can be said about attacks: {why}"
            ),
            Ok(ms) if *ms > CALM_MS_MAX => bail!(
                "an honest request ({kind}, number {n}) takes {ms:.0} ms without any attack: the proxy, its origin or this client stands still, and nothing can be said about attacks (load average {})",
                load()?
            ),
            Ok(_) => {}
        }
    }
    Ok(calm)
}

/// Of the last minute.
pub(super) fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// In short.
pub(super) fn described(asked: &[Asked]) -> String {
    let failed = asked.iter().filter(|asked| asked.took.is_err()).count();
    let [p50, p95, p99] = [50.0, 95.0, 99.0].map(|at| percentile(asked, at).unwrap_or(f64::NAN));
    let all = asked.len();
    format!("p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms, {failed} of {all} failed")
}

/// Where it hurts: p95 of each kind of client.
pub(super) fn by_kind(asked: &[Asked]) -> String {
    let mut kinds: BTreeMap<&str, Vec<Asked>> = BTreeMap::new();
    for one in asked {
        kinds.entry(&one.kind).or_default().push(one.clone());
    }
    let of = |(kind, asked): (&&str, &Vec<Asked>)| {
        let p95 = percentile(asked, 95.0).unwrap_or(f64::NAN);
        format!("{kind} {p95:.2}")
    };
    let kinds: Vec<_> = kinds.iter().map(of).collect();
    format!("p95 by kind: {}", kinds.join(", "))
}

/// Of the requests that were answered.
pub(super) fn percentile(asked: &[Asked], percent: f64) -> Option<f64> {
    let answered = asked.iter().filter_map(|asked| asked.took.as_ref().ok());
    let mut sorted: Vec<f64> = answered.copied().collect();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted.get(at.min(sorted.len().checked_sub(1)?)).copied()
}

/// All of them.
pub(super) fn json(asked: &[Asked]) -> Value {
    let one = |asked: &Asked| match &asked.took {
        Ok(ms) => json!({ "kind": asked.kind, "ms": ms }),
        Err(why) => json!({ "kind": asked.kind, "failed": why }),
    };
    asked.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::{Asked, asked, percentile, quiet};

    fn took(times: impl IntoIterator<Item = Option<f64>>) -> Vec<Asked> {
        let line = |ms: Option<f64>| match ms {
            Some(ms) => format!("kept_h2 {ms:.3}"),
            None => "kept_h2 failed the answer: closed".to_owned(),
        };
        times
            .into_iter()
            .map(|ms| asked(&line(ms)).unwrap())
            .collect()
    }

    #[test]
    fn percentiles_are_of_the_answered() {
        let times = took((1..=100).map(|n| Some(f64::from(n))));
        assert_eq!(percentile(&times, 99.0), Some(100.0));
        assert_eq!(percentile(&times, 50.0), Some(51.0));
        assert_eq!(percentile(&took([None, Some(1.0)]), 99.0), Some(1.0));
        assert_eq!(percentile(&took([None]), 99.0), None);
    }

    #[test]
    fn who_stands_still_or_fails_without_an_attack_is_no_measure() {
        assert!(quiet(took([Some(1.0), Some(900.0)])).is_ok());
        let error = quiet(took([Some(1.0), Some(31_146.6)])).unwrap_err();
        assert!(error.to_string().contains("kept_h2, number 1"), "{error}");
        let error = quiet(took([None])).unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
    }
}
