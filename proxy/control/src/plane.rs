//! What the control plane needs of the data plane.

use crate::tokens::Tokens;
use aegis_settings::resolved::Validated;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Copies of files that may be gone: original → where its copy is.
pub type Copies = BTreeMap<PathBuf, PathBuf>;

/// The part that serves requests, as far as settings are concerned.
pub trait DataPlane: Send + Sync + 'static {
    /// Everything compiled from one settings file, ready to be swapped in.
    type Prepared: Send + 'static;

    /// Files these settings need though they do not name them. A change of one is prepared as a change of the settings
    /// is, and last known good keeps a copy of each. One that is not there yet may be named too.
    fn extra_files(&self, _validated: &Validated) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Whether [`DataPlane::prepare`] takes more than a moment, because modules or rules have to be compiled.
    fn needs_background(&self, validated: &Validated) -> bool;

    /// Compiles; may block. An extra file that has a copy is read there. Says where it stands through `progress` and may
    /// end early once it is superseded.
    ///
    /// # Errors
    /// What only compiling can tell is wrong with the settings.
    fn prepare(
        &self,
        validated: &Arc<Validated>,
        copies: &Copies,
        progress: &Progress,
    ) -> Result<Self::Prepared, Rejection>;

    /// A last look before anything changes, and what only one can have at a time is taken: addresses. Always followed by
    /// [`DataPlane::swap`], or by the end of `prepared` if it fails.
    ///
    /// # Errors
    /// What would fail after the swap.
    fn probe(&self, prepared: &mut Self::Prepared) -> Result<(), Rejection>;

    /// Puts it in force. Cannot fail.
    fn swap(&self, prepared: Self::Prepared);
}

/// What a person may ask of the data plane on the admin socket.
pub trait Questions: Send + Sync + 'static {
    /// The state of the organs, for `/status`.
    fn status(&self) -> Value;

    /// What would happen to a request for this URL, and where each value came from.
    ///
    /// # Errors
    /// A sentence: no URL, or no settings in force yet.
    fn explain(&self, url: &str, method: &str) -> Result<Value, String>;

    /// The tokens in force.
    fn tokens(&self) -> Arc<Tokens>;
}

/// Why settings were refused; every problem at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Sentences that name the key and the remedy.
    pub problems: Vec<String>,
}

impl Rejection {
    /// A refusal for one reason.
    pub fn new(problem: impl Into<String>) -> Self {
        Self {
            problems: vec![problem.into()],
        }
    }
}

/// Where a preparation stands.
#[derive(Debug, Default)]
pub struct Progress {
    text: Mutex<String>,
    superseded: AtomicBool,
}

impl Progress {
    /// Says what is being done: `compiling coraza.wasm`.
    pub fn say(&self, text: impl Into<String>) {
        *self.text.lock() = text.into();
    }

    /// What is being done.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.lock().clone()
    }

    /// Whether newer settings have made this preparation useless.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }

    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }
}
