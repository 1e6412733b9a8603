//! The life of a running node: admin servers, signals, renewal, and at last the drain. Runs on the main thread; no
//! request does.

use crate::app::Node;
use crate::bans::Clerk;
use crate::cli::EX_CONFIG;
use crate::signals::{Signal, Signals};
use crate::terminal;
use aegis_control::{Ask, Boot, Controller, Plan};
use aegis_front::Drained;
use anyhow::Context;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinError;
use tokio::time::error::Elapsed;

/// How often certificates are looked at: whether the self-signed one is due, and which have ended.
const RENEWAL: Duration = Duration::from_secs(6 * 3600);
/// How often metrics follow what is counted elsewhere, and the keys of session tickets the time.
const SECOND: Duration = Duration::from_secs(1);
/// How often the first preparation is looked at.
const PROGRESS: Duration = Duration::from_millis(500);
/// Time for the last access log lines.
const FLUSH: Duration = Duration::from_secs(2);

/// Serves until it is told to stop, or the first settings cannot be prepared.
///
/// # Errors
/// A part failed that the node cannot be without.
pub(crate) async fn serve(
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
        events,
        kept,
        state_dir: _state_dir,
        tracer,
        servers,
        door,
        live,
        cache,
        bans,
    } = node;
    let mut signals = Signals::new()?;
    let (stop, stopped) = watch::channel(false);
    let app = aegis_pipeline::service(live, cache);
    let mut doors = workers.spawn(door.run(app, stopped));
    let ask = Ask {
        state: Arc::clone(&state),
        questions: plane.clone(),
        orders: Arc::new(Clerk(Arc::clone(&bans))),
    };
    bans.keep()?;
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
    let mut second = tokio::time::interval(SECOND);
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
                    if let Some(events) = &events {
                        events.reopen();
                    }
                    controller.reload();
                }
                Signal::Stop => break,
            },
            _ = renewal.tick() => plane.look_at_certificates(),
            _ = second.tick() => plane.tick(),
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
        drained = tokio::time::timeout(grace, &mut doors) => finished(drained)?,
        _ = signals.next_stop() => tracing::warn!("told twice; stopping at once"),
        _ = &mut admin => {}
    }
    bans.close();
    if let Some(access) = access
        && !access.flush(FLUSH)
    {
        tracing::warn!("the last access log lines could not be written");
    }
    if tracer.is_some_and(|tracer| !tracer.flush(FLUSH)) {
        tracing::warn!("the last spans could not be sent");
    }
    // Both write what is queued.
    drop((events, kept));
    Ok(ExitCode::SUCCESS)
}

/// How the drain ended.
fn finished(
    drained: Result<Result<io::Result<Drained>, JoinError>, Elapsed>,
) -> anyhow::Result<()> {
    if let Ok(drained) = drained {
        let drained = drained.context("the listeners failed")??;
        tracing::info!(finished = drained.finished, "every connection has ended");
    } else {
        let cut = aegis_telemetry::metrics::CONNECTIONS_OPEN.get();
        tracing::warn!(cut, "the grace is over; what is still open is cut");
    }
    Ok(())
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
