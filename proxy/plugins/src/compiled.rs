//! Compiled modules on disk, so that a restart does not compile again.
//!
//! A file's name is the hash of the module, the wasmtime version and the engine's configuration with the CPU's features;
//! its head is a MAC with a key only this node has. What does not verify is compiled anew and overwritten.

use crate::PluginError;
use crate::trusted::{self, NodeKey};
use aegis_telemetry::metrics::PLUGIN_MODULES;
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::{Engine, Module};

/// Compiled modules kept; the oldest go.
const FILES_MAX: usize = 32;
/// Machine code of one module.
const CODE_MAX: u64 = 2 << 30;
const KEY_FILE: &str = "node.key";
const SUFFIX: &str = "cwasm";

/// The folder of compiled modules.
pub(crate) struct Compiled {
    dir: PathBuf,
    key: NodeKey,
    threads: rayon::ThreadPool,
}

/// Where a module's machine code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Compiled,
    Cached,
}

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
        let key = node_key(&dir.join(KEY_FILE)).map_err(failed)?;
        // Compilation gives way to requests: it takes all cores, but only what they leave.
        let threads = rayon::ThreadPoolBuilder::new()
            .thread_name(|n| format!("aegis-compile-{n}"))
            .start_handler(|_| crate::pool::be_nice(crate::pool::NICE_COMPILE))
            .build()
            .map_err(|error| failed(io::Error::other(error)))?;
        Ok(Self {
            dir: dir.to_owned(),
            key,
            threads,
        })
    }

    /// The module of these bytes, compiled if need be. The error is the compiler's sentence.
    pub(crate) fn module(&self, engine: &Engine, wasm: &[u8]) -> Result<Module, String> {
        let (module, origin) = self.load_or_compile(engine, wasm)?;
        let result = match origin {
            Origin::Compiled => "compiled",
            Origin::Cached => "cached",
        };
        PLUGIN_MODULES.with(&[result]).inc();
        Ok(module)
    }

    fn load_or_compile(&self, engine: &Engine, wasm: &[u8]) -> Result<(Module, Origin), String> {
        let entry = entry(engine, wasm);
        let path = self.dir.join(format!(
            "{}.{SUFFIX}",
            blake3::Hash::from_bytes(entry).to_hex()
        ));
        match read(&path, CODE_MAX) {
            Ok(file) => match trusted::open(engine, &self.key, &entry, &file) {
                Some(module) => return Ok((module, Origin::Cached)),
                None => {
                    PLUGIN_MODULES.with(&["rejected"]).inc();
                    tracing::warn!(path = %path.display(), "compiled module is not ours, cut or damaged: compiling anew");
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled module cannot be read");
            }
        }
        let code = self
            .threads
            .install(|| engine.precompile_module(wasm))
            .map_err(|error| format!("{error:#}"))?;
        let head = trusted::seal(&self.key, &entry, &code);
        if let Err(error) = self.store(&path, &head, &code) {
            tracing::warn!(path = %path.display(), %error, "compiled module cannot be kept; the next start compiles again");
        }
        let sealed = [head, code].concat();
        let module = trusted::open(engine, &self.key, &entry, &sealed)
            .ok_or_else(|| "the compiler's own output cannot be loaded".to_owned())?;
        Ok((module, Origin::Compiled))
    }

    fn store(&self, path: &Path, head: &[u8], code: &[u8]) -> io::Result<()> {
        let new = write_new(path, &[head, code])?;
        fs::rename(&new, path)?;
        self.prune(path)
    }

    /// Removes the oldest files past the bound.
    fn prune(&self, keep: &Path) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.dir)?
            .filter_map(Result::ok)
            .filter(|entry| {
                entry.path().extension().is_some_and(|e| e == SUFFIX) && entry.path() != keep
            })
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(FILES_MAX);
        for (_, path) in files.into_iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// The name of a compiled module.
fn entry(engine: &Engine, wasm: &[u8]) -> [u8; 32] {
    struct Blake(blake3::Hasher);
    impl Hasher for Blake {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Blake(blake3::Hasher::new_derive_key("aegis compiled module 1"));
    // The hash covers the version of wasmtime, the target, the CPU's features and all settings of the compiler.
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.update(blake3::hash(wasm).as_bytes());
    *hasher.0.finalize().as_bytes()
}

fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a private file beside `path`, under a name nobody else uses: another process may share the folder.
fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("{}-{count}.new", std::process::id()));
    // Left by a process of the same id that died.
    drop(fs::remove_file(&new));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    Ok(new)
}

/// The key of this node; one that others could have read is replaced.
fn node_key(path: &Path) -> io::Result<NodeKey> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    let mut key = [0; 32];
    let mut rest = key.as_mut_slice();
    while !rest.is_empty() {
        let got = rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())?;
        rest = rest.get_mut(got..).unwrap_or_default();
    }
    let new = write_new(path, &[&key])?;
    // Whoever links first has made the key; a second one takes that.
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    match linked {
        Ok(()) => Ok(NodeKey(key)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_key(path)?.ok_or_else(|| io::Error::other("the key of compiled modules vanished"))
        }
        Err(error) => Err(error),
    }
}

fn read_key(path: &Path) -> io::Result<Option<NodeKey>> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut file = match OpenOptions::new()
        .read(true)
        .custom_flags(no_follow)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    let mut key = [0; 32];
    let ours = meta.mode() & 0o077 == 0 && meta.uid() == rustix::process::geteuid().as_raw();
    if ours && meta.len() == 32 && file.read_exact(&mut key).is_ok() {
        return Ok(Some(NodeKey(key)));
    }
    tracing::warn!(path = %path.display(), "key of compiled modules is not private to us or damaged: making a new one");
    fs::remove_file(path)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WASM: &str = "(module (func (export \"f\") (result i32) (i32.const 7)))";

    fn origin(cache: &Compiled, wasm: &[u8]) -> Origin {
        cache
            .load_or_compile(&Engine::default(), wasm)
            .expect("compiles")
            .1
    }

    fn file(dir: &Path) -> PathBuf {
        let mut files = fs::read_dir(dir)
            .expect("dir")
            .filter_map(|e| Some(e.ok()?.path()));
        files
            .find(|path| path.extension().is_some_and(|e| e == SUFFIX))
            .expect("a compiled module")
    }

    #[test]
    fn a_module_is_compiled_once_and_survives_a_restart() {
        let dir = tempfile::tempdir().expect("dir");
        let wasm = wat::parse_str(WASM).expect("wat");
        assert_eq!(
            origin(&Compiled::open(dir.path()).expect("opens"), &wasm),
            Origin::Compiled
        );
        assert_eq!(
            origin(&Compiled::open(dir.path()).expect("opens"), &wasm),
            Origin::Cached
        );
        let mode = |path: PathBuf| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(
            (mode(dir.path().join(KEY_FILE)), mode(file(dir.path()))),
            (0o600, 0o600)
        );
    }

    #[test]
    fn a_cut_changed_or_foreign_file_is_compiled_anew_and_mended() {
        let dir = tempfile::tempdir().expect("dir");
        let wasm = wat::parse_str(WASM).expect("wat");
        let cache = Compiled::open(dir.path()).expect("opens");
        origin(&cache, &wasm);
        let path = file(dir.path());
        let good = fs::read(&path).expect("reads");
        let mut changed = good.clone();
        *changed.last_mut().expect("long") ^= 1;
        let mut headless = good.clone();
        headless[0] ^= 1;
        // Real machine code under the MAC of another node.
        let other = tempfile::tempdir().expect("dir");
        origin(&Compiled::open(other.path()).expect("opens"), &wasm);
        let foreign = fs::read(file(other.path())).expect("reads");
        for bad in [
            &good[..good.len() / 2],
            &good[..20],
            &[],
            &changed,
            &headless,
            &foreign,
        ] {
            fs::write(&path, bad).expect("writes");
            assert_eq!(origin(&cache, &wasm), Origin::Compiled);
            assert_eq!(origin(&cache, &wasm), Origin::Cached);
        }
    }

    #[test]
    fn a_file_of_another_module_is_not_taken() {
        let dir = tempfile::tempdir().expect("dir");
        let cache = Compiled::open(dir.path()).expect("opens");
        let first = wat::parse_str(WASM).expect("wat");
        origin(&cache, &first);
        let (path, good) = (file(dir.path()), fs::read(file(dir.path())).expect("reads"));
        fs::remove_file(path).expect("removes");
        let second = wat::parse_str("(module)").expect("wat");
        origin(&cache, &second);
        fs::write(file(dir.path()), good).expect("writes");
        assert_eq!(origin(&cache, &second), Origin::Compiled);
    }

    #[test]
    fn a_key_that_others_can_read_is_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("dir");
        let wasm = wat::parse_str(WASM).expect("wat");
        origin(&Compiled::open(dir.path()).expect("opens"), &wasm);
        let key = dir.path().join(KEY_FILE);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert_eq!(
            origin(&Compiled::open(dir.path()).expect("opens"), &wasm),
            Origin::Compiled
        );
        fs::write(&key, b"short").expect("writes");
        assert_eq!(
            origin(&Compiled::open(dir.path()).expect("opens"), &wasm),
            Origin::Compiled
        );
    }

    #[test]
    fn old_modules_make_room() {
        let dir = tempfile::tempdir().expect("dir");
        let cache = Compiled::open(dir.path()).expect("opens");
        for n in 0..FILES_MAX + 3 {
            let wasm = wat::parse_str(format!("(module (func (export \"f{n}\")))")).expect("wat");
            origin(&cache, &wasm);
        }
        let files = fs::read_dir(dir.path()).expect("dir").count();
        assert_eq!(files, FILES_MAX + 1, "modules and the key");
    }
}
