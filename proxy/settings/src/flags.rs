//! Settings without a file: what `aegis run --origin URL` stands for.
//!
//! The flags are written as the settings they mean and read like any file, so that both obey the same checks.

use crate::kind::net::read_origin;
use crate::model::Origin;
use crate::problem::{Problem, Severity, quoted};
use crate::resolved::Validated;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Flags of `aegis run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--origin URL`; several are servers of one pool.
    pub origins: Vec<String>,
    /// `--listen ADDR`, plain HTTP.
    pub listen: Vec<String>,
    /// `--listen-tls ADDR`.
    pub listen_tls: Vec<String>,
    /// `--waf block|detect|off`.
    pub waf: Option<String>,
    /// `--limits off`.
    pub limits_off: bool,
    /// `--state-dir PATH`.
    pub state_dir: Option<PathBuf>,
    /// `--metrics ADDR`.
    pub metrics: Option<String>,
    /// `--admin-socket PATH`.
    pub admin_socket: Option<PathBuf>,
}

/// Name of the pool of several origins.
const POOL: &str = "origin";

/// Settings with one site for every host. Without an address, `[::]:8080` and, with TLS, `[::]:8443` are used.
///
/// # Errors
/// Everything wrong with the flags, each problem named by its flag.
pub fn from_flags(flags: &Flags) -> Result<Validated, Vec<Problem>> {
    let (origin, pool) = origin(&flags.origins).map_err(|problem| vec![problem])?;
    let mut node = Map::new();
    let path = |path: &PathBuf| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        Value::from(absolute.to_string_lossy())
    };
    if let Some(state_dir) = &flags.state_dir {
        node.insert("state_dir".to_owned(), path(state_dir));
    }
    let mut admin = Map::new();
    if let Some(socket) = &flags.admin_socket {
        admin.insert("socket".to_owned(), path(socket));
    }
    if let Some(metrics) = &flags.metrics {
        admin.insert("metrics".to_owned(), json!(metrics));
    }
    node.insert("admin".to_owned(), Value::Object(admin));
    let none = flags.listen.is_empty() && flags.listen_tls.is_empty();
    let default = |address: &str| {
        if none {
            vec![address.to_owned()]
        } else {
            Vec::new()
        }
    };
    let plain = flags.listen.iter().cloned().chain(default("[::]:8080"));
    let tls = flags.listen_tls.iter().cloned().chain(default("[::]:8443"));
    let listeners: Vec<Value> = plain
        .map(|address| json!({ "address": address }))
        .chain(tls.map(|address| json!({ "address": address, "tls": {} })))
        .collect();
    let mut site = json!({ "hosts": ["*"], "origin": origin });
    if let Some(mode) = &flags.waf {
        site["waf"] = json!({ "mode": mode });
    }
    if !flags.limits_off {
        // Far above what a person or an honest crawler does, low enough that one address cannot have the node to itself.
        site["limits"] = json!({ "policies": { "client": {
            "limit": 10_000, "window": "10s", "burst": 10_000,
        } } });
    }
    let mut settings =
        json!({ "version": 1, "node": node, "listeners": listeners, "sites": [site] });
    if let Some(pool) = pool {
        settings["pools"] = json!({ POOL: pool });
    }
    let loaded = crate::parse(&settings.to_string(), "command line", Path::new(""));
    loaded.result.map_err(|()| {
        let errors = loaded.problems.into_iter().filter(Problem::is_error);
        errors.map(|problem| by_flag(problem, flags)).collect()
    })
}

/// What the site's `origin` is, and the pool it names.
fn origin(origins: &[String]) -> Result<(String, Option<Value>), Problem> {
    let wrong = |message: String, help: &str| Problem {
        severity: Severity::Error,
        key: "--origin".to_owned(),
        message,
        help: Some(help.to_owned()),
        at: None,
    };
    let mut servers = Vec::new();
    let mut schemes = Vec::new();
    for origin in origins {
        match read_origin(origin) {
            Ok(Origin::Url { server, tls, .. }) => {
                servers.push(server);
                schemes.push(tls);
            }
            Ok(Origin::Pool(name)) => {
                let help = format!("write http://{name}:80 for the host {name}");
                return Err(wrong(
                    format!("--origin: expected a URL, found {}", quoted(origin)),
                    &help,
                ));
            }
            Err(refused) => {
                let found = refused.found.unwrap_or_else(|| quoted(origin));
                let help = refused
                    .help
                    .unwrap_or_else(|| "such as http://127.0.0.1:3000".to_owned());
                return Err(wrong(
                    format!(
                        "--origin: expected `http://host:port` or `https://host`, found {found}"
                    ),
                    &help,
                ));
            }
        }
    }
    match (origins, schemes.as_slice()) {
        ([], _) | (_, []) => Err(wrong(
            "--origin is missing".to_owned(),
            "such as --origin http://127.0.0.1:3000",
        )),
        ([one], _) => Ok((one.clone(), None)),
        (_, [first, rest @ ..]) => {
            if rest.iter().any(|tls| tls != first) {
                let message = "--origin: all must be http://, or all https://".to_owned();
                return Err(wrong(message, "for a mixture write a settings file"));
            }
            let pool = if *first {
                json!({ "servers": servers, "tls": {} })
            } else {
                json!({ "servers": servers })
            };
            Ok((POOL.to_owned(), Some(pool)))
        }
    }
}

/// A problem as a person sees it who wrote flags.
fn by_flag(problem: Problem, flags: &Flags) -> Problem {
    let plain = if flags.listen.is_empty() && flags.listen_tls.is_empty() {
        1
    } else {
        flags.listen.len()
    };
    let mut message = problem.message;
    let mut key = problem.key;
    // Longest first, so that `listeners[10]` is not taken for `listeners[1]`.
    let listeners = (0..plain + flags.listen_tls.len().max(1))
        .rev()
        .map(|index| {
            (
                format!("listeners[{index}].address"),
                if index < plain {
                    "--listen"
                } else {
                    "--listen-tls"
                },
            )
        });
    let others = [
        ("sites[0].origin", "--origin"),
        ("sites[0].waf.mode", "--waf"),
        ("node.admin.metrics", "--metrics"),
        ("node.admin.socket", "--admin-socket"),
        ("node.state_dir", "--state-dir"),
        ("pools.origin.servers", "--origin"),
        ("listeners", "--listen"),
    ];
    let others = others.iter().map(|(key, flag)| ((*key).to_owned(), *flag));
    for (setting, flag) in listeners.chain(others) {
        message = message.replace(&setting, flag);
        if key.starts_with(&setting) {
            key = flag.to_owned();
        }
    }
    let help = problem.help.map(|help| {
        help.replace(
            "here or at `node.state_dir`",
            "by --admin-socket or --state-dir",
        )
    });
    Problem {
        message,
        key,
        help,
        at: None,
        ..problem
    }
}
