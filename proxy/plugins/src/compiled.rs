//! Machine code on disk, so that a restart neither compiles nor configures again.
//!
//! A file's name is the hash of what it was made from, the wasmtime version and the engine's configuration with the CPU's
//! features; its end is a MAC with a key only this node has. What does not verify is made anew and overwritten. The folder
//! is bounded in files and bytes; what was used longest ago goes.

mod key;

use crate::PluginError;
use crate::host::Made;
use crate::trusted::{self, NodeKey};
use aegis_telemetry::metrics::PLUGIN_MODULES;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wasmtime::{Engine, Module};

/// Files kept.
const FILES_MAX: usize = 32;
/// What they may have together. A snapshot of the WAF is 60 to 90 MiB, and there are at most eight profiles.
const BYTES_MAX: u64 = 1 << 30;
const KEY_FILE: &str = "node.key";
const SUFFIX: &str = "cwasm";

/// The folder of machine code.
pub(crate) struct Compiled {
    dir: PathBuf,
    key: NodeKey,
}

/// The name of a file: the hash of all it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry([u8; 32]);

impl Compiled {
    /// Opens the folder, makes it and the node's key if they are missing.
    pub(crate) fn open(dir: &Path) -> Result<Self, PluginError> {
        let failed = |source| PluginError::Cache {
            path: dir.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
        key::make_private(dir, rustix::process::geteuid().as_raw()).map_err(failed)?;
        key::remove_abandoned(dir).map_err(failed)?;
        let key = key::node_key(&dir.join(KEY_FILE)).map_err(failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            key,
        })
    }

    /// The module of these bytes, compiled if need be. The error is the compiler's sentence.
    pub(crate) fn module(&self, engine: &Engine, wasm: &[u8]) -> Result<(Module, Made), String> {
        let entry = Entry::of_module(engine, wasm);
        if let Some((module, _)) = self.load(engine, entry) {
            return Ok((module, Made::Cached));
        }
        Ok((self.compile(engine, entry, wasm, Vec::new)?, Made::Built))
    }

    /// What is kept under this name: machine code, and a note.
    pub(crate) fn load(&self, engine: &Engine, entry: Entry) -> Option<(Module, Vec<u8>)> {
        let path = self.path(entry);
        let file = match key::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled module cannot be read");
                return None;
            }
        };
        let used = file.try_clone();
        match trusted::open(engine, &self.key, &entry.0, file) {
            Ok(found) => {
                // So that it is not among those used longest ago.
                let now = SystemTime::now();
                if let Err(error) = used.and_then(|file| file.set_modified(now)) {
                    tracing::debug!(path = %path.display(), %error, "time of use cannot be noted");
                }
                PLUGIN_MODULES.with(&["cached"]).inc();
                Some(found)
            }
            Err(why) => {
                PLUGIN_MODULES.with(&["rejected"]).inc();
                tracing::warn!(path = %path.display(), %why, "compiled module is refused: making it anew");
                None
            }
        }
    }

    /// Compiles a module and keeps the code under this name, with a note that is written afterwards. The error is the
    /// compiler's sentence.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        entry: Entry,
        wasm: &[u8],
        note: impl FnOnce() -> Vec<u8>,
    ) -> Result<Module, String> {
        let code = in_parallel(|| engine.precompile_module(wasm))
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("{error:#}"))?;
        PLUGIN_MODULES.with(&["compiled"]).inc();
        let tail = trusted::seal(&self.key, &entry.0, &code, &note());
        let path = self.path(entry);
        let kept = key::write_new(&path, &[&code, &tail]).and_then(|new| fs::rename(&new, &path));
        let pruned = kept.and_then(|()| self.prune(&path));
        if pruned.is_ok() {
            let mapped = key::open(&path)
                .map_err(trusted::Distrust::from)
                .and_then(|file| trusted::open(engine, &self.key, &entry.0, file));
            match mapped {
                Ok((module, _)) => return Ok(module),
                Err(why) => {
                    tracing::warn!(path = %path.display(), %why, "compiled module cannot be mapped from its file");
                }
            }
        }
        if let Err(error) = pruned {
            tracing::warn!(path = %path.display(), %error, "compiled module cannot be kept; the next start compiles again");
        }
        // A disk that is full or read-only, or one whose files may not be executed, costs memory and time, not the plugin.
        trusted::from_memory(engine, &code).map_err(|error| format!("{error:#}"))
    }

    fn path(&self, entry: Entry) -> PathBuf {
        let name = blake3::Hash::from_bytes(entry.0).to_hex();
        self.dir.join(format!("{name}.{SUFFIX}"))
    }

    /// Removes what was used longest ago, past the bounds, and what was never finished.
    fn prune(&self, keep: &Path) -> io::Result<()> {
        key::remove_abandoned(&self.dir)?;
        let mut files: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(&self.dir)?
            .filter_map(Result::ok)
            .filter(|entry| {
                entry.path().extension().is_some_and(|e| e == SUFFIX) && entry.path() != keep
            })
            .filter_map(|entry| {
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        files.sort_by(|one, other| other.cmp(one));
        let mut bytes = fs::metadata(keep)?.len();
        for (n, (_, len, path)) in files.into_iter().enumerate() {
            bytes = bytes.saturating_add(len);
            if n + 1 >= FILES_MAX || bytes > BYTES_MAX {
                crate::limits::hit("plugin_compiled_files");
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Runs something on threads that are there for it alone.
///
/// They give way to requests: they take all cores, but only what those leave. They end with it, since an allocator keeps
/// for a thread what that has freed: tens of MiB after a module was compiled.
pub(crate) fn in_parallel<T: Send>(act: impl FnOnce() -> T + Send) -> io::Result<T> {
    rayon::ThreadPoolBuilder::new()
        .thread_name(|n| format!("aegis-compile-{n}"))
        .start_handler(|_| crate::pool::be_nice(crate::pool::NICE_COMPILE))
        .build()
        .map(|threads| threads.install(act))
        .map_err(io::Error::other)
}

impl Entry {
    /// A module as it is.
    pub(crate) fn of_module(engine: &Engine, wasm: &[u8]) -> Self {
        Self::new(
            engine,
            "aegis compiled module 2",
            blake3::hash(wasm).as_bytes(),
        )
    }

    /// Something else made with this engine, for a purpose.
    pub(crate) fn new(engine: &Engine, purpose: &str, of: &[u8]) -> Self {
        struct Blake(blake3::Hasher);
        impl Hasher for Blake {
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
            fn finish(&self) -> u64 {
                0
            }
        }
        let mut hasher = Blake(blake3::Hasher::new_derive_key(purpose));
        // The hash covers the version of wasmtime, the target, the CPU's features and all settings of the compiler.
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.update(of);
        Self(*hasher.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests;
