//! `aegis run --origin URL`: no file, no root.

use aegis_testkit::process::Process;
use aegis_testkit::{Curl, Origin, Reply, paths, ports, raw, wait};
use std::time::Duration;

/// Runs with these flags, `{plain}` and `{tls}` replaced; waits until `/readyz` says 200.
struct Running {
    process: Process,
    plain: std::net::SocketAddr,
    tls: std::net::SocketAddr,
    _dir: tempfile::TempDir,
}

fn run(origins: &[&Origin], more: &[&str]) -> Running {
    let dir = paths::run_dir();
    let (plain, tls, metrics) = (
        ports::free_address(),
        ports::free_address(),
        ports::free_address(),
    );
    let mut args = vec!["run".to_owned()];
    let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
    for origin in origins {
        flag("--origin", origin.url());
    }
    flag("--listen", plain.to_string());
    flag("--listen-tls", tls.to_string());
    flag("--metrics", metrics.to_string());
    flag("--state-dir", dir.path().display().to_string());
    args.extend(more.iter().map(ToString::to_string));
    let process = Process::start(&paths::binary("aegis"), args);
    wait::try_within(Duration::from_secs(180), || {
        let ready = raw::try_get(metrics, "/readyz").is_some_and(|a| a.status() == 200);
        (ready || process.ended().is_some()).then_some(())
    });
    Running {
        process,
        plain,
        tls,
        _dir: dir,
    }
}

#[test]
fn one_site_answers_every_host_on_plain_and_tls() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let running = run(&[&origin], &["--waf", "off"]);
    for host in ["a.test", "b.test"] {
        let plain = Curl::get(format!("http://{}/", running.plain))
            .header(&format!("Host: {host}"))
            .send();
        assert_eq!(
            (plain.status, plain.text().as_str()),
            (200, "hello"),
            "{}",
            running.process.output()
        );
    }
    let tls = Curl::get("https://a.test/")
        .connect_to(running.tls)
        .arg(&["-k"])
        .http2()
        .send();
    assert_eq!((tls.status, tls.version.as_str()), (200, "2"));
}

#[test]
fn several_origins_are_asked_in_turn() {
    let [one, two] = ["one", "two"].map(|name| Origin::start(move |_| Reply::text(name)));
    let running = run(&[&one, &two], &["--waf", "off"]);
    for _ in 0..4 {
        Curl::get(format!("http://{}/", running.plain)).send();
    }
    assert_eq!((one.hits("/"), two.hits("/")), (2, 2));
}

#[test]
fn the_start_says_where_it_listens_and_what_is_off() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let running = run(&[&origin], &["--waf", "off"]);
    running.process.wait_for_line("ready in");
    let said = running.process.output();
    for part in [
        running.plain.to_string(),
        running.tls.to_string(),
        "waf".to_owned(),
    ] {
        assert!(said.contains(&part), "“{part}” is missing in\n{said}");
    }
}

#[test]
fn flags_that_make_no_sense_are_64() {
    let code = |args: &[&str]| aegis_testkit::aegis::command(args).status.code();
    assert_eq!(code(&["run", "--origin", "nonsense"]), Some(64));
    assert_eq!(
        code(&["run", "--origin", "http://127.0.0.1:1", "--waf", "maybe"]),
        Some(64)
    );
    assert_eq!(
        code(&["run", "--origin", "http://127.0.0.1:1", "-c", "x.yaml"]),
        Some(64)
    );
}

#[test]
fn one_address_may_ask_so_much_unless_limits_are_off() {
    let origin = Origin::start(|_| Reply::text("hello"));
    for (more, policy) in [
        (&["--waf", "off"][..], "\"client\";q=10000;w=10"),
        (&["--waf", "off", "--limits", "off"], ""),
    ] {
        let running = run(&[&origin], more);
        let answer = Curl::get(format!("http://{}/", running.plain)).send();
        assert_eq!(answer.status, 200, "{}", running.process.output());
        assert_eq!(answer.header("ratelimit-policy"), policy);
    }
}
