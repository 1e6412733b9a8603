//! What is measured of whom.

use super::cpu;
use super::load::Load;
use super::peers::{BODY, Peer, Peers};
use aegis_testkit::{Answer, Curl, wait};
use anyhow::{Context, Result, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

/// One load on several proxies.
pub(super) struct Case<'a> {
    pub(super) name: &'static str,
    load: Load,
    path: &'static str,
    headers: &'static [&'static str],
    pub(super) subjects: Vec<Subject<'a>>,
}

/// A proxy in a case.
pub(super) struct Subject<'a> {
    pub(super) name: &'static str,
    peer: &'a Peer,
}

/// What a browser sends.
const BROWSER: &[&str] = &[
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Upgrade-Insecure-Requests: 1",
];

const WARM_UP_SECONDS: u64 = 1;

/// A run with fewer tells of the machine and not of the proxy.
const REQUESTS_A_SECOND_MIN: u64 = 50;

/// All cases.
pub(super) fn all(peers: &Peers) -> Vec<Case<'_>> {
    let [aegis, shipped, bare, nginx, nginx_shipped] = [
        ("aegis", &peers.aegis),
        ("aegis", &peers.shipped),
        ("bare_pingora", &peers.bare),
        ("nginx", &peers.nginx),
        ("nginx", &peers.nginx_shipped),
    ];
    vec![
        Case {
            name: "h1",
            load: Load::Http1,
            path: "/",
            headers: &[],
            subjects: subjects([aegis, bare, nginx]),
        },
        Case {
            name: "h2_tls",
            load: Load::Http2,
            path: "/",
            headers: &[],
            subjects: subjects([aegis, bare, nginx]),
        },
        Case {
            name: "handshake",
            load: Load::Handshake,
            path: "/",
            headers: &[],
            subjects: subjects([aegis, bare, nginx]),
        },
        Case {
            name: "memory_hit",
            load: Load::Http1,
            path: "/c/x",
            headers: &[],
            subjects: subjects([aegis, nginx]),
        },
        Case {
            name: "shipped_hit",
            load: Load::Http1,
            path: "/c/x",
            headers: &[],
            subjects: subjects([shipped, nginx_shipped]),
        },
        Case {
            name: "waf_clean_get",
            load: Load::Http1Few,
            path: "/",
            headers: BROWSER,
            subjects: subjects([shipped]),
        },
    ]
}

fn subjects<'a, const N: usize>(list: [(&'static str, &'a Peer); N]) -> Vec<Subject<'a>> {
    list.into_iter()
        .map(|(name, peer)| Subject { name, peer })
        .collect()
}

impl Case<'_> {
    /// That all subjects do what is to be measured: same bytes, a hit where a hit is measured.
    pub(super) fn check(&self) -> Result<()> {
        for subject in &self.subjects {
            let first = self.ask(subject);
            ensure!(
                first.status == 200,
                "{} answers {} ({})",
                subject.name,
                first.status,
                first.error
            );
            let answer = self.ask(subject);
            ensure!(
                answer.body.len() == BODY,
                "{} sends {} bytes",
                subject.name,
                answer.body.len()
            );
            let cache = format!(
                "{} {}",
                answer.header("cache-status"),
                answer.header("x-cache")
            )
            .to_lowercase();
            let must_hit = self.path.starts_with("/c/");
            ensure!(
                cache.split([' ', ';']).any(|word| word == "hit") == must_hit,
                "{}: cache says “{cache}”",
                subject.name
            );
            let version = if self.load == Load::Http2 { "2" } else { "1.1" };
            ensure!(
                answer.version == version,
                "{} speaks HTTP/{}",
                subject.name,
                answer.version
            );
        }
        Ok(())
    }

    /// CPU time a request, in microseconds.
    pub(super) fn time(&self, subject: &Subject<'_>, seconds: u64) -> Result<f64> {
        let url = self.url(subject);
        self.load.run(&url, self.headers, WARM_UP_SECONDS)?;
        if let Some(log) = &subject.peer.log {
            settled_lines(log)?;
            // Both open their log for appending, so it can be emptied under them.
            OpenOptions::new().write(true).open(log)?.set_len(0)?;
        }
        let before = cpu::micros(&subject.peer.processes)?;
        let requests = self.load.run(&url, self.headers, seconds)?;
        let micros = cpu::micros(&subject.peer.processes)? - before;
        if let Some(log) = &subject.peer.log {
            let lines = settled_lines(log)?;
            ensure!(
                lines >= requests,
                "{requests} requests, but {lines} lines in {}",
                log.display()
            );
        }
        let least = seconds * REQUESTS_A_SECOND_MIN;
        ensure!(requests >= least, "only {requests} requests in {seconds} s");
        ensure!(
            micros > 0.0,
            "{requests} requests without a tick of CPU time"
        );
        Ok(micros / requests as f64)
    }

    fn url(&self, subject: &Subject<'_>) -> String {
        match self.load {
            Load::Http1 | Load::Http1Few => format!("http://{}{}", subject.peer.plain, self.path),
            Load::Http2 | Load::Handshake => format!("https://{}{}", subject.peer.tls, self.path),
        }
    }

    fn ask(&self, subject: &Subject<'_>) -> Answer {
        let curl = self
            .headers
            .iter()
            .fold(Curl::get(self.url(subject)).arg(&["-k"]), |c, h| {
                c.header(h)
            });
        if self.load == Load::Http2 {
            curl.http2().send()
        } else {
            curl.http1().send()
        }
    }
}

/// Lines of a log once it has stopped to grow.
fn settled_lines(log: &Path) -> Result<u64> {
    let mut size = 0;
    wait::try_within(Duration::from_secs(10), || {
        std::thread::sleep(Duration::from_millis(1_100));
        let now = fs::metadata(log).ok()?.len();
        let settled = now == size;
        size = now;
        settled.then_some(())
    })
    .with_context(|| format!("{} does not settle", log.display()))?;
    Ok(BufReader::new(File::open(log)?).split(b'\n').count() as u64)
}
