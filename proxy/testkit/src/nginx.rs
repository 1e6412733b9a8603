//! nginx as a real origin and as a peer in the benches.

use crate::process::Process;
use crate::{ports, raw, wait};
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;

/// A running nginx with its own prefix folder. Dropping it ends master and workers.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    process: Process,
    dir: TempDir,
}

impl Nginx {
    /// Serves the files of `files` (name → content) on a free port.
    #[must_use]
    pub fn serving(files: &[(&str, &[u8])]) -> Self {
        let dir = TempDir::new().expect("a folder");
        for (name, content) in files {
            let path = dir.path().join("www").join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, content).expect("a file");
        }
        let address = ports::free_address();
        let http = format!(
            "access_log off; server {{ listen {address}; root {}/www; add_header Cache-Control \"public, max-age=600\"; }}",
            dir.path().display()
        );
        // One process: nothing is left behind when a test is killed.
        Self::start(dir, address, "master_process off;", &http, &[])
    }

    /// Runs with these main directives and this content of `http {}`; `wrapper` comes before the command
    /// (`taskset -c 1`).
    #[must_use]
    pub fn start(
        dir: TempDir,
        address: SocketAddr,
        main: &str,
        http: &str,
        wrapper: &[&str],
    ) -> Self {
        let prefix = dir.path().display().to_string();
        let config = dir.path().join("nginx.conf");
        std::fs::create_dir_all(dir.path().join("tmp")).expect("a folder");
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|t| format!("{t}_temp_path {prefix}/tmp/{t};"))
            .join(" ");
        // `user` matters only to root, whose worker must be able to read the folder.
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let text = format!(
            "{user} {main} daemon off; worker_processes 1; pid {prefix}/nginx.pid; error_log {prefix}/error.log warn;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ {temp} keepalive_requests 100000000;\n{http}\n}}\n"
        );
        std::fs::write(&config, text).expect("nginx.conf");
        let command: Vec<&str> = wrapper
            .iter()
            .copied()
            .chain([
                "nginx",
                "-p",
                &prefix,
                "-c",
                "nginx.conf",
                "-e",
                "error.log",
            ])
            .collect();
        let (program, args) = command.split_first().expect("a command");
        let process = Process::start(Path::new(program), args.iter().copied());
        wait::eventually(
            format!(
                "nginx listens on {address}: {}",
                std::fs::read_to_string(dir.path().join("error.log")).unwrap_or_default()
            ),
            || raw::try_get(address, "/"),
        );
        Self {
            address,
            process,
            dir,
        }
    }

    /// The same, known by another address it listens on.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its prefix folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Process id of the master.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // QUIT to the master ends the workers too; the kill by `Process` would leave them.
        self.process.signal(rustix::process::Signal::TERM);
        wait::try_within(wait::DEADLINE, || self.process.ended());
    }
}
