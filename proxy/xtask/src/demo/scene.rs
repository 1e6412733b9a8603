//! What the tour is given in: the shop, Aegis with its settings, and where all that is.

use super::say;
use crate::workspace::target_dir;
use aegis_testkit::metrics::Scrape;
use aegis_testkit::process::Process;
use aegis_testkit::raw::{self, Raw};
use aegis_testkit::{Curl, Origin, demo, paths, ports, wait};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Compiling the WAF's module on a slow machine, with room.
const READY: Duration = Duration::from_secs(300);

pub(super) struct Scene {
    pub(super) dir: PathBuf,
    pub(super) tls: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) metrics: SocketAddr,
    aegis: Process,
    shop: Origin,
    /// Says that the folder is in use.
    _lock: File,
}

impl Scene {
    /// Starts everything and waits until it serves.
    pub(super) fn start() -> Result<Self> {
        let (dir, lock) = folder()?;
        let [tls, http, metrics] = [8443, 8080, 9901].map(preferably);
        let shop = demo::serve(ports::free_address());
        fs::write(
            dir.join("aegis.yaml"),
            settings(&shop.url(), tls, http, metrics),
        )?;
        // A log of an earlier demo would be read as this one's.
        drop(fs::remove_file(dir.join("access.log")));
        eprintln!("\nthe shop is at {}; starting Aegis before it", shop.url());
        let args = ["run", "-c", "aegis.yaml"];
        let aegis = Process::start_in(&paths::binary("aegis"), args, |c| {
            c.current_dir(&dir);
        });
        let scene = Self {
            dir,
            tls,
            http,
            metrics,
            aegis,
            shop,
            _lock: lock,
        };
        scene.wait_ready()?;
        Ok(scene)
    }

    fn wait_ready(&self) -> Result<()> {
        let start = Instant::now();
        let mut told = 0;
        while start.elapsed() < READY {
            if let Some(status) = self.aegis.ended() {
                bail!("aegis ended with {status}:\n{}", self.aegis.output());
            }
            if raw::try_get(self.metrics, "/readyz").is_some_and(|a| a.status() == 200) {
                eprintln!("ready in {:.1} s", start.elapsed().as_secs_f64());
                return Ok(());
            }
            if start.elapsed().as_secs() / 5 > told {
                told = start.elapsed().as_secs() / 5;
                eprintln!(
                    "  the WAF is being compiled for this processor, {} s (kept for the next start)",
                    told * 5
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("not ready within {READY:?}:\n{}", self.aegis.output())
    }

    /// A request over TLS, trusting the self-signed certificate that Aegis made and keeps.
    pub(super) fn curl(&self, target: &str) -> Curl {
        Curl::get(format!("https://localhost:{}{target}", self.tls.port()))
            .cacert(Path::new(&shown(&self.certificate())))
    }

    /// The self-signed certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("state/self-signed/cert.pem")
    }

    /// The settings file.
    pub(super) fn settings(&self) -> PathBuf {
        self.dir.join("aegis.yaml")
    }

    /// The admin socket's answer.
    pub(super) fn admin(&self, target: &str) -> Result<Value> {
        let socket = self.dir.join("admin.sock");
        let answer = Raw::unix(&socket)
            .with_context(|| socket.display().to_string())?
            .get("localhost", target);
        serde_json::from_slice(&answer.body).with_context(|| format!("{target}: {}", answer.text()))
    }

    /// The command for that.
    pub(super) fn admin_command(&self, target: &str) -> String {
        format!(
            "curl -s --unix-socket {} 'http://localhost{target}'",
            shown(&self.dir.join("admin.sock"))
        )
    }

    /// All metrics now.
    pub(super) fn scrape(&self) -> Result<Scrape> {
        let answer = raw::try_get(self.metrics, "/metrics").context("no metrics")?;
        Ok(Scrape::parse(&answer.text()))
    }

    /// Repeats what Aegis has said.
    pub(super) fn tell(&self) {
        eprintln!("\naegis said:\n{}", self.aegis.output());
    }

    /// Whether Aegis still runs.
    pub(super) fn is_up(&self) -> bool {
        self.aegis.ended().is_none()
    }

    /// Tells where everything is, and stays until Aegis ends or someone presses Ctrl-C.
    pub(super) fn stay(self) -> Result<()> {
        say::heading("It stays up; Ctrl-C ends it.");
        println!(
            "  site      https://localhost:{}/   http://localhost:{}/",
            self.tls.port(),
            self.http.port()
        );
        println!("  origin    {}/", self.shop.url());
        println!("  metrics   http://{}/metrics", self.metrics);
        println!(
            "  settings  {}   (edit it and look)",
            shown(&self.settings())
        );
        println!("  logs      {}", shown(&self.dir.join("access.log")));
        println!("  status    {}", self.admin_command("/status"));
        let ended = wait::try_within(Duration::MAX / 4, || self.aegis.ended());
        bail!("aegis ended: {ended:?}\n{}", self.aegis.output())
    }
}

/// Demos that may run at once.
const DEMOS_MAX: usize = 16;

/// A folder that no other demo uses, the same as last time if that can be.
fn folder() -> Result<(PathBuf, File)> {
    for number in 1..=DEMOS_MAX {
        let name = if number == 1 {
            "demo".to_owned()
        } else {
            format!("demo-{number}")
        };
        let dir = target_dir().join(name);
        fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        let lock = File::create(dir.join("in-use")).context("the demo's folder")?;
        match lock.try_lock() {
            Ok(()) => return Ok((dir, lock)),
            Err(TryLockError::WouldBlock) => eprintln!(
                "another demo uses {}; this one takes a folder of its own",
                shown(&dir)
            ),
            Err(TryLockError::Error(error)) => return Err(error).context("the demo's folder"),
        }
    }
    bail!("{DEMOS_MAX} demos run already; end one of them with Ctrl-C")
}

/// The usual port when it is free.
fn preferably(port: u16) -> SocketAddr {
    let port = if ports::is_free(port) {
        port
    } else {
        ports::free_port()
    };
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A path as short as it can be typed here.
pub(super) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn settings(origin: &str, tls: SocketAddr, http: SocketAddr, metrics: SocketAddr) -> String {
    format!(
        "# The demo's settings. Edit and save: they are checked, and live within a second.\n\
         version: 1\n\
         node:\n  \
           state_dir: state\n  \
           admin: {{ socket: admin.sock, metrics: \"{metrics}\" }}\n  \
           log: {{ access_path: access.log }}\n\
         listeners:\n  \
           - address: \"{tls}\"\n    tls: {{}}\n  \
           - address: \"{http}\"\n\
         sites:\n  \
           - hosts: [\"*\"]\n    \
             origin: {origin}\n    \
             waf: {{ mode: block }}\n"
    )
}
