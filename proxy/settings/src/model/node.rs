//! `node:` what belongs to this machine.

use super::Verdicts;
use crate::define::{choices, computed, default, optional, required, settings};
use crate::kind::file::{Secret, log_target, path, secret};
use crate::kind::net::{collector, loopback, network};
use crate::kind::scalar::{choice, flag, ms, name, secs, share, size, time, whole};
use crate::kind::{list, maybe, section};
use crate::limits::{MASKS_MAX, NETWORKS_MAX, TOKENS_MAX};
use crate::networks::Network;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::kind::file::LogTarget;
pub use crate::kind::net::Collector;

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
        /// Access log, event log and process log.
        log: Log = section() => default("{}");
        /// Spans for an OpenTelemetry collector; without it there are none.
        tracing: Option<Tracing> = maybe(section()) => optional(&[]);
        /// Connections from clients.
        client: Client = section() => default("{}");
        /// TLS of all listeners.
        tls: NodeTls = section() => default("{}").live();
        /// Storage of the cache.
        cache: NodeCache = section() => default("{}");
        /// Bans, allows, and the rules that make bans.
        verdicts: Verdicts = section() => default("{}").live();
        /// The counts of limits.
        limits: NodeLimits = section() => default("{}");
        /// The threads that run plugins.
        plugins: PluginPool = section() => default("{}");
        /// All request bodies held back for a verdict, together.
        bodies_held_max: u64 = size(1 << 20, 1 << 40) => default("256MiB");
        /// All request bodies on disk (`<state_dir>/spool`) for routes with `waf.body_mode: spool`, together.
        bodies_spooled_max: u64 = size(1 << 20, 1 << 44) => default("1GiB");
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
        /// Who may ask and change what on the socket. Without any, whoever may open it may ask, and root and the user
        /// Aegis runs as may change; with any, changes need one, and so does asking for everybody else.
        tokens: Vec<AdminToken> = list(section(), 0, TOKENS_MAX) => default("[]").live();
    }
}

settings! {
    /// A secret that somebody who asks or changes something has to show.
    pub struct AdminToken {
        /// Who that is, in the log of changes and in what they made.
        name: String = name("a name") => required(&["ops"]);
        /// 16 to 4096 bytes; white space around them does not count.
        secret: Secret = secret() => required(&["file:ops.token"]);
        /// What they may do.
        roles: Vec<AdminRole> = list(choice(), 1, AdminRole::COUNT) => required(&["[read, ban]"]);
    }
}

choices! {
    /// What a token allows.
    pub enum AdminRole {
        /// To ask: status, events, verdicts and why.
        Read = "read",
        /// To ban, allow and unban.
        Ban = "ban",
    }
}

impl AdminRole {
    /// How many there are.
    const COUNT: usize = 2;
}

settings! {
    /// Access log, event log and process log.
    pub struct Log {
        /// Format of the access log.
        access: AccessFormat = choice() => default("json");
        /// Where the access log goes.
        access_path: LogTarget = log_target() => default("stdout");
        /// Where security events go, a line of JSON each: what the WAF matched with every rule, bans, refusals of limits,
        /// changes on the admin socket. `events_kept` is for this node itself.
        events_path: Option<LogTarget> = maybe(log_target()) => optional(&["events.log"]);
        /// Security events that are kept on disk, in the state directory, for `aegis explain` after a restart; 0 = in memory only.
        events_kept: u64 = size(0, 1 << 30) => default("64MiB");
        /// Least severe line in the process log (stderr).
        level: Level = choice() => default("info").live();
        /// Parameters, header fields and cookies whose values no log and no security event may show, beside
        /// Authorization, Cookie, Set-Cookie and whatever has password, passwd, secret or token in its name.
        mask: Vec<String> = list(name("the name of a parameter"), 0, MASKS_MAX) => default("[]").live();
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
    /// Spans of requests, for an OpenTelemetry collector.
    pub struct Tracing {
        /// The collector, by OTLP/HTTP in JSON without TLS: one beside the node, which passes on what goes far.
        otlp: Collector = collector() => required(&["http://127.0.0.1:4318"]);
        /// Share of the requests that are recorded, where no trusted proxy has said whether.
        sample: f64 = share() => default("0.01");
    }
}

settings! {
    /// Connections from clients.
    pub struct Client {
        /// Whole time for a ClientHello, from the accept on; at most `handshake_timeout`.
        hello_timeout: Duration = time(ms(100), secs(600)) => default("5s");
        /// Whole time for the TLS handshake.
        handshake_timeout: Duration = time(ms(100), secs(600)) => default("10s");
        /// Whole time for a request's head; and how long a client may be waited for while it sends a body, of which
        /// `receive_rate_min` bytes give a second back.
        read_timeout: Duration = time(ms(100), secs(3_600)) => default("60s");
        /// Whole time for a request's body.
        body_timeout: Duration = time(ms(100), secs(604_800)) => default("1h");
        /// Bytes a second of a body that a client has to send, on average; 0 = however few, `read_timeout` is for each wait.
        receive_rate_min: u64 = size(0, 1 << 30) => default("1KiB");
        /// How long a client may be waited for while it takes an answer, of which `send_rate_min` bytes give a second back.
        write_timeout: Duration = time(ms(100), secs(3_600)) => default("60s");
        /// Bytes a second of an answer that a client has to take, on average; 0 = however few.
        send_rate_min: u64 = size(0, 1 << 30) => default("1KiB");
        /// A connection without a request is closed after this, HTTP/1 and HTTP/2.
        idle_timeout: Duration = time(ms(100), secs(3_600)) => default("75s");
        /// Before a connection is older it ends with its next answer (HTTP/2: GOAWAY); no request is cut for it.
        connection_age_max: Duration = time(ms(100), secs(2_592_000)) => default("1h");
        /// Open connections in all; for one more the one goes that is idle for longest, or it is closed if none is.
        connections_max: usize = whole(1, 10_000_000) => default("20000");
        /// Open connections of one IPv4 address or IPv6 /64; one more is closed at once.
        connections_per_address: usize = whole(1, 10_000_000) => default("2000");
        /// Concurrent streams of an HTTP/2 connection.
        h2_streams_max: u32 = whole(1, 10_000) => default("128");
        /// Proxies before this node: what they say about a client is believed (PROXY protocol, `X-Forwarded-For`,
        /// `Forwarded`, `X-Request-Id`, `traceparent`), and what anybody else says is not.
        trusted_proxies: Vec<Network> = list(network(), 0, NETWORKS_MAX) => default("[]").live();
        /// Says that `trusted_proxies` is meant to trust half of all addresses or more; else that is refused.
        trust_everyone: bool = flag() => default("false").live();
        /// The field in which trusted proxies name the client: the one they write. What they pass on of another one is the
        /// client's own word.
        forwarded_field: ForwardedField = choice() => default("x-forwarded-for").live();
    }
}

choices! {
    /// The field that names a client.
    pub enum ForwardedField {
        /// Either; where both came and differ, they are believed as far as they agree. Only for proxies that write or drop
        /// both: else a client can send the other one, and pass for his proxy.
        Any = "any",
        /// `X-Forwarded-For`, with `X-Forwarded-Proto` and `X-Forwarded-Host`.
        XForwardedFor = "x-forwarded-for",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
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
        /// Requests that an instance of the WAF serves; then a fresh copy takes its place. It collects no garbage meanwhile.
        requests_per_instance: u32 = whole(1, 100_000) => default("64");
    }
}

settings! {
    /// How a stop goes.
    pub struct Shutdown {
        /// Time for requests in flight after SIGTERM.
        grace: Duration = time(ms(0), secs(3_600)) => default("25s");
    }
}
