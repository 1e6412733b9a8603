//! Why a plugin cannot be had, in sentences for whoever wrote the settings.

use std::io;
use std::path::PathBuf;

/// Preparing a plugin, or the host itself, failed.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The module's file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /** The file. */
        path: PathBuf,
        /** Why. */
        source: io::Error,
    },
    /// The module's file is too big.
    #[error("{}: {size} bytes are more than a module may have ({} MiB)", path.display(), crate::limits::MODULE_MAX >> 20)]
    TooBig {
        /** The file. */
        path: PathBuf,
        /** Its size. */
        size: u64,
    },
    /// The file is something else.
    #[error("{}: {found}; give a core WebAssembly module (`.wasm`) with the proxy-wasm ABI 0.2.0 or 0.2.1", path.display())]
    NotWasm {
        /** The file. */
        path: PathBuf,
        /** What it is. */
        found: &'static str,
    },
    /// The module does not compile.
    #[error("{}: not a valid WebAssembly module: {reason}", path.display())]
    Invalid {
        /** The file. */
        path: PathBuf,
        /** What the compiler said. */
        reason: String,
    },
    /// The module does not speak the ABI.
    #[error("{}: {what}; build it with a proxy-wasm SDK for ABI 0.2.0 or 0.2.1", path.display())]
    NoAbi {
        /** The file. */
        path: PathBuf,
        /** What is missing or wrong. */
        what: String,
    },
    /// The module asks for functions the host does not have.
    #[error("{}: it imports what this host does not have: {}", path.display(), imports.join(", "))]
    MissingImports {
        /** The file. */
        path: PathBuf,
        /** `module.name`, and what is wrong with it. */
        imports: Vec<String>,
    },
    /// The module failed while it was started or configured.
    #[error("plugin `{plugin}`: {what} in {phase}{}", said(log))]
    Start {
        /** The plugin. */
        plugin: String,
        /** Where: `_initialize`, `proxy_on_vm_start`, `proxy_on_configure`, … */
        phase: &'static str,
        /** What happened. */
        what: String,
        /** The module's last log lines. */
        log: Vec<String>,
    },
    /// A bound of the spec is past what the host can give.
    #[error("plugin `{plugin}`: {what}")]
    Spec {
        /** The plugin. */
        plugin: String,
        /** What is wrong. */
        what: String,
    },
    /// The folder of compiled modules cannot be used.
    #[error("compiled modules cannot be kept in {}: {source}", path.display())]
    Cache {
        /** The folder or file. */
        path: PathBuf,
        /** Why. */
        source: io::Error,
    },
    /// The host cannot start.
    #[error("the plugin host cannot start: {0}")]
    Host(String),
}

fn said(log: &[String]) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("; it said: {}", log.join(" | "))
    }
}
