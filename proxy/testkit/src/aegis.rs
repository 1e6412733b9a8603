//! The real binary as a child process, with its settings, ports, logs and admin socket at hand.

use crate::config::Config;
use crate::curl::{Answer, Curl};
use crate::metrics::Scrape;
use crate::origin::Origin;
use crate::process::Process;
use crate::raw::{Raw, RawAnswer};
use crate::{paths, ports, raw, wait, warm};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

/// Longest wait for readiness: compiling the WAF for the first time takes tens of seconds on two busy cores.
const READY: Duration = Duration::from_secs(180);

/// What to start: settings, folder, ports.
#[derive(Debug)]
pub struct Builder {
    config: Config,
    dir: TempDir,
    http: SocketAddr,
    tls: SocketAddr,
    metrics: SocketAddr,
    warm: bool,
    open_files: Option<u32>,
}

/// A running `aegis`. Dropping it kills it.
#[derive(Debug)]
pub struct Aegis {
    process: Process,
    parts: Builder,
}

impl Builder {
    /// Sets a value (see [`Config::set`]).
    #[must_use]
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.config.set(path, value);
        self
    }

    /// Turns the WAF on for the site.
    #[must_use]
    pub fn waf(self) -> Self {
        self.set("sites[0].waf.mode", "block")
    }

    /// Puts metrics and probes there.
    #[must_use]
    pub fn metrics_at(mut self, address: SocketAddr) -> Self {
        self.metrics = address;
        self.set("node.admin.metrics", address.to_string())
    }

    /// Starts without what earlier runs compiled.
    #[must_use]
    pub fn cold(mut self) -> Self {
        self.warm = false;
        self
    }

    /// Lets the process open so many files and no more.
    #[must_use]
    pub fn open_files(mut self, max: u32) -> Self {
        self.open_files = Some(max);
        self
    }

    /// A folder for files the settings refer to; relative paths in them are relative to it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn state_dir(&self) -> PathBuf {
        let dir = self.config.get("node.state_dir").and_then(Value::as_str);
        self.dir.path().join(dir.unwrap_or("state"))
    }

    /// Writes a file into [`Builder::dir`].
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.dir.path().join(name), content).expect("a file");
        self
    }

    /// The settings file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("aegis.yaml")
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Writes the settings file without starting.
    #[must_use]
    pub fn written(self) -> Self {
        std::fs::write(self.config_path(), self.config.to_string()).expect("the settings");
        self
    }

    /// Starts the binary and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Aegis {
        let aegis = self.spawn();
        aegis.wait_ready();
        aegis
    }

    /// Starts the binary without waiting.
    #[must_use]
    pub fn spawn(self) -> Aegis {
        self.written().spawn_as_is()
    }

    /// As [`Builder::spawn`], with whatever is in the place of the settings file.
    #[must_use]
    pub fn spawn_as_is(self) -> Aegis {
        let parts = self;
        if parts.warm {
            warm::lay(&parts.state_dir());
        }
        let process = parts.run();
        Aegis { process, parts }
    }

    fn run(&self) -> Process {
        let aegis = paths::binary("aegis");
        let args = [
            "run".into(),
            "-c".into(),
            self.config_path().into_os_string(),
        ];
        let adjust = |c: &mut Command| {
            c.current_dir(self.dir.path()).env("NO_COLOR", "1");
        };
        let Some(files) = self.open_files else {
            return Process::start_in(&aegis, args, adjust);
        };
        // It replaces itself by the program.
        let mut limited = vec![format!("--nofile={files}:{files}").into(), aegis.into()];
        limited.extend(args);
        Process::start_in(Path::new("prlimit"), limited, adjust)
    }

    /// Runs `aegis check` on the settings.
    #[must_use]
    pub fn check(self) -> Output {
        let parts = self.written();
        if parts.warm {
            warm::lay(&parts.state_dir());
        }
        command(&["check", "-c", &parts.config_path().display().to_string()])
    }
}

/// Runs `aegis` with these arguments to its end.
#[must_use]
pub fn command(args: &[&str]) -> Output {
    Command::new(paths::binary("aegis"))
        .args(args)
        .env("NO_COLOR", "1")
        .output()
        .expect("aegis runs")
}

/// As [`command`], with these in its environment and nothing there that says where a person is connected from.
#[must_use]
pub fn command_with(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(paths::binary("aegis"))
        .args(args)
        .env("NO_COLOR", "1")
        .env_remove("SSH_CONNECTION")
        .envs(env.iter().copied())
        .output()
        .expect("aegis runs")
}

impl Aegis {
    /// Settings for one site before this origin: plain HTTP, TLS with a self-signed certificate, WAF off,
    /// JSON access log in a file, all on free ports and in a folder of its own.
    #[must_use]
    pub fn before(origin: &Origin) -> Builder {
        Self::before_url(&origin.url())
    }

    /// As [`Aegis::before`], for an origin anywhere.
    #[must_use]
    pub fn before_url(origin: &str) -> Builder {
        let dir = paths::run_dir();
        let (http, tls, metrics) = (
            ports::free_address(),
            ports::free_address(),
            ports::free_address(),
        );
        let mut config = Config::in_front_of(origin);
        config
            .set("node.state_dir", "state")
            .set("node.admin.socket", "admin.sock")
            .set("node.admin.metrics", metrics.to_string())
            .set("node.log.access_path", "access.log")
            .set(
                "listeners",
                json!([{ "address": http.to_string() }, { "address": tls.to_string(), "tls": {} }]),
            );
        Builder {
            config,
            dir,
            http,
            tls,
            metrics,
            warm: true,
            open_files: None,
        }
    }

    /// Waits until `/readyz` says 200.
    pub fn wait_ready(&self) {
        wait::within(READY, self.process.told("is ready"), || {
            if let Some(status) = self.process.ended() {
                panic!("{}", self.process.told(format_args!("ended with {status}")));
            }
            raw::try_get(self.parts.metrics, "/readyz").filter(|a| a.status() == 200)
        });
        warm::keep(&self.parts.state_dir());
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What it wrote to stderr and stdout.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Address of the plain listener.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.parts.http
    }

    /// Address of the TLS listener.
    #[must_use]
    pub fn tls(&self) -> SocketAddr {
        self.parts.tls
    }

    /// Address of metrics and probes.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.parts.metrics
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.parts.dir()
    }

    /// A request to the plain listener.
    #[must_use]
    pub fn curl(&self, target: &str) -> Curl {
        Curl::get(format!("http://{}{target}", self.parts.http))
    }

    /// GET over the plain listener.
    pub fn get(&self, target: &str) -> Answer {
        self.curl(target).send()
    }

    /// A request to the TLS listener under this host name, certificate not checked.
    #[must_use]
    pub fn curl_tls(&self, host: &str, target: &str) -> Curl {
        Curl::get(format!("https://{host}{target}"))
            .connect_to(self.parts.tls)
            .arg(&["-k"])
    }

    /// A raw connection to the plain listener.
    #[must_use]
    pub fn raw(&self) -> Raw<TcpStream> {
        Raw::tcp(self.parts.http)
    }

    /// As [`Aegis::raw`], from this address of this machine.
    #[must_use]
    pub fn raw_from(&self, from: IpAddr) -> Raw<TcpStream> {
        Raw::tcp_from(from, self.parts.http)
    }

    /// GET on the metrics listener.
    pub fn probe(&self, target: &str) -> RawAnswer {
        raw::try_get(self.parts.metrics, target).expect("the metrics listener answers")
    }

    /// All metrics now.
    #[must_use]
    pub fn metrics(&self) -> Scrape {
        Scrape::parse(&self.probe("/metrics").text())
    }

    /// GET on the admin socket, as JSON.
    #[must_use]
    pub fn admin(&self, target: &str) -> Value {
        let mut socket =
            Raw::unix(&self.parts.dir.path().join("admin.sock")).expect("the admin socket");
        let answer = socket.get("localhost", target);
        serde_json::from_slice(&answer.body)
            .unwrap_or_else(|e| panic!("{target} is not JSON ({e}): {}", answer.text()))
    }

    /// Every line of the JSON access log so far.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let text =
            std::fs::read_to_string(self.parts.dir.path().join("access.log")).unwrap_or_default();
        text.lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect()
    }

    /// Waits for an access log line whose `target` is this.
    pub fn logged(&self, target: &str) -> Value {
        self.access_log_of(|line| line["target"] == target)
    }

    /// Waits for an access log line; the newest that `is` the one.
    pub fn access_log_of(&self, is: impl Fn(&Value) -> bool) -> Value {
        wait::eventually("the line is in the access log", || {
            self.access_log().into_iter().rev().find(|line| is(line))
        })
    }

    /// Changes the settings and puts the file in place by rename, as editors and ConfigMaps do.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.parts.config);
        self.replace_config(self.parts.config.to_string().as_bytes());
    }

    /// Puts these bytes in place of the settings file, by rename.
    pub fn replace_config(&self, bytes: &[u8]) {
        let new = self.parts.dir.path().join("aegis.yaml.new");
        std::fs::write(&new, bytes).expect("a file");
        std::fs::rename(new, self.parts.config_path()).expect("a rename");
    }

    /// The settings file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.parts.config_path()
    }

    /// As [`Aegis::restart`], by SIGTERM and with time to end.
    pub fn restart_orderly(&mut self) {
        self.process.signal(crate::process::Signal::TERM);
        wait::within(READY, self.process.told("ends"), || self.process.ended());
        self.process = self.parts.run();
    }

    /// Stops it and starts it again on the same folder, settings and ports.
    pub fn restart(&mut self, meanwhile: impl FnOnce(&Path)) {
        self.process.kill();
        meanwhile(self.parts.dir.path());
        self.process = self.parts.run();
    }
}
