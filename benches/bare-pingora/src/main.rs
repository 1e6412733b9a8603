//! Stock Pingora before one origin, and nothing else: what Aegis is measured against.
//! `bare-pingora ORIGIN PLAIN TLS CERT KEY`
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::prelude::{HttpPeer, Opt, Result, Server};
use pingora_core::server::configuration::ServerConf;
use pingora_core::tls::ssl::SslOptions;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare(HttpPeer);

#[async_trait::async_trait]
impl ProxyHttp for Bare {
    type CTX = ();
    fn new_ctx(&self) {}
    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.0.clone()))
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [_, origin, plain, tls, cert, key] = std::env::args()
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "ORIGIN PLAIN TLS CERT KEY")?;
    let mut server = Server::new_with_opt_and_conf(
        Opt::default(),
        ServerConf {
            threads: 1,
            upstream_keepalive_pool_size: 128,
            ..Default::default()
        },
    );
    server.bootstrap();
    let mut service = http_proxy_service(
        &server.configuration,
        Bare(HttpPeer::new(origin.as_str(), false, String::new())),
    );
    service.add_tcp(&plain);
    let mut settings = TlsSettings::intermediate(&cert, &key)?;
    settings.enable_h2();
    settings.set_curves_list("X25519:P-256")?;
    settings.set_options(SslOptions::NO_TICKET);
    service.add_tls_with_settings(&tls, None, settings);
    server.add_service(service);
    server.run_forever()
}
