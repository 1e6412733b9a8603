//! What `aegis check` finds out by trying: modules and SecLang are compiled and started in the sandbox and shown a plain
//! request, as a node does before it swaps. Nothing is listened on, connected to or looked up.

use crate::sandbox::{self, Price, Sandbox};
use crate::terminal::{self, clear_line};
use aegis_control::{Copies, Progress};
use aegis_pipeline::{Limits, Live, NodeParts};
use aegis_settings::resolved::Validated;
use aegis_verdicts::{Clock, Desk};
use anyhow::{Context, bail};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Far longer than the largest module takes on a slow machine.
const LONGEST: Duration = Duration::from_secs(600);
/// How often it is said what is being done.
const LOOK: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Rehearsed {
    /// Why a node would refuse the settings.
    pub(crate) problems: Vec<String>,
    /// What WAF profiles with SecLang of their own cost.
    pub(crate) prices: Vec<Price>,
}

/// Prepares every plugin of the settings, and says on a terminal how far it is.
///
/// # Errors
/// It could not be tried.
pub(crate) fn run(validated: &Validated) -> anyhow::Result<Rehearsed> {
    if !sandbox::wants_any(validated) {
        return Ok(Rehearsed::default());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let folder = Folder::for_modules(&validated.settings.node.state_dir)?;
    let mut node = validated.settings.node.clone();
    node.state_dir = folder.path().to_owned();
    let live = Live::starting(
        NodeParts {
            hops: Arc::default(),
            origin_connections_max: usize::MAX,
            client: node.client.clone(),
            access: None,
            bodies_held_max: node.bodies_held_max,
            bodies_spooled_max: node.bodies_spooled_max,
            spool_dir: node.state_dir.join("spool"),
            limits: Limits::new(1),
            tracer: None,
            verdicts: Arc::new(Desk::new(1, [0; 16], Clock::new(Instant::now(), 0))?),
        },
        1,
    );
    let sandbox = Sandbox::new(runtime.handle().clone(), node, &live);
    let progress = Arc::new(Progress::default());
    let (done, waits) = sync_channel(1);
    let (validated, shared) = (validated.clone(), Arc::clone(&progress));
    std::thread::Builder::new()
        .name("rehearsal".into())
        .spawn(move || {
            let rehearsed = rehearse(&sandbox, &validated, &shared, &live);
            // Nobody waits for it any more when it took too long.
            drop(done.send(rehearsed));
        })?;
    let began = Instant::now();
    let rehearsed = loop {
        match waits.recv_timeout(LOOK) {
            Ok(rehearsed) => break Ok(rehearsed),
            Err(RecvTimeoutError::Disconnected) => {
                break Err("the attempt failed; please report it");
            }
            Err(RecvTimeoutError::Timeout) if began.elapsed() > LONGEST => {
                break Err(
                    "the modules were not ready within ten minutes; --quick leaves them out",
                );
            }
            Err(RecvTimeoutError::Timeout) => tell(&progress.text(), began),
        }
    };
    clear_line();
    runtime.shutdown_background();
    match rehearsed {
        Ok(rehearsed) => Ok(rehearsed),
        Err(why) => bail!(why),
    }
}

fn tell(what: &str, began: Instant) {
    if terminal::stderr_is_terminal() && !what.is_empty() {
        clear_line();
        terminal::say(&format!("{what}, {} s", began.elapsed().as_secs()));
    }
}

fn rehearse(
    sandbox: &Sandbox,
    validated: &Validated,
    progress: &Progress,
    live: &Live,
) -> Rehearsed {
    let prepared = sandbox.prepare(validated, &Copies::new(), progress, live);
    let prices = prepared.and_then(|prepared| {
        sandbox.probe(&prepared.plugins)?;
        Ok(Sandbox::prices(&prepared.plugins))
    });
    match prices {
        Ok(prices) => Rehearsed {
            problems: Vec::new(),
            prices,
        },
        Err(rejection) => Rehearsed {
            problems: rejection.problems,
            prices: Vec::new(),
        },
    }
}

/// Where compiled modules are kept meanwhile.
enum Folder {
    /// The node's own, which then starts faster.
    Kept(PathBuf),
    /// One for now: what another user leaves in the node's folder it could not read.
    Passing(PathBuf),
}

impl Folder {
    fn for_modules(state_dir: &Path) -> anyhow::Result<Self> {
        let passing = std::env::temp_dir().join(format!("aegis-check-{}", std::process::id()));
        // A folder that is there already is somebody else's.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&passing)
            .with_context(|| passing.display().to_string())?;
        let owner = |path: &Path| fs::metadata(path).ok().map(|about| about.uid());
        let own = owner(&passing);
        let node = owner(&state_dir.join("modules"));
        if node.is_some() && node == own {
            drop(fs::remove_dir(&passing));
            return Ok(Self::Kept(state_dir.to_owned()));
        }
        Ok(Self::Passing(passing))
    }

    fn path(&self) -> &Path {
        let (Self::Kept(path) | Self::Passing(path)) = self;
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Self::Passing(path) = self {
            drop(fs::remove_dir_all(path));
        }
    }
}
