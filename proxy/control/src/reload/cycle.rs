//! The reload thread's life.

use super::{First, Plan, QUIET, QUIET_MAX, Sign};
use crate::boot::{self, Boot, From};
use crate::lkg::Store;
use crate::load::{self, Extras, Good};
use crate::plane::{Copies, DataPlane, Progress, Rejection};
use crate::state::State;
use crate::watch::{Fingerprint, Watch};
use aegis_settings::resolved::Validated;
use aegis_telemetry::events::{ConfigLive, ConfigRejected};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Instant;

/// Settings being prepared in the background.
struct Job {
    generation: u64,
    good: Good,
    progress: Arc<Progress>,
}

pub(super) struct Cycle<D: DataPlane> {
    plane: Arc<D>,
    state: Arc<State>,
    plan: Plan,
    signs: SyncSender<Sign<D::Prepared>>,
    path: Option<PathBuf>,
    /// In force; before the first swap, what the node started with.
    live: Good,
    store: Store,
    watch: Option<Watch>,
    /// What the files looked like before they were last read.
    seen: Fingerprint,
    generation: u64,
    job: Option<Job>,
    /// Waits for the thread of `job`.
    next: Option<Good>,
    /// The last refusal: the same one again is not counted again.
    refused: Vec<String>,
    /// Settings that passed the checks and were refused later: their key.
    refused_key: Option<(String, String)>,
}

impl<D: DataPlane> Cycle<D> {
    pub(super) fn new(
        plane: Arc<D>,
        state: Arc<State>,
        boot: &Boot,
        plan: Plan,
        signs: SyncSender<Sign<D::Prepared>>,
    ) -> Self {
        let live = boot.good.clone();
        let store = Store::new(&live.validated.settings.node.state_dir);
        Self {
            plane,
            state,
            plan,
            signs,
            path: boot.path.clone(),
            live,
            store,
            watch: None,
            seen: Fingerprint::default(),
            generation: 0,
            job: None,
            next: None,
            refused: Vec::new(),
            refused_key: None,
        }
    }

    pub(super) fn run(mut self, boot: Boot, inbox: &Receiver<Sign<D::Prepared>>, first: First) {
        if self.path.is_some() {
            let signs = self.signs.clone();
            // Full means that signs enough are waiting; disconnected, that nobody waits for them.
            self.watch = Some(Watch::new(move || {
                let _enough = signs.try_send(Sign::Changed);
            }));
            self.follow();
        }
        match self.first(boot) {
            Ok(from) => first(Ok(from)),
            Err(problems) => return first(Err(problems)),
        }
        let poll = self.plan.poll.unwrap_or(super::POLL);
        loop {
            match inbox.recv_timeout(poll) {
                Ok(Sign::Changed) => {
                    let mut waiting = Vec::new();
                    if settle(inbox, &mut waiting) {
                        return;
                    }
                    self.look(false);
                    for (generation, result) in waiting {
                        self.prepared(generation, result);
                    }
                }
                Ok(Sign::Asked) => self.look(true),
                Ok(Sign::Prepared { generation, result }) => self.prepared(generation, result),
                Ok(Sign::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    // A refused file may refer to one that is not watched: look again as long as it is refused.
                    if self.path.is_some()
                        && (self.look_at_files() != self.seen || !self.refused.is_empty())
                    {
                        self.look(false);
                    }
                }
            }
        }
    }

    /// Prepares what the node starts with; falls back to last known good, newest generation first.
    fn first(&mut self, boot: Boot) -> Result<From, Vec<String>> {
        if boot.from == From::LastGood {
            let problems = load::sentences(&boot.problems);
            self.refuse(problems, None);
            tracing::warn!(
                "STARTING FROM THE LAST KNOWN GOOD SETTINGS: mend the file, it goes live as soon as it is good"
            );
        }
        let mut good = boot.good;
        if boot.from != From::LastGood {
            good.extras = self.extras(&good.validated);
        }
        let failed = owned(good.key());
        let mut problems = match self.try_first(good, boot.from) {
            Ok(()) => return Ok(boot.from),
            Err(rejection) => rejection.problems,
        };
        let Some(path) = self.path.clone() else {
            return Err(problems);
        };
        self.refuse(problems.clone(), Some(failed.clone()));
        for good in self.store.generations(&path) {
            if owned(good.key()) == failed {
                continue;
            }
            tracing::warn!(
                id = good.validated.id,
                "STARTING FROM THE LAST KNOWN GOOD SETTINGS: newer ones cannot be prepared: {}",
                problems.join("; ")
            );
            match self.try_first(good, From::LastGood) {
                Ok(()) => return Ok(From::LastGood),
                Err(rejection) => problems.extend(rejection.problems),
            }
        }
        Err(problems)
    }

    fn try_first(&mut self, good: Good, from: From) -> Result<(), Rejection> {
        let progress = Arc::new(Progress::default());
        self.state.preparing(&good.validated.id, progress.clone());
        let result = prepare(&*self.plane, &good, &progress);
        self.state.prepared();
        self.apply(good, result?, from)
    }

    /// Probes, swaps, keeps.
    fn apply(
        &mut self,
        good: Good,
        mut prepared: D::Prepared,
        from: From,
    ) -> Result<(), Rejection> {
        self.plane.probe(&mut prepared)?;
        self.plane.swap(prepared);
        self.live = good;
        let warnings = load::sentences(&self.live.warnings);
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        self.state
            .went_live(&self.live.validated.id, from, warnings);
        ConfigLive {
            id: &self.live.validated.id,
            source: from.as_str(),
        }
        .emit();
        if from != From::LastGood {
            self.accepted();
        }
        if from == From::File
            && let Some(path) = &self.path
        {
            let state_dir = &self.live.validated.settings.node.state_dir;
            boot::remember(path, state_dir, &self.plan.default_state_dir);
            if let Err(error) = self.store.save(path, &self.live) {
                tracing::error!(%error, "these settings are live and could not be kept for a restart");
            }
            self.follow();
        }
        Ok(())
    }

    /// The file is good as it stands.
    fn accepted(&mut self) {
        self.refused.clear();
        self.refused_key = None;
        self.state.tried(&[]);
    }

    /// Counts, logs and shows a refusal, unless it is the one that stands already.
    fn refuse(&mut self, problems: Vec<String>, key: Option<(String, String)>) {
        self.refused_key = key;
        if problems == self.refused {
            return;
        }
        self.state.tried(&problems);
        if let Some(path) = &self.path {
            ConfigRejected {
                path,
                problems: &problems,
            }
            .emit();
        }
        self.refused = problems;
    }

    /// What the data plane needs besides the settings' files, as it is now.
    fn extras(&self, validated: &Validated) -> Extras {
        Extras::read(self.plane.extra_files(validated), Copies::new())
    }

    fn files(&self) -> Vec<PathBuf> {
        let wanted = self
            .job
            .as_ref()
            .map(|job| &job.good)
            .or(self.next.as_ref());
        let goods = std::iter::once(&self.live).chain(wanted);
        let mut files = Vec::new();
        for good in goods {
            files.extend(good.validated.files.iter().cloned());
            files.extend(self.plane.extra_files(&good.validated));
        }
        files.extend(self.path.clone());
        files.sort();
        files.dedup();
        files
    }

    fn look_at_files(&self) -> Fingerprint {
        Fingerprint::of(&self.files())
    }

    /// Watches the files of the settings in force and of those on their way.
    fn follow(&mut self) {
        let files = self.files();
        if let Some(watch) = &mut self.watch {
            watch.files(&files);
            // What changed after it was read and before it was watched: one more look finds it. Full means that a look
            // is due anyway.
            let _waiting = self.signs.try_send(Sign::Changed);
        }
    }

    /// Reads the file and does what follows from it.
    fn look(&mut self, asked: bool) {
        let Some(path) = self.path.clone() else {
            return;
        };
        // Before the reading, so that a change during it is seen by the next comparison.
        self.seen = self.look_at_files();
        let mut good = match load::load(&path, &BTreeMap::new()) {
            Ok(good) => good,
            Err(problems) => {
                let problems: Vec<_> = problems
                    .into_iter()
                    .filter(aegis_settings::Problem::is_error)
                    .collect();
                if asked {
                    self.refused.clear();
                }
                self.supersede();
                return self.refuse(load::sentences(&problems), None);
            }
        };
        good.extras = self.extras(&good.validated);
        let id = &good.validated.id;
        if good.key() == self.live.key() {
            self.supersede();
            self.state.same_as_file();
            if good.validated.files != self.live.validated.files {
                // In force since a start from last known good, whose copies need not stay.
                self.live = good.clone();
                self.follow();
            }
            if asked || !self.refused.is_empty() {
                tracing::info!(id, "the settings in force are those of the file");
            }
            return self.accepted();
        }
        let was_refused = self.refused_key.as_ref() == Some(&owned(good.key()));
        if self.wanted() == Some(good.key()) || (was_refused && !asked) {
            return;
        }
        if *id == self.live.validated.id {
            let files = &good.extras.files;
            tracing::info!(?files, "a file that the settings need has changed");
        }
        let keys =
            aegis_settings::restart_diff(&self.live.validated.settings, &good.validated.settings);
        if !keys.is_empty() {
            let problems = keys.iter().map(|key| {
                format!("{key} needs a restart: nothing of this change was taken; restart, or put the old value back")
            });
            self.supersede();
            return self.refuse(problems.collect(), None);
        }
        self.begin(good);
    }

    fn wanted(&self) -> Option<(&str, &str)> {
        let newest = self.next.as_ref().or_else(|| {
            self.job
                .as_ref()
                .filter(|job| !job.progress.is_superseded())
                .map(|job| &job.good)
        });
        newest.map(Good::key)
    }

    /// What is being prepared is not wanted any more.
    fn supersede(&mut self) {
        self.next = None;
        if let Some(job) = &self.job {
            job.progress.supersede();
            self.state.prepared();
        }
    }

    fn begin(&mut self, good: Good) {
        self.supersede();
        if self.plane.needs_background(&good.validated) {
            self.next = Some(good);
            if self.job.is_none() {
                self.spawn_next();
            }
            self.follow();
            return;
        }
        let progress = Progress::default();
        let key = owned(good.key());
        let result = prepare(&*self.plane, &good, &progress);
        if let Err(rejection) = result.and_then(|prepared| self.apply(good, prepared, From::File)) {
            self.refuse(rejection.problems, Some(key));
        }
    }

    fn spawn_next(&mut self) {
        let Some(good) = self.next.take() else { return };
        self.generation += 1;
        let generation = self.generation;
        let progress = Arc::new(Progress::default());
        tracing::info!(
            id = good.validated.id,
            "preparing new settings; the old ones stay in force"
        );
        self.state.preparing(&good.validated.id, progress.clone());
        let spawned = std::thread::Builder::new().name("prepare".into()).spawn({
            let (plane, signs) = (self.plane.clone(), self.signs.clone());
            let (good, progress) = (good.clone(), progress.clone());
            move || {
                let result = prepare(&*plane, &good, &progress);
                // The reload thread has ended: so has the process, nearly.
                drop(signs.send(Sign::Prepared { generation, result }));
            }
        });
        match spawned {
            Ok(_) => {
                self.job = Some(Job {
                    generation,
                    good,
                    progress,
                });
            }
            Err(error) => {
                self.state.prepared();
                self.refuse(
                    vec![format!("no thread to prepare the settings: {error}")],
                    None,
                );
            }
        }
    }

    fn prepared(&mut self, generation: u64, result: Result<D::Prepared, Rejection>) {
        let Some(job) = self.job.take_if(|job| job.generation == generation) else {
            return;
        };
        if !job.progress.is_superseded() {
            self.state.prepared();
            let key = owned(job.good.key());
            if let Err(rejection) =
                result.and_then(|prepared| self.apply(job.good, prepared, From::File))
            {
                self.refuse(rejection.problems, Some(key));
            }
        }
        self.spawn_next();
    }
}

/// A defect in a compiler must not end the thread that could take the next settings.
fn prepare<D: DataPlane>(
    plane: &D,
    good: &Good,
    progress: &Progress,
) -> Result<D::Prepared, Rejection> {
    let act = || plane.prepare(&good.validated, &good.extras.copies, progress);
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        Err(Rejection::new(
            "preparing these settings panicked; this is a defect of Aegis, please report it",
        ))
    })
}

fn owned(key: (&str, &str)) -> (String, String) {
    (key.0.to_owned(), key.1.to_owned())
}

/// Waits until nothing more happens; returns whether to stop. What else comes in meanwhile is put aside.
fn settle<P>(inbox: &Receiver<Sign<P>>, aside: &mut Vec<(u64, Result<P, Rejection>)>) -> bool {
    let until = Instant::now() + QUIET_MAX;
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(QUIET);
        match inbox.recv_timeout(left) {
            Ok(Sign::Changed) => {}
            Ok(Sign::Asked) | Err(RecvTimeoutError::Timeout) => return false,
            Ok(Sign::Prepared { generation, result }) => aside.push((generation, result)),
            Ok(Sign::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
