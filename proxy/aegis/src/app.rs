//! A running node: wires the parts together, and holds no logic of its own.
//!
//! settings → certificates, door, pipeline → control. The main thread runs what is not traffic: admin servers, signals,
//! renewal; a runtime of `node.workers` threads runs the connections.

use crate::banner;
use crate::cli::EX_CONFIG;
use crate::plane::Plane;
use crate::signals::{Signal, Signals};
use crate::terminal;
use aegis_certs::{CertStore, Certificates};
use aegis_control::{Ask, Boot, Controller, Plan, Servers, State};
use aegis_front::{Bound, Door, DoorConfig};
use aegis_pipeline::{Cache, Live, NodeParts};
use aegis_settings::model::{AccessFormat, Log, LogTarget};
use aegis_telemetry::access::{AccessLog, Format, Target};
use aegis_telemetry::log;
use anyhow::Context;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};

/// How often the self-signed certificate is looked at.
const RENEWAL: Duration = Duration::from_secs(6 * 3600);
/// How often the first preparation is looked at.
const PROGRESS: Duration = Duration::from_millis(500);
/// Longest grace that can be set; the one in force is kept by [`stop`], so that a change of it counts.
const GRACE_MAX: Duration = Duration::from_secs(3600);
/// Time for the last access log lines.
const FLUSH: Duration = Duration::from_secs(2);

/// Everything that was made before the first client is let in.
struct Node {
    workers: Runtime,
    state: Arc<State>,
    plane: Arc<Plane>,
    access: Option<Arc<AccessLog>>,
    servers: Servers,
    door: Bound,
    live: Arc<Live>,
    cache: &'static Cache,
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
    let node = Node::build(&boot)?;
    banner::print(&boot, &node.door, &node.servers);
    let control = Builder::new_current_thread().enable_all().build()?;
    control.block_on(serve(node, boot, default_state_dir, started))
}

impl Node {
    fn build(boot: &Boot) -> anyhow::Result<Self> {
        let settings = &boot.validated().settings;
        let node = &settings.node;
        make_state_dir(&node.state_dir)?;
        let access = open_access_log(&node.log)?;
        let threads = match node.workers {
            0 => std::thread::available_parallelism().map_or(1, Into::into),
            workers => workers,
        };
        let store = match CertStore::load(boot.validated(), &node.state_dir) {
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
        let workers = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("worker")
            .enable_all()
            .build()
            .context("the worker threads cannot be started")?;
        let parts = NodeParts {
            client: node.client.clone(),
            access: access.clone(),
            bodies_held_max: node.bodies_held_max,
        };
        let live = Live::starting(parts.clone(), threads);
        let cache = Cache::new(node.cache.memory);
        let state = Arc::new(State::new(env!("CARGO_PKG_VERSION"), boot.path.clone()));
        let plane = Plane::new(
            workers.handle().clone(),
            Arc::clone(&live),
            certificates,
            parts,
            boot.validated(),
        );
        Ok(Self {
            workers,
            state,
            plane: Arc::new(plane),
            access,
            servers,
            door,
            live,
            cache,
        })
    }
}

async fn serve(
    node: Node,
    boot: Boot,
    default_state_dir: PathBuf,
    started: Instant,
) -> anyhow::Result<ExitCode> {
    let Node {
        workers,
        state,
        plane,
        access,
        servers,
        door,
        live,
        cache,
    } = node;
    let mut signals = Signals::new()?;
    let (stop, stopped) = watch::channel(false);
    let app = aegis_pipeline::service(live, cache);
    let mut doors = workers.spawn(door.run(app, stopped));
    let ask = Ask {
        state: Arc::clone(&state),
        questions: plane.clone(),
    };
    let admin = servers.run(ask);
    tokio::pin!(admin);

    let (first, mut first_outcome) = oneshot::channel();
    let plan = Plan {
        default_state_dir,
        poll: None,
    };
    let controller = Controller::start(
        Arc::clone(&plane),
        Arc::clone(&state),
        boot,
        plan,
        move |outcome| {
            // Nobody waits for it any more when the node was stopped meanwhile.
            let _stopping = first.send(outcome);
        },
    )?;

    let mut renewal = tokio::time::interval(RENEWAL);
    let mut progress = tokio::time::interval(PROGRESS);
    let mut told = Vec::new();
    let mut starting = true;
    loop {
        tokio::select! {
            outcome = &mut first_outcome, if starting => {
                starting = false;
                if let Err(problems) = outcome.context("the settings were never prepared")? {
                    return Ok(failed(&problems));
                }
                terminal::say(&format!("ready in {:.1} s\n", started.elapsed().as_secs_f64()));
            }
            signal = signals.next() => match signal {
                Signal::Reload => {
                    if let Some(access) = &access {
                        access.reopen();
                    }
                    controller.reload();
                }
                Signal::Stop => break,
            },
            _ = renewal.tick() => plane.renew_self_signed(),
            _ = progress.tick(), if starting => tell(plane.preparing(), &mut told),
            ended = &mut admin => ended?,
            ended = &mut doors => {
                ended.context("the listeners failed")??;
                anyhow::bail!("the listeners ended");
            }
        }
    }

    state.drain();
    drop(controller);
    let grace = plane.grace();
    tracing::info!(
        grace_seconds = grace.as_secs_f64(),
        "stopping: no new connections"
    );
    // Its receivers are the listeners, which may have ended.
    let _ended = stop.send(true);
    tokio::select! {
        ended = tokio::time::timeout(grace, &mut doors) => match ended {
            Ok(drained) => {
                let drained = drained.context("the listeners failed")??;
                tracing::info!(finished = drained.finished, "every connection has ended");
            }
            Err(_) => {
                let cut = aegis_telemetry::metrics::CONNECTIONS_OPEN.get();
                tracing::warn!(cut, "the grace is over; what is still open is cut");
                doors.abort();
            }
        },
        Signal::Stop = signals.next_stop() => tracing::warn!("told twice; stopping at once"),
        _ = &mut admin => {}
    }
    workers.shutdown_background();
    if let Some(access) = access
        && !access.flush(FLUSH)
    {
        tracing::warn!("the last access log lines could not be written");
    }
    Ok(ExitCode::SUCCESS)
}

/// Says once what takes so long.
fn tell(preparing: Vec<String>, told: &mut Vec<String>) {
    if preparing != *told {
        preparing
            .iter()
            .for_each(|text| terminal::say(&format!("  \u{2026} {text}\n")));
        *told = preparing;
    }
}

/// Neither the settings nor a last known good could be prepared.
fn failed(problems: &[String]) -> ExitCode {
    for problem in problems {
        terminal::error(problem);
    }
    ExitCode::from(EX_CONFIG)
}

fn make_state_dir(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
        format!("cannot make the state directory {}; choose another one with node.state_dir or --state-dir", path.display())
    })
}

fn open_access_log(log: &Log) -> anyhow::Result<Option<Arc<AccessLog>>> {
    let format = match log.access {
        AccessFormat::Json => Format::Json,
        AccessFormat::Combined => Format::Combined,
        AccessFormat::Off => return Ok(None),
    };
    let target = match &log.access_path {
        LogTarget::Stdout => Target::Stdout,
        LogTarget::File(path) => Target::File(path.clone()),
    };
    let opened = AccessLog::open(format, target);
    let opened = opened.with_context(|| {
        format!(
            "the access log cannot be opened at {:?} (node.log.access_path)",
            log.access_path
        )
    })?;
    Ok(Some(Arc::new(opened)))
}
