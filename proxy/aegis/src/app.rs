//! A running node: wires the parts together, and holds no logic of its own.
//!
//! settings → certificates, door, pipeline → control. The main thread runs what is not traffic: admin servers, signals,
//! renewal; a runtime of `node.workers` threads runs the connections.

use crate::banner;
use crate::bans::Bans;
use crate::plane::Plane;
use crate::serve::serve;
use crate::state_dir::StateDir;
use aegis_certs::{CertStore, Certificates, Times};
use aegis_control::{Boot, Servers, State};
use aegis_front::{Bound, Door, DoorConfig};
use aegis_identity::Hops;
use aegis_pipeline::{Cache, Limits, Live, NodeParts, Tracer};
use aegis_settings::model::{AccessFormat, Log, LogTarget, Tracing};
use aegis_telemetry::access::{AccessLog, Format, Target};
use aegis_telemetry::event_log::EventLog;
use aegis_telemetry::kept::Kept;
use aegis_telemetry::log;
use aegis_telemetry::spans::Exporter;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};

/// Longest grace that can be set; the one in force is kept by [`stop`], so that a change of it counts.
const GRACE_MAX: Duration = Duration::from_secs(3600);
/// Everything that was made before the first client is let in.
pub(crate) struct Node {
    pub(crate) workers: Handle,
    pub(crate) state: Arc<State>,
    pub(crate) plane: Arc<Plane>,
    pub(crate) access: Option<Arc<AccessLog>>,
    pub(crate) events: Option<EventLog>,
    pub(crate) kept: Option<Kept>,
    pub(crate) state_dir: StateDir,
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) servers: Servers,
    pub(crate) door: Bound,
    pub(crate) live: Arc<Live>,
    pub(crate) cache: &'static Cache,
    pub(crate) bans: Arc<Bans>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// An address, a file or a directory cannot be had; the text names it.
pub(crate) fn run(
    boot: Boot,
    default_state_dir: PathBuf,
    log_json: bool,
) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    log::init(
        crate::plane::level(boot.validated().settings.node.log.level),
        log_json,
    );
    aegis_telemetry::mask::set(&boot.validated().settings.node.log.mask);
    let threads = match boot.validated().settings.node.workers {
        0 => std::thread::available_parallelism().map_or(1, Into::into),
        workers => workers,
    };
    let workers = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("worker")
        .enable_all()
        .build()
        .context("the worker threads cannot be started")?;
    let control = Builder::new_current_thread().enable_all().build()?;
    let ended = Node::build(&boot, workers.handle(), threads).and_then(|node| {
        banner::print(&boot, &node.door, &node.servers);
        control.block_on(serve(node, boot, default_state_dir, started))
    });
    // Whatever still runs ends with the process.
    workers.shutdown_background();
    ended
}

impl Node {
    fn build(boot: &Boot, workers: &Handle, threads: usize) -> anyhow::Result<Self> {
        let settings = &boot.validated().settings;
        let node = &settings.node;
        let state_dir = StateDir::take(&node.state_dir)?;
        let access = open_access_log(&node.log)?;
        let events = open_event_log(&node.log)?;
        let kept = keep_events(node)?;
        let store = match CertStore::load(boot.validated(), &node.state_dir, Times::Serve) {
            Ok((store, _)) => store,
            Err(problems) => {
                let problems: Vec<_> = problems
                    .iter()
                    .map(|p| format!("{p}; {}", p.help()))
                    .collect();
                anyhow::bail!("{}", problems.join("\n       "));
            }
        };
        let certificates = Arc::new(Certificates::new(store));
        let config = DoorConfig {
            grace: GRACE_MAX,
            ..DoorConfig::from_settings(settings)
        };
        let door = Door::new(config, Arc::clone(&certificates)).bind(&settings.listeners)?;
        let servers = Servers::bind(&node.admin.socket, node.admin.metrics)?;
        let bans = Bans::open(node)?;
        bans.apply(boot.validated(), None);
        let tracer = open_tracer(node.tracing.as_ref())?;
        let parts = NodeParts {
            client: node.client.clone(),
            hops: Arc::new(Hops::of(&node.client)),
            tracer: tracer.clone(),
            access: access.clone(),
            bodies_held_max: node.bodies_held_max,
            bodies_spooled_max: node.bodies_spooled_max,
            spool_dir: node.state_dir.join("spool"),
            origin_connections_max: door.origins_max(),
            verdicts: Arc::clone(&bans.desk),
            limits: Limits::new(node.limits.entries),
        };
        let live = Live::starting(parts.clone(), threads);
        let cache = Cache::new(node.cache.memory);
        let state = Arc::new(State::new(env!("CARGO_PKG_VERSION"), boot.path.clone()));
        let plane = Plane::new(
            workers.clone(),
            Arc::clone(&live),
            certificates,
            door.listeners(),
            parts,
            Arc::clone(&bans),
            boot.validated(),
        )?;
        Ok(Self {
            workers: workers.clone(),
            state,
            plane: Arc::new(plane),
            access,
            events,
            kept,
            state_dir,
            tracer,
            servers,
            door,
            live,
            cache,
            bans,
        })
    }
}

fn open_tracer(tracing: Option<&Tracing>) -> anyhow::Result<Option<Arc<Tracer>>> {
    let Some(tracing) = tracing else {
        return Ok(None);
    };
    let collector = &tracing.otlp;
    let version = env!("CARGO_PKG_VERSION");
    let exporter = Exporter::start(&collector.authority, &collector.path, version);
    let exporter = exporter.context("the thread that sends spans cannot be started")?;
    Ok(Some(Arc::new(Tracer::new(exporter, tracing.sample))))
}

fn open_access_log(log: &Log) -> anyhow::Result<Option<Arc<AccessLog>>> {
    let format = match log.access {
        AccessFormat::Json => Format::Json,
        AccessFormat::Combined => Format::Combined,
        AccessFormat::Off => return Ok(None),
    };
    let opened = AccessLog::open(format, target(&log.access_path));
    let opened = opened.with_context(|| {
        format!(
            "the access log cannot be opened at {} (node.log.access_path)",
            place(&log.access_path)
        )
    })?;
    Ok(Some(Arc::new(opened)))
}

fn open_event_log(log: &Log) -> anyhow::Result<Option<EventLog>> {
    let Some(path) = &log.events_path else {
        return Ok(None);
    };
    let opened = EventLog::open(target(path));
    let opened = opened.with_context(|| {
        format!(
            "the event log cannot be opened at {} (node.log.events_path)",
            place(path)
        )
    })?;
    Ok(Some(opened))
}

/// Takes in the security events of before this start.
fn keep_events(node: &aegis_settings::model::Node) -> anyhow::Result<Option<Kept>> {
    if node.log.events_kept == 0 {
        return Ok(None);
    }
    let opened = Kept::open(&node.state_dir, node.log.events_kept);
    let (kept, found) = opened.with_context(|| {
        format!(
            "security events cannot be kept in {}; node.log.events_kept: 0 goes without",
            node.state_dir.display()
        )
    })?;
    if found.passed_over > 0 {
        tracing::warn!(
            lines = found.passed_over,
            "some kept security events cannot be read"
        );
    }
    Ok(Some(kept))
}

fn place(path: &LogTarget) -> std::path::Display<'_> {
    match path {
        LogTarget::Stdout => Path::new("stdout").display(),
        LogTarget::File(path) => path.display(),
    }
}

fn target(path: &LogTarget) -> Target {
    match path {
        LogTarget::Stdout => Target::Stdout,
        LogTarget::File(path) => Target::File(path.clone()),
    }
}
