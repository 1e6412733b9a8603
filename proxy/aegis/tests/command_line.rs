//! What a person types and gets: texts, exit codes, JSON. Nothing here starts a node.
#![expect(clippy::expect_used, reason = "tests say what they expected")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn aegis(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aegis"))
        .args(args)
        .env("NO_COLOR", "1")
        .output()
        .expect("aegis runs")
}

fn settings(dir: &Path, sites: &str) -> String {
    let path = dir.join("aegis.yaml");
    let text = format!(
        "version: 1\nnode: {{ state_dir: state }}\nlisteners: [{{ address: \"127.0.0.1:1\" }}]\n{sites}\n"
    );
    std::fs::write(&path, text).expect("writes");
    path.display().to_string()
}

const SITE: &str =
    "sites: [{ hosts: [a.example.com], origin: \"http://127.0.0.1:1\", waf: { mode: off } }]";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_has_examples_and_goes_to_standard_output() {
    for args in [&["--help"][..], &["run", "--help"], &["explain", "--help"]] {
        let out = aegis(args);
        assert_eq!(out.status.code(), Some(0));
        assert!(text(&out.stdout).contains("Examples:"), "{args:?}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_64() {
    for args in [
        &["flie"][..],
        &["run", "--waf", "off"],
        &["run", "--origin", "nonsense"],
        &["run", "-c", "a", "--origin", "http://b"],
        &["explain", "nonsense"],
        &["status", "-o", "xml"],
    ] {
        let out = aegis(args);
        assert_eq!(out.status.code(), Some(64), "{args:?}");
        assert!(text(&out.stderr).contains("error"), "{args:?}");
        assert!(out.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_flag_that_a_file_would_override_is_refused_and_not_ignored() {
    for flag in [
        ["--waf", "off"],
        ["--listen", "127.0.0.1:0"],
        ["--listen-tls", "127.0.0.1:0"],
        ["--metrics", "127.0.0.1:0"],
        ["--state-dir", "/nowhere"],
        ["--admin-socket", "/nowhere/admin.sock"],
    ] {
        let output = aegis(&["run", "-c", "aegis.yaml", flag[0], flag[1]]);
        assert_eq!(output.status.code(), Some(64), "{flag:?}");
        assert!(text(&output.stderr).contains(flag[0]), "{flag:?}");
    }
}

#[test]
fn good_settings_are_said_to_be_good() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = settings(dir.path(), SITE);
    let out = aegis(&["check", "-c", &file]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    assert!(text(&out.stdout).contains("ok: config "));
    let out = aegis(&["check", "-c", &file, "-o", "json"]);
    let answer: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["id"].as_str().map(str::len), Some(16));
}

#[test]
fn everything_wrong_is_listed_with_its_place_and_ends_with_78() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = settings(
        dir.path(),
        "sites: [{ hosts: [a.example.com], origin: apis, waf: { mod: off } }]",
    );
    let out = aegis(&["check", "-c", &file]);
    assert_eq!(out.status.code(), Some(78));
    let said = text(&out.stdout);
    for part in ["waf.mod", "apis", "aegis.yaml:4:", "2 errors"] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    let out = aegis(&["check", "-c", &file, "-o", "json"]);
    assert_eq!(out.status.code(), Some(78));
    let answer: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["problems"][0]["at"]["line"], 4);
}

#[test]
fn a_certificate_that_is_none_is_found_by_check_and_keeps_run_from_binding() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("cert.pem"), "nothing").expect("writes");
    let file = settings(
        dir.path(),
        &format!("certificates: [{{ cert: cert.pem, key: \"file:cert.pem\" }}]\n{SITE}"),
    );
    let out = aegis(&["check", "-c", &file]);
    assert_eq!(out.status.code(), Some(78), "{}", text(&out.stdout));
    assert!(
        text(&out.stdout).contains("holds no certificate"),
        "{}",
        text(&out.stdout)
    );
    let out = aegis(&["run", "-c", &file]);
    assert_eq!(out.status.code(), Some(78), "{}", text(&out.stderr));
    assert!(
        text(&out.stderr).contains("holds no certificate"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn run_without_any_good_settings_ends_with_78() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("aegis.yaml").display().to_string();
    let out = aegis(&["run", "-c", &missing]);
    assert_eq!(out.status.code(), Some(78));
    assert!(text(&out.stderr).contains("does not exist"));
}

#[test]
fn a_url_is_explained_from_a_file_without_a_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = settings(
        dir.path(),
        "sites: [{ hosts: [a.example.com], origin: \"http://127.0.0.1:1\", waf: { mode: off }, \
         routes: [{ match: { path: /api/* }, cache: off }] }]",
    );
    let out = aegis(&["explain", "https://a.example.com/api/cart?x=1", "-c", &file]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    for part in [
        "a.example.com",
        "/api/*  (sites[0].routes[0])",
        "127.0.0.1:1",
        "cached   no",
        "aegis.yaml:4",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    let out = aegis(&[
        "explain",
        "https://a.example.com/",
        "-c",
        &file,
        "-o",
        "json",
    ]);
    let answer: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(answer["cache_key"], "https://a.example.com:443/");
    assert_eq!(answer["values"]["waf.mode"]["value"], "off");

    let out = aegis(&["explain", "https://b.example.com/", "-c", &file]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("hosts here: a.example.com"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn asking_a_node_that_does_not_run_names_the_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = settings(dir.path(), SITE);
    for args in [
        &["status", "-c", &file][..],
        &["explain", "01JD8Z3V6Q5G7J0K2M4N6P8R0S", "-c", &file],
    ] {
        let out = aegis(args);
        assert_eq!(out.status.code(), Some(1));
        assert!(
            text(&out.stderr).contains("state/admin.sock"),
            "{}",
            text(&out.stderr)
        );
    }
}

#[test]
fn versions_are_told() {
    let out = aegis(&["version", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(answer["aegis"], env!("CARGO_PKG_VERSION"));
    assert!(answer["wasmtime"].is_string());
}
