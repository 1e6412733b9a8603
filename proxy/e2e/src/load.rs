//! Many requests at once, by h2load.

use std::process::Command;

/// How many answers had which class of status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statuses {
    /// 200 to 299.
    pub ok: u32,
    /// 500 to 599.
    pub failed: u32,
    /// Anything else, and requests without an answer.
    pub other: u32,
}

/// Sends `total` requests over HTTP/1.1, `at_once` of them side by side.
///
/// # Panics
/// h2load does not run, or says something else than it used to.
#[must_use]
pub fn http1(url: &str, host: &str, total: u32, at_once: u32) -> Statuses {
    let (n, c, host) = (
        total.to_string(),
        at_once.to_string(),
        format!(":authority: {host}"),
    );
    let args = [
        "--h1",
        "-t",
        "1",
        "-n",
        &n,
        "-c",
        &c,
        "-H",
        &host,
        "-H",
        "user-agent: Mozilla/5.0",
        "-H",
        "accept: */*",
        url,
    ];
    #[expect(clippy::expect_used, reason = "test support")]
    let output = Command::new("h2load")
        .args(args)
        .output()
        .expect("h2load is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|l| l.strip_prefix("status codes: "));
    let counts: Vec<u32> = line
        .into_iter()
        .flat_map(|l| l.split(", "))
        .filter_map(|p| p.split(' ').next()?.parse().ok())
        .collect();
    match counts[..] {
        [ok, _, _, failed] => Statuses {
            ok,
            failed,
            other: total - ok - failed,
        },
        _ => panic!("h2load said: {text}"),
    }
}
