//! `pools:` groups of origin servers.

use crate::define::{default, optional, required, settings};
use crate::kind::file::path;
use crate::kind::http::probe_path;
use crate::kind::net::{host_header, server, tls_name};
use crate::kind::scalar::{flag, ms, secs, time, whole};
use crate::kind::{list, maybe, section};
use crate::limits::SERVERS_MAX;
use std::path::PathBuf;
use std::time::Duration;

settings! {
    /// A group of origin servers, asked in turn.
    pub struct Pool {
        @name name;
        /// Origin servers.
        servers: Vec<String> = list(server(), 1, SERVERS_MAX) => required(&["[\"10.0.0.5:8443\", \"10.0.0.6:8443\"]"]);
        /// TLS to the origin; `{}` for the defaults below; without it plain HTTP is spoken.
        tls: Option<OriginTls> = maybe(section()) => optional(&[]);
        /// Active health checks; `{}` for the defaults below; without it only failing connections count.
        health: Option<Health> = maybe(section()) => optional(&[]);
        /// Longest wait for a connection.
        connect_timeout: Duration = time(ms(1), secs(60)) => default("3s");
        /// Longest wait for the first byte of a response, and for every later read.
        read_timeout: Duration = time(ms(1), secs(3_600)) => default("60s");
        /// Longest wait for the origin to take bytes of a request.
        write_timeout: Duration = time(ms(1), secs(3_600)) => default("60s");
        /// Keep an unused connection for this long; 0s = none is kept.
        keepalive: Duration = time(ms(0), secs(3_600)) => default("60s");
        /// Further tries of a request that may be repeated.
        retries: u32 = whole(0, 10) => default("1");
    }
}

settings! {
    /// TLS to an origin.
    pub struct OriginTls {
        /// Name the origin's certificate must have, also sent as SNI; else the server's host.
        name: Option<String> = maybe(tls_name()) => optional(&["#app.internal"]);
        /// Verify the origin's certificate.
        verify: bool = flag() => default("true");
        /// PEM file of the authorities to trust; else the system's.
        ca: Option<PathBuf> = maybe(path()) => optional(&["#tls/origin-ca.pem"]);
    }
}

settings! {
    /// Active health checks.
    pub struct Health {
        /// Path of the probe; an answer from 200 to 399 is healthy.
        path: String = probe_path() => default("/");
        /// `Host` of the probe; else the server's.
        host: Option<String> = maybe(host_header()) => optional(&["#app.internal"]);
        /// Time between two probes.
        interval: Duration = time(ms(10), secs(3_600)) => default("5s");
        /// Time for one probe; at most `interval`.
        timeout: Duration = time(ms(1), secs(600)) => default("2s");
        /// Failures in a row before a server is left out.
        unhealthy: u32 = whole(1, 100) => default("2");
        /// Successes in a row before it is back.
        healthy: u32 = whole(1, 100) => default("2");
    }
}
