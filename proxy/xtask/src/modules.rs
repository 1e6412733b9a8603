//! The Wasm modules: the WAF's, in Go, and the examples, in Go and Rust.
//!
//! A module whose sources, build command and compiler did not change is left alone: its name is beside it in a file of
//! what it was made from. A new one takes the old one's place in one step, so that whoever reads it sees a whole one.

mod go;
mod inputs;
mod rust;

use crate::{steps, workspace};
use anyhow::{Context, Result};
use inputs::Inputs;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Builds the WAF's module into `out_dir`, with `coraza.json` beside it: what it is made of.
pub(crate) fn build(out_dir: &Path) -> Result<()> {
    let sources = workspace::root().join("wasm-modules/coraza");
    let module = Module {
        name: "coraza",
        out: out_dir.join("coraza.wasm"),
    };
    let compiler = go::version()?;
    let inputs = Inputs::of(&[&sources], &[&compiler, go::TAGS])?;
    if module.is_made_from(&inputs) {
        return Ok(());
    }
    module.make(|to| go::build(&sources, ".", go::TAGS, to))?;
    let requires = |path: &str| go::required(&sources.join("go.mod"), path);
    module.write_manifest(&json!({
        "module": "coraza.wasm",
        "blake3": inputs::digest(&module.out)?,
        "inputs": inputs.digest(),
        "coraza": requires("github.com/corazawaf/coraza/v3")?,
        "crs": requires("github.com/corazawaf/coraza-coreruleset/v4")?,
        "go": compiler,
    }))
}

/// Builds the examples into `out_dir/examples`, each in both languages: what the plugin host's tests ask.
pub(crate) fn build_examples(out_dir: &Path) -> Result<()> {
    let sources = workspace::root().join("wasm-modules/examples");
    let out_dir = out_dir.join("examples");
    let compiler = go::version()?;
    for name in ["add-header", "hostcalls"] {
        let module = Module {
            name: "example in Go",
            out: out_dir.join(format!("{name}-go.wasm")),
        };
        let inputs = Inputs::of(&[&sources.join("go")], &[&compiler])?;
        if !module.is_made_from(&inputs) {
            module.make(|to| go::build(&sources.join("go"), &format!("./{name}"), "", to))?;
            module.remember(&inputs)?;
        }
    }
    let inputs = Inputs::of(
        &[
            &sources.join("rust"),
            &sources.join("Cargo.toml"),
            &sources.join("Cargo.lock"),
        ],
        &[],
    )?;
    let examples = ["add-header", "hostcalls"].map(|name| {
        let module = Module {
            name: "example in Rust",
            out: out_dir.join(format!("{name}-rust.wasm")),
        };
        (name, module)
    });
    if examples
        .iter()
        .all(|(_, module)| module.is_made_from(&inputs))
    {
        return Ok(());
    }
    let built = rust::build(&sources)?;
    for (name, module) in &examples {
        let file = built.join(format!("{}.wasm", name.replace('-', "_")));
        module.make(|to| {
            fs::copy(&file, to).with_context(|| file.display().to_string())?;
            Ok(())
        })?;
        module.remember(&inputs)?;
    }
    Ok(())
}

/// Writes what native Coraza says into `out_dir/cases`: what the plugin host's tests hold the WAF's module to.
pub(crate) fn build_cases(out_dir: &Path) -> Result<()> {
    let sources = workspace::root().join("wasm-modules/coraza");
    let inputs = Inputs::of(&[&sources], &[&go::version()?])?;
    for name in ["suite", "rx"] {
        let cases = Module {
            name: "cases",
            out: out_dir.join(format!("cases/{name}.jsonl")),
        };
        if !cases.is_made_from(&inputs) {
            cases.make(|to| go::output(&sources, &["./cmd/cases", name], to))?;
            cases.remember(&inputs)?;
        }
    }
    Ok(())
}

/// Formats, lints and tests of the modules' own sources, natively: the WAF's against the Core Rule Set's own suite.
pub(crate) fn test() -> Result<()> {
    let sources = workspace::root().join("wasm-modules");
    go::test(&sources.join("coraza"))?;
    go::test(&sources.join("coraza/ftw"))?;
    go::vet_wasm(&sources.join("examples/go"))?;
    steps::run(workspace::cargo(&["fmt", "--all", "--check"]).current_dir(sources.join("examples")))
}

struct Module {
    name: &'static str,
    out: PathBuf,
}

impl Module {
    fn manifest(&self) -> PathBuf {
        self.out.with_extension("json")
    }

    /// Whether it is there, as it was built, from these inputs.
    fn is_made_from(&self, inputs: &Inputs) -> bool {
        let Some(manifest) = fs::read(self.manifest())
            .ok()
            .and_then(|m| serde_json::from_slice::<serde_json::Value>(&m).ok())
        else {
            return false;
        };
        let same = manifest["inputs"] == inputs.digest()
            && inputs::digest(&self.out).is_ok_and(|digest| manifest["blake3"] == digest);
        if same {
            eprintln!("{} is up to date", self.out.display());
        }
        same
    }

    /// Builds beside the module, then puts it in its place.
    fn make(&self, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let start = Instant::now();
        eprintln!("{}: {} …", self.out.display(), self.name);
        if let Some(dir) = self.out.parent() {
            fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        let new = self.out.with_extension("new");
        build(&new)?;
        fs::rename(&new, &self.out).with_context(|| self.out.display().to_string())?;
        let kib = fs::metadata(&self.out)?.len() >> 10;
        eprintln!(
            "{}: {kib} KiB in {:.1} s",
            self.out.display(),
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn remember(&self, inputs: &Inputs) -> Result<()> {
        self.write_manifest(&json!({
            "blake3": inputs::digest(&self.out)?,
            "inputs": inputs.digest(),
        }))
    }

    fn write_manifest(&self, manifest: &serde_json::Value) -> Result<()> {
        let file = self.manifest();
        fs::write(&file, format!("{manifest:#}\n")).with_context(|| file.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{Inputs, Module};
    use std::fs;

    #[test]
    fn a_module_is_built_again_only_when_its_inputs_or_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::write(&source, "one").unwrap();
        let module = Module {
            name: "test",
            out: dir.path().join("out/x.wasm"),
        };
        let inputs = || Inputs::of(&[&source], &["compiler"]).unwrap();
        assert!(!module.is_made_from(&inputs()));
        module.make(|to| Ok(fs::write(to, "wasm")?)).unwrap();
        module.remember(&inputs()).unwrap();
        assert!(module.is_made_from(&inputs()));

        fs::write(&module.out, "cut").unwrap();
        assert!(!module.is_made_from(&inputs()));
        fs::write(&module.out, "wasm").unwrap();
        assert!(module.is_made_from(&inputs()));
        fs::write(&source, "two").unwrap();
        assert!(!module.is_made_from(&inputs()));
    }

    #[test]
    fn a_build_that_fails_leaves_the_old_module() {
        let dir = tempfile::tempdir().unwrap();
        let module = Module {
            name: "test",
            out: dir.path().join("x.wasm"),
        };
        fs::write(&module.out, "old").unwrap();
        assert!(module.make(|_| anyhow::bail!("no")).is_err());
        assert_eq!(fs::read(&module.out).unwrap(), b"old");
    }
}
