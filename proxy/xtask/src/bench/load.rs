//! The generators: wrk for HTTP/1 and handshakes, h2load for HTTP/2, on core 0.

use anyhow::{Context, Result, bail};
use std::process::Command;

/// How the load is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// 32 connections that stay open.
    Http1,
    /// 4 of them: the WAF has one thread, and who waits longer than 100 ms for it is refused.
    Http1Few,
    /// 8 connections, each with one request: a handshake a request.
    Handshake,
    /// 8 connections with 16 streams each.
    Http2,
}

impl Load {
    /// Runs for this long and gives the number of requests; any error or status but 2xx fails it.
    pub(super) fn run(self, url: &str, headers: &[&str], seconds: u64) -> Result<u64> {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
        match self {
            Self::Http1 => command.args(["wrk", "-t1", "-c32", &format!("-d{seconds}s")]),
            Self::Http1Few => command.args(["wrk", "-t1", "-c4", &format!("-d{seconds}s")]),
            Self::Handshake => command.args([
                "wrk",
                "-t1",
                "-c8",
                &format!("-d{seconds}s"),
                "-H",
                "Connection: close",
            ]),
            Self::Http2 => command.args(["h2load", "-t1", "-c8", "-m16", &format!("-D{seconds}")]),
        };
        for header in headers {
            command.args(["-H", header]);
        }
        let output = command
            .arg(url)
            .output()
            .context("the generator does not start")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{text}{}", String::from_utf8_lossy(&output.stderr));
        }
        match self {
            Self::Http1 | Self::Http1Few | Self::Handshake => requests_of_wrk(&text),
            Self::Http2 => requests_of_h2load(&text),
        }
    }
}

fn requests_of_wrk(text: &str) -> Result<u64> {
    if let Some(line) = text
        .lines()
        .find(|l| l.contains("Non-2xx") || l.contains("Socket errors"))
    {
        bail!("{}", line.trim());
    }
    let line = text
        .lines()
        .find(|l| l.contains(" requests in "))
        .with_context(|| text.to_owned())?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// `requests: 1000 total, 1128 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout`
fn requests_of_h2load(text: &str) -> Result<u64> {
    let line = text
        .lines()
        .find(|l| l.starts_with("requests:"))
        .with_context(|| text.to_owned())?;
    let number = |what: &str| {
        let part = line
            .split([',', ':'])
            .find(|p| p.trim_end().ends_with(what))?;
        part.split_whitespace().next()?.parse::<u64>().ok()
    };
    let bad: u64 = ["failed", "errored", "timeout"]
        .iter()
        .filter_map(|w| number(w))
        .sum();
    if bad > 0 {
        bail!("{line}");
    }
    number("done").with_context(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{requests_of_h2load, requests_of_wrk};

    #[test]
    fn requests_are_counted_and_errors_refused() {
        assert_eq!(
            requests_of_wrk("Running\n  120 requests in 1.00s, 1MB read\n").unwrap(),
            120
        );
        assert!(
            requests_of_wrk("  120 requests in 1.00s\n  Non-2xx or 3xx responses: 3\n").is_err()
        );
        let line =
            "requests: 10 total, 12 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout";
        assert_eq!(requests_of_h2load(line).unwrap(), 10);
        assert!(requests_of_h2load(&line.replace("0 failed", "1 failed")).is_err());
    }
}
