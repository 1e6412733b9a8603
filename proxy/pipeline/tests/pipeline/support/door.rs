//! The real door in front of a node.

use super::Node;
use aegis_certs::{CertStore, Certificates};
use aegis_front::{Door, DoorConfig};
use aegis_settings::model::{Listener, ProxyProtocol};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

impl Node {
    /// Another address, behind a door whose heads have this long.
    pub fn also_behind_door(&self, head_timeout: Duration) -> SocketAddr {
        self.also_behind(DoorConfig {
            head_timeout,
            ..patient()
        })
    }

    /// Another address, behind a door with little patience for bodies that trickle.
    pub fn also_behind_hasty_door(&self) -> SocketAddr {
        self.also_behind(DoorConfig {
            read_timeout: Duration::from_millis(300),
            receive_rate_min: 1 << 20,
            ..patient()
        })
    }

    fn also_behind(&self, config: DoorConfig) -> SocketAddr {
        let certificates = Arc::new(Certificates::new(CertStore::default()));
        let listener = Listener {
            address: "127.0.0.1:0".parse().expect("an address"),
            tls: None,
            proxy_protocol: ProxyProtocol::Off,
            reuse_port: false,
        };
        let bound = Door::new(config, certificates)
            .bind(&[listener])
            .expect("a free port");
        let address = bound.addresses()[0];
        tokio::spawn(bound.run(Arc::clone(&self.app), self.stop.subscribe()));
        address
    }
}

fn patient() -> DoorConfig {
    DoorConfig {
        hello_timeout: LONG,
        handshake_timeout: LONG,
        idle_timeout: LONG,
        head_timeout: LONG,
        body_timeout: LONG,
        read_timeout: LONG,
        receive_rate_min: 0,
        write_timeout: LONG,
        send_rate_min: 0,
        connection_age_max: 100 * LONG,
        connections_max: 1_000,
        connections_per_address: 1_000,
        grace: Duration::ZERO,
    }
}

/// One connection to `address`.
pub async fn connect(address: SocketAddr) -> super::Client {
    super::Client(
        TcpStream::connect(address).await.expect("connects"),
        Vec::new(),
    )
}
