//! From a file to a module that is known to speak the ABI.

use crate::abi::{self, host_functions};
use crate::limits::MODULE_MAX;
use crate::state::State;
use crate::{PluginError, abi::HostFunction};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use wasmtime::{Engine, ExternType, InstancePre, Module};

/// Reads the file, if it can be a module at all.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let unreadable = |source| PluginError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size > MODULE_MAX {
        return Err(PluginError::TooBig {
            path: path.to_owned(),
            size,
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(MODULE_MAX)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    let not = |found| PluginError::NotWasm {
        path: path.to_owned(),
        found,
    };
    match bytes.as_slice() {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(bytes),
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Err(not("this is a WebAssembly component")),
        [b'\0', b'a', b's', b'm', ..] => {
            Err(not("this is WebAssembly of a version we do not know"))
        }
        [] => Err(not("the file is empty")),
        [0x7f, b'E', b'L', b'F', ..] => Err(not("this is a native program or library (ELF)")),
        [b'(', ..] => Err(not("this looks like WebAssembly text")),
        _ => Err(not("this is not WebAssembly")),
    }
}

/// Checks exports and imports and links the module to the host.
pub(crate) fn link(
    path: &Path,
    engine: &Engine,
    module: &Module,
) -> Result<InstancePre<State>, PluginError> {
    exports(module).map_err(|what| PluginError::NoAbi {
        path: path.to_owned(),
        what,
    })?;
    let missing = |imports| PluginError::MissingImports {
        path: path.to_owned(),
        imports,
    };
    let unknown: Vec<String> = module
        .imports()
        .filter_map(|i| unknown(i.module(), i.name(), &i.ty()))
        .collect();
    if !unknown.is_empty() {
        return Err(missing(unknown));
    }
    let linker = abi::linker(engine).map_err(|error| PluginError::Host(format!("{error:#}")))?;
    linker
        .instantiate_pre(module)
        .map_err(|error| missing(vec![format!("{error:#}")]))
}

fn exports(module: &Module) -> Result<(), String> {
    let function = |name: &str| matches!(module.get_export(name), Some(ExternType::Func(_)));
    if !function("proxy_abi_version_0_2_0") && !function("proxy_abi_version_0_2_1") {
        if let Some(other) = module
            .exports()
            .find(|e| e.name().starts_with("proxy_abi_version_"))
        {
            return Err(format!(
                "it exports `{}`, an ABI version this host does not speak",
                other.name()
            ));
        }
        return Err("it lacks the proxy-wasm ABI: it exports neither `proxy_abi_version_0_2_0` nor `proxy_abi_version_0_2_1`".into());
    }
    if !matches!(module.get_export("memory"), Some(ExternType::Memory(memory)) if !memory.is_64() && !memory.is_shared())
    {
        return Err("it does not export its `memory`".into());
    }
    if !function("proxy_on_memory_allocate") && !function("malloc") {
        return Err("it exports neither `proxy_on_memory_allocate` nor `malloc`".into());
    }
    if !function("proxy_on_context_create") {
        return Err("it does not export `proxy_on_context_create`".into());
    }
    Ok(())
}

/// What is wrong with an import that the host does not have.
fn unknown(module: &str, name: &str, kind: &ExternType) -> Option<String> {
    let same = |function: &&HostFunction| function.module == module && function.name == name;
    match kind {
        ExternType::Func(_) if host_functions().iter().any(|function| same(&function)) => None,
        ExternType::Func(_) => Some(format!("{module}.{name}")),
        ExternType::Memory(_) => Some(format!("{module}.{name} (a memory)")),
        ExternType::Table(_) => Some(format!("{module}.{name} (a table)")),
        ExternType::Global(_) => Some(format!("{module}.{name} (a global)")),
        _ => Some(format!("{module}.{name} (not a function)")),
    }
}
