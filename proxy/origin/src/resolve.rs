//! DNS, off the request path: names are looked up when a pool starts and every [`REFRESH`] after that.

use crate::Pool;
use async_trait::async_trait;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Addresses kept of one name.
pub const ADDRESSES_MAX: usize = 16;
/// Time between two look-ups of a name.
pub(crate) const REFRESH: Duration = Duration::from_secs(30);
/// Time between two look-ups while a name has never resolved.
const RETRY: Duration = Duration::from_secs(2);
/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Turns `host:port` into addresses.
#[async_trait]
pub(crate) trait Resolve: Send + Sync + std::fmt::Debug {
    async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
#[derive(Debug, Default)]
pub(crate) struct System;

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// One server of a pool, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) written: Arc<str>,
    /// Without brackets.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl Server {
    /// Splits `host:port`, `1.2.3.4:80` or `[::1]:80`.
    pub(crate) fn parse(written: &str) -> Option<Self> {
        let (host, port) = written.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .map_or(Some(host), |inner| inner.strip_suffix(']'))?;
        let bare_v6 = host.contains(':') && !written.starts_with('[');
        if host.is_empty() || bare_v6 {
            return None;
        }
        Some(Self {
            written: written.into(),
            host: host.into(),
            port: port.parse().ok().filter(|&port| port > 0)?,
        })
    }

    /// The address, if the host is one.
    pub(crate) fn literal(&self) -> Option<SocketAddr> {
        self.host
            .parse()
            .ok()
            .map(|ip| SocketAddr::new(ip, self.port))
    }
}

/// Looks up the names of `pool` until it is dropped.
pub(crate) async fn run(pool: Weak<Pool>, servers: Vec<Server>, resolver: Arc<dyn Resolve>) {
    let mut missing: Vec<bool> = vec![false; servers.len()];
    loop {
        for (server, missing) in servers.iter().zip(&mut missing) {
            let answer =
                tokio::time::timeout(TIMEOUT, resolver.resolve(&server.host, server.port)).await;
            let Some(pool) = pool.upgrade() else { return };
            match answer {
                Ok(Ok(mut addresses)) if !addresses.is_empty() => {
                    addresses.sort_unstable();
                    addresses.dedup();
                    addresses.truncate(ADDRESSES_MAX);
                    pool.set_addresses(server, &addresses);
                    *missing = false;
                }
                failed => {
                    if !std::mem::replace(missing, true) {
                        let why = match failed {
                            Ok(Ok(_)) => "no address".to_owned(),
                            Ok(Err(error)) => error.to_string(),
                            Err(_) => "no answer in time".to_owned(),
                        };
                        tracing::warn!(
                            pool = pool.name(),
                            server = &*server.written,
                            why,
                            "origin name does not resolve; keeping what is known"
                        );
                    }
                }
            }
        }
        let Some(pool) = pool.upgrade() else { return };
        pool.mark_settled();
        let pause = if pool.is_empty() { RETRY } else { REFRESH };
        drop(pool);
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn servers_are_host_and_port() {
        for (written, host, port) in [
            ("a.example:80", "a.example", 80),
            ("10.0.0.1:8080", "10.0.0.1", 8080),
            ("[::1]:443", "::1", 443),
        ] {
            let server = Server::parse(written).expect(written);
            assert_eq!((&*server.host, server.port), (host, port));
        }
        for written in [
            "", "a", ":80", "a:", "a:0", "a:70000", "::1:80", "[::1:80", "a:b",
        ] {
            assert_eq!(Server::parse(written), None, "{written}");
        }
    }
}
