//! The process log: standard error, human or JSON.
//!
//! Only Aegis' own crates speak at the chosen level; libraries below it are heard from `warn` on. Messages of the HTTP
//! library travel by another facade and are left out on purpose: it logs what clients do wrong, which is theirs to
//! trigger and is in the access log.

use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /** Something is lost. */
    Error,
    /** Something needs a look. */
    Warn,
    /** What changes the state of the node. */
    Info,
    /** And why. */
    Debug,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
        }
    }
}

/// Where changes by an operator are written, at every level of the log.
pub(crate) const AUDIT: &str = "aegis::audit";

fn filter(level: Level) -> Targets {
    let level = LevelFilter::from(level);
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("aegis", level)
        .with_target(AUDIT, level.max(LevelFilter::INFO))
}

static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the process log. A second call changes nothing.
pub fn init(level: Level, json: bool) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(colour);
    let layer = if json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer.compact().boxed()
    };
    let started = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
    match started {
        Ok(()) => drop(LEVEL.set(handle)),
        Err(_) => tracing::debug!("the process log was started before"),
    }
}

/// Changes how much is said from now on.
pub fn set_level(level: Level) {
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.reload(filter(level))
    {
        tracing::error!(%error, "the level of the process log stays as it was");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level as TracingLevel;

    #[test]
    fn libraries_are_heard_from_warn_on_and_our_crates_at_the_chosen_level() {
        let debug = filter(Level::Debug);
        assert!(debug.would_enable("aegis_control::reload", &TracingLevel::DEBUG));
        assert!(!debug.would_enable("hyper::proto", &TracingLevel::INFO));
        assert!(debug.would_enable("hyper::proto", &TracingLevel::WARN));
        let error = filter(Level::Error);
        assert!(!error.would_enable("aegis_control", &TracingLevel::WARN));
        assert!(!error.would_enable("hyper::proto", &TracingLevel::WARN));
    }
}
