//! Settings made of flags.

use crate::model::WafMode;
use crate::{Flags, Problem, from_flags};
use std::path::PathBuf;

fn flags(origins: &[&str]) -> Flags {
    Flags {
        origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
        ..Flags::default()
    }
}

fn wrong(flags: &Flags) -> Vec<Problem> {
    from_flags(flags).expect_err("wrong flags")
}

#[test]
fn one_origin_is_enough() {
    let validated = from_flags(&flags(&["http://127.0.0.1:3000/"])).expect("good");
    let addresses: Vec<_> = validated
        .settings
        .listeners
        .iter()
        .map(|l| (l.address.to_string(), l.tls.is_some()))
        .collect();
    assert_eq!(
        addresses,
        [
            ("[::]:8080".to_owned(), false),
            ("[::]:8443".to_owned(), true)
        ]
    );
    assert_eq!(validated.sites[0].hosts, ["*"]);
    assert_eq!(validated.sites[0].routes[0].waf.mode, WafMode::Block);
    let limits = &validated.sites[0].routes[0].limits.policies;
    assert_eq!(
        limits["client"].sentence(),
        "10000 requests in 10s by address, burst 10000"
    );
    assert_eq!(
        validated.pools["http://127.0.0.1:3000"].servers,
        ["127.0.0.1:3000"]
    );
}

#[test]
fn each_flag_acts() {
    let validated = from_flags(&Flags {
        listen: vec!["127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()],
        waf: Some("off".to_owned()),
        limits_off: true,
        state_dir: Some(PathBuf::from("/tmp/aegis \"state\"")),
        metrics: Some("127.0.0.1:0".to_owned()),
        admin_socket: Some(PathBuf::from("/tmp/a.sock")),
        ..flags(&["http://a:1", "http://b:2"])
    })
    .expect("good");
    assert!(validated.sites[0].routes[0].limits.policies.is_empty());
    assert_eq!(validated.settings.listeners.len(), 2);
    assert!(
        validated
            .settings
            .listeners
            .iter()
            .all(|listener| listener.tls.is_none())
    );
    assert_eq!(validated.sites[0].routes[0].waf.mode, WafMode::Off);
    assert_eq!(
        validated.settings.node.state_dir,
        PathBuf::from("/tmp/aegis \"state\"")
    );
    assert_eq!(
        validated.settings.node.admin.socket,
        PathBuf::from("/tmp/a.sock")
    );
    assert_eq!(validated.settings.node.admin.metrics.port(), 0);
    assert_eq!(validated.pools["origin"].servers, ["a:1", "b:2"]);
    let tls = from_flags(&flags(&["https://a", "https://b"])).expect("good");
    assert!(tls.pools["origin"].tls.is_some());
}

#[test]
fn wrong_flags_are_named_by_their_flag() {
    for (flags, key, message) in [
        (flags(&[]), "--origin", "--origin is missing"),
        (
            flags(&["localhost"]),
            "--origin",
            "--origin: expected a URL, found `localhost`",
        ),
        (
            flags(&["127.0.0.1:3000"]),
            "--origin",
            "--origin: expected `http://host:port` or `https://host`, found `127.0.0.1:3000`",
        ),
        (
            flags(&["http://a", "https://b"]),
            "--origin",
            "--origin: all must be http://, or all https://",
        ),
        (
            Flags {
                listen: vec![":80".to_owned()],
                ..flags(&["http://a"])
            },
            "--listen",
            "--listen: expected an address `ip:port`, found the text `:80`",
        ),
        (
            Flags {
                listen: vec!["127.0.0.1:80".to_owned()],
                listen_tls: vec!["[::]:80".to_owned()],
                ..flags(&["http://a"])
            },
            "--listen-tls",
            "--listen-tls [::]:80 overlaps --listen 127.0.0.1:80",
        ),
        (
            Flags {
                waf: Some("on".to_owned()),
                ..flags(&["http://a"])
            },
            "--waf",
            "--waf: expected `block`, `detect` or `off`, found the text `on`",
        ),
        (
            Flags {
                metrics: Some("[::]:1".to_owned()),
                ..flags(&["http://a"])
            },
            "--metrics",
            "--metrics: expected a loopback address `ip:port`, found the text `[::]:1`",
        ),
        (
            Flags {
                state_dir: Some(PathBuf::from("/".to_owned() + &"x".repeat(100))),
                ..flags(&["http://a"])
            },
            "--admin-socket",
            "",
        ),
    ] {
        let problems = wrong(&flags);
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}")
        };
        assert_eq!(problem.key, key);
        assert!(
            problem.message == message || message.is_empty(),
            "{}",
            problem.message
        );
        assert!(problem.at.is_none());
        assert!(!format!("{problem}").contains("sites["), "{problem}");
    }
}
