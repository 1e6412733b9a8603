//! Files: those that are no settings, and those that settings refer to.

use super::messages;
use crate::limits::{FILE_BYTES_MAX, REFERENCED_BYTES_MAX};
use crate::{Loaded, load, load_moved, render};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs::write(path, content).expect("a file");
}

/// The one error there is.
fn only(loaded: &Loaded) -> String {
    assert!(loaded.result.is_err());
    let [problem] = loaded.problems.as_slice() else {
        panic!("{}", render(&loaded.problems, false))
    };
    assert!(problem.at.is_some() && problem.help.is_some());
    problem.message.clone()
}

#[test]
fn what_is_no_settings_file_is_one_clear_error() {
    let dir = folder();
    let path = dir.path().join("aegis.yaml");
    let name = path.display();
    assert_eq!(only(&load(&path)), format!("{name} does not exist"));
    assert_eq!(
        only(&load(dir.path())),
        format!("{} is a directory", dir.path().display())
    );
    for (content, message) in [
        (Vec::new(), "the file is empty".to_owned()),
        (
            b"\x7fELF\x02\x01\x01\0\0".to_vec(),
            format!("{name} is not text: byte 0 is 0x7f"),
        ),
        (
            b"version: 1\n\xff\xfe".to_vec(),
            format!("{name} is not text: byte 11 is 0xff"),
        ),
        (
            vec![b'#'; 2 << 20],
            format!("{name} has 2097152 bytes; 1MiB (1048576 bytes) is the most"),
        ),
    ] {
        write(dir.path(), "aegis.yaml", content);
        assert_eq!(only(&load(&path)), message);
    }
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let dir = folder();
    let path = dir.path().join("aegis.yaml");
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .expect("mkfifo runs");
    assert!(made.success());
    assert_eq!(
        only(&load(&path)),
        format!("{} is not a regular file", path.display())
    );
}

#[test]
fn a_half_written_file_is_refused_wherever_it_ends() {
    let whole = super::minimal("node: { workers: 1 }\n");
    for end in (0..whole.len() - 2).filter(|end| whole.is_char_boundary(*end)) {
        let loaded = super::parse(&whole[..end]);
        // From here on the origin is a good one, and what was cut off was not needed.
        let enough = whole[..end].contains("http://127.0.0.1");
        assert!(loaded.result.is_err() || enough, "{}", &whole[..end]);
        assert!(loaded.result.is_ok() || !loaded.problems.is_empty());
    }
}

#[test]
fn a_file_at_the_limit_is_read_and_one_byte_more_is_not() {
    let dir = folder();
    let path = dir.path().join("aegis.yaml");
    let mut text = super::minimal("#");
    text.push_str(&"x".repeat(FILE_BYTES_MAX as usize - text.len()));
    write(dir.path(), "aegis.yaml", &text);
    assert!(load(&path).result.is_ok());
    text.push('x');
    write(dir.path(), "aegis.yaml", &text);
    assert!(only(&load(&path)).ends_with("is the most"));
    assert!(super::parse(&text).result.is_err());
}

const REFERRING: &str = "certificates: [{ cert: tls/a.pem, key: file:tls/a.key }]\n\
                         plugins: { p: { module: p.wasm } }\n\
                         profiles: { waf: { own: { seclang: [rules/own.conf, tls/a.pem] } } }";

fn referring(dir: &Path) {
    let text =
        super::minimal(REFERRING).replace("origin: h", "waf: own\n    plugins: [p]\n    origin: h");
    write(dir, "aegis.yaml", text);
    for name in ["tls/a.pem", "tls/a.key", "p.wasm", "rules/own.conf"] {
        write(dir, name, name);
    }
}

#[test]
fn the_id_tells_apart_what_differs_in_any_file_and_nothing_else() {
    let dir = folder();
    referring(dir.path());
    let path = dir.path().join("aegis.yaml");
    let read = || load(&path).result.expect("good");
    let first = read();
    let names: Vec<_> = first
        .files
        .iter()
        .map(|file| file.strip_prefix(dir.path()).expect("inside"))
        .collect();
    assert_eq!(
        names,
        ["tls/a.pem", "tls/a.key", "rules/own.conf", "p.wasm"].map(Path::new)
    );
    assert_eq!(first.id, read().id);
    assert!(first.id.len() == 16 && first.id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    write(dir.path(), "rules/own.conf", "other");
    assert_ne!(first.id, read().id);

    let elsewhere = folder();
    referring(elsewhere.path());
    assert_eq!(
        first.id,
        load(&elsewhere.path().join("aegis.yaml"))
            .result
            .expect("good")
            .id
    );
}

#[test]
fn copies_are_read_when_the_originals_are_gone() {
    let dir = folder();
    referring(dir.path());
    let path = dir.path().join("aegis.yaml");
    let first = load(&path).result.expect("good");
    let copies = folder();
    let mut moved = BTreeMap::new();
    for (index, file) in first.files.iter().chain([&path]).enumerate() {
        let copy = copies.path().join(index.to_string());
        fs::rename(file, &copy).expect("moved");
        moved.insert(file.clone(), copy);
    }
    assert!(load(&path).result.is_err());
    let again = load_moved(&path, &moved).result.expect("good");
    assert_eq!(again.id, first.id);
    assert!(
        again
            .files
            .iter()
            .all(|file| file.starts_with(copies.path()))
    );
    assert!(
        again.settings.plugins["p"]
            .module
            .starts_with(copies.path())
    );
}

#[test]
fn every_file_that_cannot_be_read_is_named() {
    let dir = folder();
    referring(dir.path());
    fs::remove_file(dir.path().join("tls/a.key")).expect("removed");
    fs::remove_file(dir.path().join("p.wasm")).expect("removed");
    fs::create_dir(dir.path().join("p.wasm")).expect("a folder");
    let loaded = load(&dir.path().join("aegis.yaml"));
    let shown = dir.path().display();
    assert_eq!(
        messages(&loaded.problems),
        [
            format!("certificates[0].key: {shown}/tls/a.key does not exist"),
            format!("plugins.p.module: {shown}/p.wasm is a directory"),
        ]
    );
}

#[test]
fn files_may_have_64_mib_together_and_not_a_byte_more() {
    let dir = folder();
    referring(dir.path());
    let path = dir.path().join("aegis.yaml");
    let others = ["tls/a.pem", "tls/a.key", "rules/own.conf"]
        .iter()
        .map(|name| name.len() as u64)
        .sum::<u64>();
    let module = File::create(dir.path().join("p.wasm")).expect("a file");
    module
        .set_len(REFERENCED_BYTES_MAX - others)
        .expect("a hole");
    assert!(load(&path).result.is_ok());
    module
        .set_len(REFERENCED_BYTES_MAX - others + 1)
        .expect("a hole");
    assert!(only(&load(&path)).ends_with("the files the settings refer to have more than 64MiB"));
}

#[test]
fn a_secret_in_the_environment_must_be_there() {
    let dir = folder();
    write(dir.path(), "a.pem", "x");
    // PATH is set wherever tests run.
    write(
        dir.path(),
        "aegis.yaml",
        super::minimal("certificates: [{ cert: a.pem, key: env:PATH }]"),
    );
    assert!(load(&dir.path().join("aegis.yaml")).result.is_ok());
}
