//! The table of host functions in the plugin contract, and that the examples ask for all of them.

use crate::support::{LANGUAGES, module};
use aegis_plugins::{Support, host_functions};
use std::fmt::Write;
use std::path::Path;

const START: &str = "<!-- host-functions:start -->\n";
const END: &str = "<!-- host-functions:end -->";

fn table() -> String {
    let mut out = String::from("| module | function | | |\n|---|---|---|---|\n");
    for f in host_functions() {
        let status = match f.status {
            Support::Works => "works",
            Support::Unimplemented => "Unimplemented (12)",
            Support::Denied => "denied",
        };
        let note = f.note.replace('|', "\\|");
        writeln!(out, "| {} | `{}` | {status} | {note} |", f.module, f.name).expect("a string");
    }
    out
}

#[test]
fn the_plugin_contract_lists_the_functions_the_host_has() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wasm-modules/README.md");
    let text = std::fs::read_to_string(&file).expect("the plugin contract");
    let (before, rest) = text.split_once(START).expect("the start of the table");
    let (old, after) = rest.split_once(END).expect("the end of the table");
    if old == table() {
        return;
    }
    if std::env::var_os("AEGIS_WRITE").is_some() {
        std::fs::write(&file, format!("{before}{START}{}{END}{after}", table())).expect("writes");
    } else {
        panic!(
            "the table in {} is old: AEGIS_WRITE=1 cargo test -p aegis-plugins table",
            file.display()
        );
    }
}

#[test]
fn the_examples_import_every_function_of_the_abi() {
    for language in LANGUAGES {
        let wasm = std::fs::read(module(&format!("examples/hostcalls-{language}.wasm")))
            .expect("the example");
        for f in host_functions()
            .iter()
            .filter(|f| f.module == "env" && f.name.starts_with("proxy_"))
        {
            // An import is its module's name and its own, each with its length before it.
            let import = [
                b"\x03env",
                [u8::try_from(f.name.len()).expect("short")].as_slice(),
                f.name.as_bytes(),
            ]
            .concat();
            assert!(
                wasm.windows(import.len()).any(|w| w == import),
                "the example in {language} does not import {}",
                f.name
            );
        }
    }
}
