//! What a machine needs for each task: how to see it is there, and the Debian packages that bring it.

use aegis_testkit::paths;
use clap::ValueEnum;
use std::path::Path;
use std::process::Command;

/// What it is needed for; each holds what comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Target {
    /// `make demo`, `make build`
    Demo,
    /// `make test`
    Test,
    /// `make bench-proxy`
    Bench,
}

/// One thing.
pub(crate) struct Need {
    /// Its name for people.
    pub(crate) name: &'static str,
    /// From which task on.
    pub(crate) from: Target,
    /// Whether it is there.
    pub(crate) is_there: fn() -> bool,
    /// Debian packages.
    pub(crate) packages: &'static [&'static str],
}

/// All of it.
pub(crate) const NEEDS: &[Need] = &[
    Need {
        name: "C and C++ compilers (BoringSSL)",
        from: Target::Demo,
        is_there: || runs("cc") && runs("c++"),
        packages: &["build-essential"],
    },
    Need {
        name: "cmake (BoringSSL)",
        from: Target::Demo,
        is_there: || runs("cmake"),
        packages: &["cmake"],
    },
    Need {
        name: "libclang (bindings of BoringSSL)",
        from: Target::Demo,
        is_there: libclang,
        packages: &["clang", "libclang-dev"],
    },
    Need {
        name: "Go ≥ 1.25 (the WAF's module)",
        from: Target::Demo,
        is_there: go,
        packages: &["golang-go"],
    },
    Need {
        name: "curl with HTTP/2",
        from: Target::Demo,
        is_there: curl,
        packages: &["curl"],
    },
    Need {
        name: "setpriv, flock",
        from: Target::Demo,
        is_there: || runs("setpriv") && runs("flock"),
        packages: &["util-linux"],
    },
    Need {
        name: "rustfmt and clippy",
        from: Target::Test,
        is_there: || runs("rustfmt") && runs("cargo-clippy"),
        packages: &[],
    },
    Need {
        name: "git",
        from: Target::Test,
        is_there: || runs("git"),
        packages: &["git"],
    },
    Need {
        name: "openssl",
        from: Target::Test,
        is_there: || works("openssl", &["version"]),
        packages: &["openssl"],
    },
    Need {
        name: "nginx",
        from: Target::Test,
        is_there: || works("nginx", &["-v"]),
        packages: &["nginx-light"],
    },
    Need {
        name: "HAProxy",
        from: Target::Test,
        is_there: || works("haproxy", &["-v"]),
        packages: &["haproxy"],
    },
    Need {
        name: "h2load",
        from: Target::Test,
        is_there: || runs("h2load"),
        packages: &["nghttp2-client"],
    },
    Need {
        name: "wrk",
        from: Target::Bench,
        is_there: || Path::new("/usr/bin/wrk").exists() || works("sh", &["-c", "command -v wrk"]),
        packages: &["wrk"],
    },
    Need {
        name: "taskset",
        from: Target::Bench,
        is_there: || runs("taskset"),
        packages: &["util-linux"],
    },
];

fn runs(program: &str) -> bool {
    works(program, &["--version"])
}

fn works(program: &str, args: &[&str]) -> bool {
    output(program, args).is_some()
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(paths::checkout())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn curl() -> bool {
    output("curl", &["--version"]).is_some_and(|v| v.contains("HTTP2"))
}

fn go() -> bool {
    output("go", &["version"]).is_some_and(|v| go_is_new_enough(&v))
}

/// From the words of `go version`.
fn go_is_new_enough(version: &str) -> bool {
    let number = version
        .split(' ')
        .find_map(|w| w.strip_prefix("go1."))
        .unwrap_or_default();
    let minor: String = number.chars().take_while(char::is_ascii_digit).collect();
    minor.parse::<u32>().is_ok_and(|m| m >= 25)
}

/// `clang-sys` looks in these places.
fn libclang() -> bool {
    let set = std::env::var_os("LIBCLANG_PATH").is_some();
    let known = output("sh", &["-c", "PATH=$PATH:/sbin:/usr/sbin ldconfig -p"])
        .is_some_and(|l| l.contains("libclang"));
    let dirs = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    set || known
        || dirs
            .map(|d| d.path())
            .filter(|p| p.display().to_string().contains("llvm-"))
            .any(|p| p.join("lib/libclang.so.1").exists() || p.join("lib/libclang.so").exists())
}

#[cfg(test)]
mod tests {
    use super::go_is_new_enough;

    #[test]
    fn go_is_judged_by_its_minor_version() {
        assert!(go_is_new_enough("go version go1.26.8 linux/amd64"));
        assert!(go_is_new_enough("go version go1.25rc1 linux/amd64"));
        assert!(!go_is_new_enough("go version go1.19.8 linux/amd64"));
        assert!(!go_is_new_enough(""));
    }
}
