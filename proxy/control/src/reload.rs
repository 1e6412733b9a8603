//! read → check → compile → probe → swap, whenever something may have changed.
//!
//! One thread owns the cycle, so two changes never cross. What takes longer is prepared on a second thread, of which
//! there is at most one: newer settings make the result of an older preparation useless, and wait for its end only if
//! they need that thread themselves.

mod cycle;

use crate::boot::{Boot, From};
use crate::error::ControlError;
use crate::plane::{DataPlane, Rejection};
use crate::state::State;
use cycle::Cycle;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often `stat` is asked.
const POLL: Duration = Duration::from_secs(5);
/// A change is taken when nothing more has happened for this long …
const QUIET: Duration = Duration::from_millis(100);
/// … or when this has passed since its first sign.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// Signs waiting; more of them would say nothing new.
const SIGNS_MAX: usize = 16;

/// How long a stop waits for the reload thread.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// What the reload thread needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where state is kept when the settings do not say.
    pub default_state_dir: PathBuf,
    /// How often files are compared where inotify is deaf; `None` = every 5 s.
    pub poll: Option<Duration>,
}

/// What wakes the reload thread.
pub(crate) enum Sign<P> {
    /// A file may have changed.
    Changed,
    /// Somebody asks for it.
    Asked,
    /// A preparation ended.
    Prepared {
        generation: u64,
        result: Result<P, Rejection>,
    },
    /// The end.
    Stop,
}

/// The reload thread, held.
pub struct Controller<D: DataPlane> {
    signs: SyncSender<Sign<D::Prepared>>,
    /// Nothing is ever sent: it is disconnected when the thread ends.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// Called once, with the outcome of the first preparation.
pub(crate) type First = Box<dyn FnOnce(Result<From, Vec<String>>) + Send>;

impl<D: DataPlane> Controller<D> {
    /// Starts with the settings of `boot` and then follows its file.
    ///
    /// `first` is called once: with where the settings in force came from, or, if neither they nor a last known good
    /// could be prepared, with the problems; then the process should end with 78.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        plane: Arc<D>,
        state: Arc<State>,
        boot: Boot,
        plan: Plan,
        first: impl FnOnce(Result<From, Vec<String>>) + Send + 'static,
    ) -> Result<Self, ControlError> {
        let (signs, inbox) = sync_channel(SIGNS_MAX);
        let cycle = Cycle::new(plane, state, &boot, plan, signs.clone());
        let (end, ended) = channel();
        let thread = std::thread::Builder::new()
            .name("reload".into())
            .spawn(move || {
                cycle.run(boot, &inbox, Box::new(first));
                drop(end);
            })?;
        Ok(Self {
            signs,
            ended,
            thread: Some(thread),
        })
    }

    /// Asks for the settings to be read now (SIGHUP).
    pub fn reload(&self) {
        match self.signs.try_send(Sign::Asked) {
            // So many signs are waiting that one of them will do.
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => tracing::error!("the reload thread has ended"),
        }
    }
}

impl<D: DataPlane> Drop for Controller<D> {
    fn drop(&mut self) {
        // A thread deep in a compilation is left to end with the process.
        let told = self.signs.try_send(Sign::Stop).is_ok();
        if told
            && self.ended.recv_timeout(STOP_LIMIT) == Err(RecvTimeoutError::Disconnected)
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the reload thread failed");
        }
    }
}
