//! `node:` what belongs to this machine.

use crate::define::{choices, computed, default, settings};
use crate::kind::file::{log_target, path};
use crate::kind::net::loopback;
use crate::kind::scalar::{choice, ms, secs, size, time, whole};
use crate::kind::section;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::kind::file::LogTarget;

settings! {
    /// What belongs to this machine.
    pub struct Node {
        /// Where certificates, compiled modules and the last good settings are kept.
        state_dir: PathBuf = path()
            => computed("/var/lib/aegis", "/var/lib/aegis for root, else $XDG_STATE_HOME/aegis or ~/.local/state/aegis");
        /// Worker threads; 0 = one for each core.
        workers: usize = whole(0, 1_024) => default("0");
        /// Administration.
        admin: Admin = section() => default("{}");
        /// Access log and process log.
        log: Log = section() => default("{}");
        /// Connections from clients.
        client: Client = section() => default("{}");
        /// TLS of all listeners.
        tls: NodeTls = section() => default("{}").live();
        /// Storage of the cache.
        cache: NodeCache = section() => default("{}");
        /// The counts of limits.
        limits: NodeLimits = section() => default("{}");
        /// The threads that run plugins.
        plugins: PluginPool = section() => default("{}");
        /// All request bodies held back for a verdict, together.
        bodies_held_max: u64 = size(1 << 20, 1 << 40) => default("256MiB");
        /// How a stop goes.
        shutdown: Shutdown = section() => default("{}").live();
    }
}

settings! {
    /// Administration.
    pub struct Admin {
        /// Unix socket of `aegis status`, `aegis explain` and the like.
        socket: PathBuf = path() => computed("/run/aegis/admin.sock", "<state_dir>/admin.sock");
        /// Address of `/metrics`, `/livez` and `/readyz`; port 0 lets the system choose.
        metrics: SocketAddr = loopback() => default("127.0.0.1:9901");
    }
}

settings! {
    /// Access log and process log.
    pub struct Log {
        /// Format of the access log.
        access: AccessFormat = choice() => default("json");
        /// Where the access log goes.
        access_path: LogTarget = log_target() => default("stdout");
        /// Least severe line in the process log (stderr).
        level: Level = choice() => default("info").live();
    }
}

choices! {
    /// Access log format.
    pub enum AccessFormat {
        /// One JSON object a line.
        Json = "json",
        /// NCSA combined.
        Combined = "combined",
        /// None.
        Off = "off",
    }
}

choices! {
    /// Process log level.
    pub enum Level {
        /// What needs a person.
        Error = "error",
        /// What may need one soon.
        Warn = "warn",
        /// What changed.
        Info = "info",
        /// What helps to find a fault.
        Debug = "debug",
    }
}

settings! {
    /// Connections from clients.
    pub struct Client {
        /// Whole time for the TLS handshake.
        handshake_timeout: Duration = time(ms(100), secs(600)) => default("10s");
        /// Longest wait for the bytes of a request head or body.
        read_timeout: Duration = time(ms(100), secs(3_600)) => default("60s");
        /// Longest wait for a client to take bytes of a response.
        write_timeout: Duration = time(ms(100), secs(3_600)) => default("60s");
        /// A connection without a request is closed after this, HTTP/1 and HTTP/2.
        idle_timeout: Duration = time(ms(100), secs(3_600)) => default("75s");
        /// Open connections in all; one more is closed at once.
        connections_max: usize = whole(1, 10_000_000) => default("20000");
        /// Concurrent streams of an HTTP/2 connection.
        h2_streams_max: u32 = whole(1, 10_000) => default("128");
    }
}

settings! {
    /// TLS of all listeners.
    pub struct NodeTls {
        /// How long a key for session tickets makes new ones; it takes them for as long again. Nothing of it is kept on disk.
        ticket_rotation: Duration = time(secs(1), secs(7 * 86_400)) => default("12h");
    }
}

settings! {
    /// Storage of the cache.
    pub struct NodeCache {
        /// Memory for cached answers.
        memory: u64 = size(1 << 20, 1 << 44) => default("256MiB");
    }
}

settings! {
    /// The counts of limits.
    pub struct NodeLimits {
        /// Clients (or whatever a limit's `key` says) that are counted at a time, 72 bytes each; past it those that used
        /// least of their limit are forgotten.
        entries: usize = whole(1_024, 1 << 24) => default("131072");
    }
}

settings! {
    /// The threads that run plugins.
    pub struct PluginPool {
        /// Threads; 0 = one less than cores, at least two.
        threads: usize = whole(0, 1_024) => default("0");
        /// Jobs waiting for a thread; one more fails.
        queue_max: usize = whole(1, 1_000_000) => default("1024");
        /// Longest wait for a thread; then the job fails. A long text may wait ten times as long.
        wait_max: Duration = time(ms(1), secs(60)) => default("100ms");
    }
}

settings! {
    /// How a stop goes.
    pub struct Shutdown {
        /// Time for requests in flight after SIGTERM.
        grace: Duration = time(ms(0), secs(3_600)) => default("25s");
    }
}
