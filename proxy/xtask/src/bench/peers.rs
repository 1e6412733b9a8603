//! The proxies under measurement and the origin behind all of them.
//!
//! Equal for all: one worker on core 1, the same P-256 certificate, X25519 and P-256, no session tickets, the
//! same origin and bytes. nginx and Aegis write an access log; bare Pingora has none to write. Tuned nginx
//! buffers its log as Aegis does, "as shipped" it does not.

use super::cpu;
use aegis_testkit::certs::{Authority, Pair};
use aegis_testkit::nginx::Nginx;
use aegis_testkit::process::Process;
use aegis_testkit::{ports, raw, wait};
use anyhow::{Context, Result};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Bytes of each answer.
pub(super) const BODY: usize = 1024;
/// And of `/big`, which no buffer between here and a client holds whole.
const BIG: usize = 16 << 20;

const PROXIES: [&str; 3] = ["taskset", "-c", "1"];
const OTHERS: [&str; 3] = ["taskset", "-c", "0"];

/// A running proxy.
pub(super) struct Peer {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) processes: Vec<u32>,
    /// Its access log, if it has one.
    pub(super) log: Option<PathBuf>,
}

/// All of them.
pub(super) struct Peers {
    /// Without modules, cache only below `/c/`.
    pub(super) aegis: Peer,
    /// Default settings: WAF on, a worker a core (all on core 1).
    pub(super) shipped: Peer,
    pub(super) bare: Peer,
    pub(super) nginx: Peer,
    pub(super) nginx_shipped: Peer,
    /// Memory of `aegis` before the first request.
    pub(super) idle_rss_mib: f64,
    _running: (Vec<Process>, Nginx, Nginx, Authority, TempDir),
}

/// Aegis before an origin, both on core 1: for a bench whose other core belongs to somebody else.
pub(super) struct Alone {
    pub(super) aegis: Peer,
    _running: (Process, Nginx, Authority, TempDir),
}

impl Alone {
    /// Starts both, without modules, the cache below `/c/`; every client there is comes from one address.
    ///
    /// Elsewhere the origin's CPU is no core of the proxy's. So its send buffers are bounded, with whose 4 MiB of Linux it
    /// copies near a gigabyte for 200 clients that ask for a long answer, and it sends that by `sendfile`, as Debian's nginx.
    pub(super) fn start(bin: &Path) -> Result<Self> {
        let dir = TempDir::with_prefix("aegis-bench-")?;
        let authority = Authority::new();
        let pair = authority.issue(&["localhost", "127.0.0.1"]);
        let origin = origin(&PROXIES, "sndbuf=128k")?;
        let node = "  workers: 1\n  client: { connections_per_address: 20000 }\n";
        let (aegis, process) = aegis(
            bin,
            dir.path(),
            "alone",
            &pair,
            origin.address(),
            node,
            TUNED,
        )?;
        Ok(Self {
            aegis,
            _running: (process, origin, authority, dir),
        })
    }
}

impl Peers {
    /// Starts all and waits until they answer.
    pub(super) fn start(bin: &Path) -> Result<Self> {
        let dir = TempDir::with_prefix("aegis-bench-")?;
        let authority = Authority::new();
        let pair = authority.issue(&["localhost", "127.0.0.1"]);
        let origin = origin(&OTHERS, "")?;
        let (aegis, one) = aegis(
            bin,
            dir.path(),
            "tuned",
            &pair,
            origin.address(),
            "  workers: 1\n",
            TUNED,
        )?;
        std::thread::sleep(Duration::from_secs(1));
        let idle_rss_mib = cpu::rss_mib(one.id())?;
        let (shipped, two) = aegis_shipped(bin, dir.path(), &pair, origin.address())?;
        let (bare, three) = bare(bin, &pair, origin.address())?;
        let (nginx, nginx_shipped, four) = nginx(&pair, origin.address())?;
        Ok(Self {
            aegis,
            shipped,
            bare,
            nginx,
            nginx_shipped,
            idle_rss_mib,
            _running: (vec![one, two, three], origin, four, authority, dir),
        })
    }
}

fn origin(core: &[&str], listen: &str) -> Result<Nginx> {
    let dir = TempDir::with_prefix("aegis-bench-origin-")?;
    let www = dir.path().join("www");
    fs::create_dir(&www)?;
    fs::write(www.join("1k.txt"), "x".repeat(BODY))?;
    fs::write(www.join("big"), "x".repeat(BIG))?;
    let address = ports::free_address();
    let http = format!(
        "access_log off; default_type text/plain; root {};\n\
         server {{ listen {address} backlog=4096 {listen};\n\
           location /c/ {{ add_header Cache-Control \"public, max-age=3600\"; try_files /1k.txt =404; }}\n\
           location = /big {{ sendfile on; add_header Cache-Control no-store; }}\n\
           location / {{ add_header Cache-Control no-store; try_files /1k.txt =404; }} }}",
        www.display()
    );
    Ok(Nginx::start(dir, address, "", &http, core))
}

const TUNED: &str = "    waf: { mode: off }
    cache: { enabled: false }
    routes:
      - match: { path: /c/* }
        cache: { enabled: true }
";

fn aegis_shipped(
    bin: &Path,
    dir: &Path,
    pair: &Pair,
    origin: SocketAddr,
) -> Result<(Peer, Process)> {
    aegis(bin, dir, "shipped", pair, origin, "", "")
}

fn aegis(
    bin: &Path,
    dir: &Path,
    name: &str,
    pair: &Pair,
    origin: SocketAddr,
    node: &str,
    site: &str,
) -> Result<(Peer, Process)> {
    let (plain, tls, metrics) = (
        ports::free_address(),
        ports::free_address(),
        ports::free_address(),
    );
    let log = dir.join(format!("{name}.log"));
    let text = format!(
        "version: 1\nnode:\n{node}  state_dir: {name}\n  admin: {{ socket: {name}.sock, metrics: \"{metrics}\" }}\n  log: {{ access_path: {} }}\n\
         listeners:\n  - address: \"{plain}\"\n  - address: \"{tls}\"\n    tls: {{}}\n\
         certificates:\n  - {{ cert: {}, key: \"file:{}\" }}\n\
         sites:\n  - hosts: [\"*\"]\n    origin: http://{origin}\n{site}",
        log.display(),
        pair.cert.display(),
        pair.key.display()
    );
    let config = dir.join(format!("{name}.yaml"));
    fs::write(&config, text)?;
    let process = pinned(
        &bin.join("aegis"),
        &[
            "run".to_owned(),
            "-c".to_owned(),
            config.display().to_string(),
        ],
    );
    wait::try_within(Duration::from_secs(300), || {
        let ready = raw::try_get(metrics, "/readyz").is_some_and(|a| a.status() == 200);
        (ready || process.ended().is_some()).then_some(())
    });
    if process.ended().is_some() {
        anyhow::bail!("aegis ended:\n{}", process.output());
    }
    Ok((
        Peer {
            plain,
            tls,
            processes: vec![process.id()],
            log: Some(log),
        },
        process,
    ))
}

fn bare(bin: &Path, pair: &Pair, origin: SocketAddr) -> Result<(Peer, Process)> {
    let (plain, tls) = (ports::free_address(), ports::free_address());
    let args = [
        origin.to_string(),
        plain.to_string(),
        tls.to_string(),
        pair.cert.display().to_string(),
        pair.key.display().to_string(),
    ];
    let process = pinned(&bin.join("bare-pingora"), &args);
    wait::try_within(Duration::from_secs(10), || raw::try_get(plain, "/"))
        .with_context(|| process.output())?;
    Ok((
        Peer {
            plain,
            tls,
            processes: vec![process.id()],
            log: None,
        },
        process,
    ))
}

fn pinned(program: &Path, args: &[String]) -> Process {
    let program = program.display().to_string();
    let words = PROXIES
        .iter()
        .skip(1)
        .map(ToString::to_string)
        .chain([program])
        .chain(args.iter().cloned());
    Process::start(Path::new(PROXIES[0]), words)
}

fn nginx(pair: &Pair, origin: SocketAddr) -> Result<(Peer, Peer, Nginx)> {
    let dir = TempDir::with_prefix("aegis-bench-nginx-")?;
    let at = dir.path().to_path_buf();
    let (tuned, shipped) = (
        (ports::free_address(), ports::free_address()),
        (ports::free_address(), ports::free_address()),
    );
    let logs = (at.join("tuned.log"), at.join("shipped.log"));
    let server = |(plain, tls): (SocketAddr, SocketAddr), log: String| {
        format!(
            "server {{ listen {plain} backlog=4096; listen {tls} ssl http2; access_log {log};\n\
             ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:P-256;\n\
             ssl_session_cache off; ssl_session_tickets off;\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             location / {{ proxy_pass http://b; }}\n\
             location /c/ {{ proxy_cache z; proxy_cache_lock on; add_header X-Cache $upstream_cache_status; proxy_pass http://b; }} }}\n",
            pair.cert.display(),
            pair.key.display()
        )
    };
    let http = format!(
        "proxy_cache_path {}/cache keys_zone=z:10m max_size=100m;\n upstream b {{ server {origin}; keepalive 128; }}\n{}{}",
        at.display(),
        server(
            tuned,
            format!("{} combined buffer=64k flush=1s", logs.0.display())
        ),
        server(shipped, format!("{} combined", logs.1.display()))
    );
    let nginx = Nginx::start(dir, tuned.0, "", &http, &PROXIES);
    let processes = cpu::nginx_workers(nginx.id());
    let peer = |(plain, tls), log| Peer {
        plain,
        tls,
        processes: processes.clone(),
        log: Some(log),
    };
    Ok((peer(tuned, logs.0), peer(shipped, logs.1), nginx))
}
